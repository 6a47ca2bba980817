"""Evolving at once, or in the background: what arrives, when, and what happens to errors."""

import threading

import pytest

from eva.creator.pace import AtOnce, Background
from eva.types import Evolution


def evolution(name):
    return [Evolution(name, (), ())]


def test_at_once_arrives_in_its_own_step():
    pace = AtOnce()
    (arrival,) = pace.evolve(lambda: evolution("a"), step=3, worth=[0.5])
    assert pace.finish() == []
    assert (arrival.step, arrival.worth) == (3, (0.5,))
    assert arrival.evolutions[0].parent_id == "a"


def test_the_background_never_waits_and_keeps_the_order():
    gate, pace = threading.Event(), Background()

    def slow():
        assert gate.wait(20)
        return evolution("slow")

    done = threading.Event()

    def fast():
        done.set()
        return evolution("fast")

    assert pace.evolve(slow, step=1, worth=[1.0]) == []
    assert pace.evolve(fast, step=2, worth=[2.0]) == []
    gate.set()
    assert done.wait(20)
    pace._under_way[-1][1].result(20)
    arrivals = pace.evolve(lambda: evolution("next"), step=9, worth=[3.0])
    first = [(a.step, a.evolutions[0].parent_id, a.worth) for a in arrivals[:2]]
    assert first == [(1, "slow", (1.0,)), (2, "fast", (2.0,))]
    pace.close()


def test_a_rewriter_that_falls_behind_drops_batches_and_counts_them():
    gate, pace = threading.Event(), Background(waiting=2)
    for step in range(5):
        assert (
            pace.evolve(lambda: evolution("x") if gate.wait(20) else [], step=step, worth=[]) == []
        )
    assert pace.dropped == 3
    gate.set()
    pace.close()


def test_the_end_waits_for_what_has_begun_and_counts_what_has_not():
    begun, gate, pace = threading.Event(), threading.Event(), Background()

    def slow():
        begun.set()
        assert gate.wait(20)
        return evolution("slow")

    for step, evolve in enumerate([slow, list, list], 1):
        assert pace.evolve(evolve, step=step, worth=[0.5]) == []
    assert begun.wait(20)
    pace._under_way[1][1].add_done_callback(lambda dropped: gate.set())
    (arrival,) = pace.finish()
    assert (arrival.step, arrival.evolutions[0].parent_id) == (1, "slow")
    assert pace.dropped == 2
    pace.close()


def test_what_the_rewriter_raises_stops_the_run_where_it_arrives():
    gate, pace = threading.Event(), Background()

    def broken():
        assert gate.wait(20)
        raise RuntimeError("no server")

    assert pace.evolve(broken, step=1, worth=[]) == []
    gate.set()
    pace._under_way[-1][1].exception(20)
    with pytest.raises(RuntimeError, match="no server"):
        pace.evolve(list, step=2, worth=[])
    pace.close()
