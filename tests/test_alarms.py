"""A series of records that must raise each alarm, and a near miss that must not."""

import json

import pytest

from eva.alarms import SIGNS, Limit, Seen, Watcher, _apart

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
    assert alarm["rolls_back"] == []
    assert json.loads(json.dumps(alarm)) == alarm
    assert look(series(part, figure, NEAR[name]), **{name: limit}) == []
    assert look(series(part, figure, values), action="off", **{name: limit}) == []


def test_shrinking_answers_are_as_bad_as_growing_ones():
    (alarm,) = look(series("solver", "length_mean", (60.0, 30.0)), length=1.5)
    assert alarm["value"] == 2.0
    assert alarm["says"] == "answers have 30 tokens in the mean, in round 1 they had 60"


@pytest.mark.parametrize(
    ("part", "figure", "values", "limits", "says"),
    [
        (
            "solver",
            "length_mean",
            (12.2, 12.4),
            {"length": 1.01},
            "answers have 12.4 tokens in the mean, in round 1 they had 12.2",
        ),
        (
            "solver",
            "truncated",
            (0.979, 0.9849),
            {"truncation": 0.0},
            "98.5 % of the answers are cut off by the token limit, in round 1 97.9 % were",
        ),
        (
            "creator",
            "diversity",
            (0.7002, 0.7001),
            {"diversity": 0.0},
            "of the runs of three words in the prompts 70.01 % differ, in round 1 70.02 % did",
        ),
        (
            "creator",
            "acceptance",
            (0.75, 0.7499),
            {"acceptance": 0.0},
            "74.99 % of the proposed prompts are accepted, in earlier rounds 75.00 % were",
        ),
    ],
)
def test_figures_that_differ_differ_in_words(part, figure, values, limits, says):
    (alarm,) = look(series(part, figure, values), **limits)
    assert alarm["says"] == says


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


def test_a_round_that_evolved_nothing_is_an_alarm_though_it_is_the_first():
    def refused(count, children=0):
        found = record("creator", "refused", count)
        found["creator"] |= {"children": children, "acceptance": children / (count + children)}
        found["creator"]["refusals"] = {"length": 1, "duplicate": count - 1}
        return found

    (alarm,) = look([refused(8)], acceptance=0.5)
    assert alarm["value"] == 1.0
    assert alarm["says"] == (
        "no prompt was evolved: all 8 proposals refused (duplicate 7, length 1)"
    )
    assert look([refused(7)], acceptance=0.5) == []
    assert look([refused(8, children=1)], acceptance=0.5) == []
    first = record("creator", "refused", 0)
    first["creator"] = {}
    assert look([first], acceptance=0.5) == []
    assert len(look([first, refused(8)], acceptance=0.5)) == 1


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


def parted(*rounds, prompts=40):
    """Return records of (reward, {part: mean}); every part deviates by 0.2 in the first."""
    return [
        {
            "counts": {"prompts": prompts},
            "creator": {},
            "solver": {
                "reward_mean": reward,
                "parts": means,
                "part_deviations": dict.fromkeys(means, 0.2 if i == 0 else 9.0),
            },
        }
        for i, (reward, means) in enumerate(rounds)
    ]


def watched(records, *wanted, limit=0.5):
    return Watcher({"parts": Limit(limit)}, wanted).look(records, [], before={}, after={})


def test_a_part_that_falls_as_the_reward_rises_is_an_alarm():
    fell = (0.5, {"rule": 0.4, "relevance": 0.6, "cost": 0.9})
    records = parted(fell, (0.6, {"rule": 0.8, "relevance": 0.45, "cost": 0.1}))
    (alarm,) = watched(records, "rule", "relevance")
    assert alarm["value"] == pytest.approx(0.75)
    assert alarm["says"] == (
        "the reward rose from 0.50 to 0.60, but its part relevance fell from 0.60 to 0.45"
    )
    # cost fell further, and is not to be high
    (alarm,) = watched(records, "rule", "relevance", "cost")
    assert "its part cost fell" in alarm["says"]
    assert watched(records, "rule", "relevance", limit=0.76) == []
    assert watched(records, "rule") == []


def test_a_part_that_falls_with_the_reward_or_never_varied_is_no_sign():
    assert watched(parted((0.5, {"a": 0.6}), (0.5, {"a": 0.1})), "a") == []
    assert watched(parted((0.5, {"a": 0.6}), (0.7, {"a": 0.1}), prompts=15), "a") == []
    assert watched(parted((0.5, {"a": 0.6}), (0.7, {})), "a") == []
    steady = parted((0.5, {"a": 0.6}), (0.7, {"a": 0.1}))
    steady[0]["solver"]["part_deviations"]["a"] = 0.0
    assert watched(steady, "a") == []


LONGER = series("solver", "length_mean", (40.0, 80.0))


def test_stop_stops_and_rollback_rolls_back():
    (alarm,) = look(LONGER, [[]], action="stop", length=1.5)
    assert (alarm["stops"], alarm["rolls_back"]) == (True, [])
    (alarm,) = look(LONGER, [[]], action="rollback", length=1.5)
    assert (alarm["stops"], alarm["rolls_back"]) == (False, [1, 2])


def test_what_answers_show_speaks_against_the_policy_that_gave_them():
    def back(name, rounds, **limits):
        (alarm,) = look(rounds, [[]], action="rollback", **limits)
        assert alarm["alarm"] == name
        return alarm["rolls_back"]

    # online a round's answers are those of the policy as it learns
    assert back("length", [r | {"steps": 4} for r in LONGER], length=1.5) == [2]
    # prompts say nothing of the policy before
    assert back("diversity", series("creator", "diversity", (0.9, 0.1)), diversity=0.4) == [2]


@pytest.mark.parametrize(
    "past",
    [
        pytest.param(["length", ""], id="the same cause, a round in between"),
        pytest.param(["", "repetition"], id="another cause, but in the round before"),
    ],
)
def test_going_back_again_stops(past):
    rounds = [[{"alarm": name, "rolls_back": [1]}] if name else [] for name in past]
    (alarm,) = look([*LONGER[:1], *LONGER], rounds, action="rollback", length=1.5)
    assert (alarm["stops"], alarm["rolls_back"]) == (True, [])


def test_where_one_alarm_stops_nothing_is_taken_back():
    both = [r | {"solver": r["solver"] | {"truncated": t}} for t, r in enumerate(LONGER)]
    limits = {"length": Limit(1.5, "rollback"), "truncation": Limit(0.2, "stop")}
    alarms = Watcher(limits).look(both, [[]], before={}, after={})
    assert [(a["alarm"], a["stops"], a["rolls_back"]) for a in alarms] == [
        ("length", False, []),
        ("truncation", True, []),
    ]


def test_figures_that_nothing_tells_apart_are_told_all_the_same():
    assert _apart(1.0, 1.0) == ("1", "1")
    assert _apart(12.3, 12.4) == ("12.3", "12.4")
    assert _apart(float("nan"), float("nan")) == ("nan", "nan")
