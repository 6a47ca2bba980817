from __future__ import annotations

import math

import pytest

from eva.errors import ConfigError
from eva.rewards.combined import CombinedReward
from eva.rewards.ensemble import EnsembleReward
from eva.rewards.guard import Guarded
from eva.types import Group, Prompt, Response, Score, ScoredGroup


class LengthReward:
    def score(self, groups):
        return [
            ScoredGroup(g, tuple(Score(float(len(r.text))) for r in g.responses)) for g in groups
        ]


class NumberReward:
    """The number that the answer is; raises for the whole call where one is none."""

    def score(self, groups):
        return [
            ScoredGroup(g, tuple(Score(float(r.text), parts={"raw": 2.0}) for r in g.responses))
            for g in groups
        ]


def group(*texts):
    return Group(Prompt.of("q"), (), tuple(Response(text, ()) for text in texts), "p")


def test_the_reward_is_the_weighted_sum_and_parts_are_kept_before_their_weight():
    reward = CombinedReward([NumberReward(), LengthReward()], [2.0, -0.5])
    (one,) = reward.score([group("3", "10")])
    assert one.rewards == (2 * 3 - 0.5 * 1, 2 * 10 - 0.5 * 2)
    assert one.scores[1].parts == {"number": 10.0, "number/raw": 2.0, "length": 2.0}


def test_a_response_is_unscored_where_any_part_is_and_the_detail_says_which():
    reward = CombinedReward([LengthReward(), NumberReward()], [1.0, 1.0])
    groups = [group("3", "three"), group("4")]
    first, second = reward.score(groups)
    assert second.rewards == (5.0,)
    assert first.rewards == (4.0, None)
    bad = first.scores[1]
    assert bad.cause == "part"
    assert bad.detail.startswith("number: raised: ValueError: could not convert")
    assert bad.parts == {"length": 5.0}


def test_a_weight_of_nought_does_not_hide_a_failure():
    (one,) = CombinedReward([NumberReward()], [0.0]).score([group("three", "3")])
    assert one.rewards == (None, 0.0)


def test_parts_are_wanted_unless_their_weight_is_negative():
    rewards = [LengthReward(), LengthReward(), NumberReward()]
    assert Guarded(CombinedReward(rewards, [1, -1, 0])).wanted == ("length", "number")
    assert Guarded(EnsembleReward(rewards)).wanted == ("length", "length_2", "number")
    assert Guarded(NumberReward()).wanted == ()


def test_names_are_unique_or_given():
    rewards = [LengthReward(), LengthReward(), NumberReward()]
    assert CombinedReward(rewards, [1, 1, 1]).names == ("length", "length_2", "number")
    assert CombinedReward(rewards, [1, 1, 1], names=["a", "b", "c"]).names == ("a", "b", "c")


@pytest.mark.parametrize(
    ("count", "weights", "names"),
    [
        (0, [], None),
        (2, [1.0], None),
        (1, [1.0, 2.0], None),
        (1, [math.inf], None),
        (2, [1.0, 1.0], ["a", "a"]),
        (2, [1.0, 1.0], ["a"]),
    ],
)
def test_what_cannot_be_combined_is_refused(count, weights, names):
    with pytest.raises(ConfigError, match="combined reward"):
        CombinedReward([LengthReward() for _ in range(count)], weights, names=names)
