"""A series of records that must raise each alarm, and a near miss that must not."""

import json

import pytest

from eva.alarms import SIGNS, Limit, Seen, Watcher

RAISED = {
    # the figure of rounds 1, 2 and 3, the limit, and what is read in round 3
    "length": ("solver", "length_mean", (40.0, 41.0, 62.0), 1.5, 1.55),
    "repetition": ("solver", "repetition", (0.05, 0.05, 0.2), 0.1, 0.15),
    "truncation": ("solver", "truncated", (0.3, 0.3, 0.6), 0.2, 0.3),
    "diversity": ("creator", "diversity", (0.8, 0.7, 0.4), 0.4, 0.5),
    "acceptance": ("creator", "acceptance", (0.9, 0.7, 0.2), 0.5, 0.75),
    "disagreement": ("creator", "disagreement_correlation", (None, 0.1, 0.5), 0.4, 0.5),
}
NEAR = {
    "length": (40.0, 41.0, 59.0),
    "repetition": (0.05, 0.9, 0.14),
    "truncation": (0.3, 0.3, 0.49),
    "diversity": (0.8, 0.1, 0.5),
    "acceptance": (0.9, 0.7, 0.41),
    "disagreement": (None, 0.9, 0.39),
}


def record(part, name, value, *, prompts=40):
    found = {
        "counts": {"prompts": prompts},
        "creator": {"children": prompts, "refused": 0},
        "solver": {"reward_mean": 0.5},
    }
    found[part][name] = value
    return found


def series(part, name, values, **options):
    return [record(part, name, value, **options) for value in values]


def look(records, past=(), *, action="warn", before=None, after=None, **limits):
    settings = {name: Limit(limit, action) for name, limit in limits.items()}
    return Watcher(settings).look(records, past, before=before or {}, after=after or {})


@pytest.mark.parametrize("name", RAISED)
def test_an_alarm_is_raised_above_its_limit_alone(name):
    part, figure, values, limit, read = RAISED[name]
    (alarm,) = look(series(part, figure, values), **{name: limit})
    assert (alarm["alarm"], alarm["limit"]) == (name, limit)
    assert alarm["value"] == pytest.approx(read)
    assert not alarm["stops"]
    assert not alarm["rolls_back"]
    assert json.loads(json.dumps(alarm)) == alarm
    assert look(series(part, figure, NEAR[name]), **{name: limit}) == []
    assert look(series(part, figure, values), action="off", **{name: limit}) == []


def test_shrinking_answers_are_as_bad_as_growing_ones():
    (alarm,) = look(series("solver", "length_mean", (60.0, 30.0)), length=1.5)
    assert alarm["value"] == 2.0
    assert alarm["says"] == "answers have 30 tokens in the mean, in round 1 they had 60"


@pytest.mark.parametrize("name", RAISED)
def test_few_prompts_are_no_sign(name):
    part, figure, values, limit, _ = RAISED[name]
    assert look(series(part, figure, values, prompts=15), **{name: limit}) == []


@pytest.mark.parametrize("name", [name for name in RAISED if name != "disagreement"])
def test_the_first_round_has_nothing_to_compare_with(name):
    part, figure, values, limit, _ = RAISED[name]
    assert look(series(part, figure, values[-1:]), **{name: limit}) == []


@pytest.mark.parametrize("name", SIGNS)
def test_a_figure_that_is_not_there_is_no_sign(name):
    bare = {"counts": {"prompts": 40}, "creator": {}, "solver": {}}
    assert SIGNS[name](Seen([bare, bare], {}, {})) is None


def result(values, *, labels=("",)):
    rows = [
        {
            "id": f"p{i}",
            "values": {"reward": value, "tokens": 100 * value},
            "weights": {},
            "labels": [label for label in labels if label],
        }
        for i, value in enumerate(values)
    ]
    return {"heldout": {"name": "heldout", "params": {}, "rows": rows}}


def test_a_measure_that_falls_beyond_its_interval_is_an_alarm():
    records = series("solver", "reward_mean", (0.4, 0.6))
    high, low = [0.8, 0.9, 1.0, 0.7] * 5, [0.5, 0.6, 0.8, 0.4] * 5
    (alarm,) = look(records, before=result(high), after=result(low), heldout=0.0)
    # differences are -.3, -.3, -.2, -.3: mean -.275, sd .0444, interval +- t(19) x sd / sqrt(20)
    assert alarm["value"] == pytest.approx(0.275 - 2.0930 * 0.04443 / 20**0.5, abs=1e-4)
    assert "heldout/reward changed by -0.275" in alarm["says"]
    assert "in training it went from 0.40 to 0.60" in alarm["says"]
    assert look(records, before=result(low), after=result(high), heldout=0.0) == []
    assert look(records, before=result(high), after=result(high[::-1]), heldout=0.0) == []
    assert look(records, before=result(high), heldout=0.0) == []


LONGER = series("solver", "length_mean", (40.0, 80.0))


def test_stop_stops_and_rollback_rolls_back():
    (alarm,) = look(LONGER, [[]], action="stop", length=1.5)
    assert (alarm["stops"], alarm["rolls_back"]) == (True, False)
    (alarm,) = look(LONGER, [[]], action="rollback", length=1.5)
    assert (alarm["stops"], alarm["rolls_back"]) == (False, True)


@pytest.mark.parametrize(
    "past",
    [
        pytest.param(["length", ""], id="the same cause, a round in between"),
        pytest.param(["", "repetition"], id="another cause, but in the round before"),
    ],
)
def test_going_back_again_stops(past):
    rounds = [[{"alarm": name, "rolls_back": True}] if name else [] for name in past]
    (alarm,) = look([*LONGER[:1], *LONGER], rounds, action="rollback", length=1.5)
    assert (alarm["stops"], alarm["rolls_back"]) == (True, False)


def test_where_one_alarm_stops_nothing_is_taken_back():
    both = [r | {"solver": r["solver"] | {"truncated": t}} for t, r in enumerate(LONGER)]
    limits = {"length": Limit(1.5, "rollback"), "truncation": Limit(0.2, "stop")}
    alarms = Watcher(limits).look(both, [[]], before={}, after={})
    assert [(a["alarm"], a["stops"], a["rolls_back"]) for a in alarms] == [
        ("length", False, False),
        ("truncation", True, False),
    ]
