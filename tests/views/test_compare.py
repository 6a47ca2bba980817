"""`eva compare`: which runs are one arm, what is paired with what, and what is refused."""

import io
import json

import pytest
from rich.console import Console
from scipy import stats

from eva.errors import DataError
from eva.evals.compare import compare as of_results
from eva.views import compare


@pytest.fixture(scope="module")
def runs(play):
    """Runs of two arms by arm and seed; one is alone with its seed."""
    static = {"creator": {"name": "static"}, "rounds": 2}
    made = {("eva", seed): play(settings={"rounds": 2, "seed": seed}, seed=seed) for seed in (1, 2)}
    made |= {
        ("static", seed): play(settings=static | {"seed": seed}, seed=seed, creator=None)
        for seed in (1, 2, 3)
    }
    return made


def read(runs, *names):
    return compare.grouped([compare.read(runs[name]) for name in names])


def shown(*paths):
    console = Console(file=io.StringIO(), width=80, highlight=False)
    compare.show(paths, console=console)
    return console.file.getvalue()


EVERY = (("static", 1), ("eva", 2), ("static", 3), ("static", 2), ("eva", 1))


def test_runs_that_differ_in_their_seed_alone_are_an_arm(runs):
    static, eva = read(runs, *EVERY)
    assert (static.name, list(static.runs)) == ("creator.name=static", [1, 3, 2])
    assert (eva.name, list(eva.runs)) == ("creator.name=eva", [2, 1])


def test_arms_are_paired_by_seed_and_what_is_alone_is_left_out_and_said(runs):
    arms = read(runs, *EVERY)
    found = compare.compared(arms)
    assert json.loads(json.dumps(found)) == found
    (pair,) = found["comparisons"]
    assert (pair["of"], pair["against"], pair["seeds"]) == (
        "creator.name=eva", "creator.name=static", [1, 2],
    )  # fmt: skip
    static, eva = (arm.runs for arm in arms)
    assert pair["evaluations"]["heldout"] == of_results(
        [static[seed].after["heldout"] for seed in (1, 2)],
        [eva[seed].after["heldout"] for seed in (1, 2)],
    )
    assert found["notes"] == [
        "creator.name=eva: seeds 3 have no run of the other arm, and are left out"
    ]


def test_with_several_seeds_the_interval_is_over_them(runs):
    found = compare.compared(read(runs, *EVERY))
    first = found["comparisons"][0]["evaluations"]["heldout"]["differences"][0]
    low, high = stats.t.interval(0.95, 1, first["difference"], first["spread"] / 2**0.5)
    assert first["over_seeds"]["low"] == pytest.approx(low)
    assert first["over_seeds"]["high"] == pytest.approx(high)
    text = shown(*(runs[name] for name in EVERY))
    assert "95 % over 2 seeds" in text
    assert compare._by_seeds(first)["high"] == first["over_seeds"]["high"] != first["high"]


def test_one_arm_is_held_against_the_policy_it_began_with(runs):
    text = shown(runs["eva", 1])
    assert "arm 1  all runs; seed 1;" in text
    assert "held-out prompts: before and after" in text
    assert "95 % over prompts" in text


def test_a_run_that_is_not_done_is_said_to_be(play):
    path = play(rounds=1, finish=False, settings={"rounds": 3}, evaluate_every_round=True)
    assert "is measured after round 1 of 3" in " ".join(shown(path).split())


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([("eva", 1), ("eva", 1)], "are runs of one config with seed 1: name one of them"),
        ([("eva", 1), ("static", 3)], "creator.name=static has seeds 3, creator.name=eva 1"),
    ],
)
def test_what_cannot_be_paired_is_refused(runs, names, said):
    with pytest.raises(DataError, match=said):
        shown(*(runs[name] for name in names))


def test_a_run_that_measured_nothing_is_refused(interrupted):
    with pytest.raises(DataError, match="measured nothing"):
        shown(interrupted)


def test_keys_that_only_one_part_has_go_without_saying():
    rules = {"evolver.name": "rules", "evolver.operators": [], "n": 4}
    none = {"evolver.name": "none", "n": 8}
    assert compare._name(rules, [none]) == "evolver.name=rules, n=4"
    assert compare._name(none, [rules]) == "evolver.name=none, n=8"
    assert compare._name({"a": 1, "b": 2, "c": 3, "d": 4}, [{}]) == "a=1, b=2, c=3 and 1 more"
