import errno

import pytest

from eva.errors import RunError
from eva.runs.ledger import Ledger
from eva.runs.population import Population
from eva.runs.tables import Commit
from eva.types import Stage


@pytest.fixture
def population():
    made = Population()
    made.create()
    yield made
    made.close()


def unit(round, stage, part=0):
    return Commit(round, stage, "once", part, 0, "file", 1)


def logged(population):
    return [(row.round, dict(row.metrics)) for row in population.metrics()]


def nothing(population):
    pass


def test_metrics_are_kept_with_the_next_commit_and_dropped_if_none_follows(population):
    ledger = Ledger(population)
    ledger.log(Stage(1, "a"), {"x": 1}, None)
    assert logged(population) == []
    ledger.commit(unit(1, "a"), nothing)
    ledger.log(Stage(1, "a"), {"x": 2}, None)
    assert logged(population) == [(1, {"x": 1.0})]


def test_metrics_of_a_commit_that_failed_wait_for_the_next(population):
    def fail(population):
        raise KeyError

    ledger = Ledger(population)
    ledger.log(Stage(1, "a"), {"x": 1}, None)
    with pytest.raises(KeyError):
        ledger.commit(unit(1, "a"), fail)
    ledger.commit(unit(1, "b"), nothing)
    assert logged(population) == [(1, {"x": 1.0})]


def test_a_resumed_run_does_not_keep_metrics_twice(population):
    for _ in range(2):  # the second time as a resumed run
        ledger = Ledger(population)
        ledger.log(Stage(1, "a"), {"x": 1}, None)
        done = population.commits(Stage(1, "a"), "once")
        ledger.recall(done[0]) if done else ledger.commit(unit(1, "a"), nothing)
        ledger.log(Stage(1, "b"), {"y": 1}, None)
    ledger.commit(unit(1, "b"), nothing)
    assert logged(population) == [(1, {"x": 1.0}), (1, {"y": 1.0})]


def test_looking_back_at_earlier_work_drops_nothing(population):
    first = Ledger(population)
    first.commit(unit(1, "a"), nothing)
    first.commit(unit(1, "b"), nothing)
    a, b = (population.commits(Stage(1, name), "once")[0] for name in "ab")
    resumed = Ledger(population)
    resumed.recall(b)
    for ledger in (first, resumed):
        ledger.log(Stage(2, "c"), {"z": 1}, None)
        ledger.recall(a)
    first.commit(unit(2, "c"), nothing)
    resumed.commit(unit(2, "d"), nothing)
    assert logged(population) == [(2, {"z": 1.0})] * 2
    assert first.wrote(a)
    assert not resumed.wrote(a)


def test_only_a_full_disk_is_called_one(population):
    ledger = Ledger(population)
    said = pytest.raises(RunError, match=r"full: f could not .*up to the beginning of the run")
    with said, ledger.saving("f"):
        raise OSError(errno.ENOSPC, "No space left on device")
    ledger.commit(unit(1, "a"), nothing)
    with pytest.raises(RunError, match="whole up to round 1, a, once 0"), ledger.saving("f"):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(PermissionError), ledger.saving("f"):
        raise PermissionError
