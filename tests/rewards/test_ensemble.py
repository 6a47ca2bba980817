from __future__ import annotations

import pytest

from eva.errors import ConfigError
from eva.rewards.combined import CombinedReward
from eva.rewards.ensemble import EnsembleReward
from eva.rewards.guard import Guarded
from eva.types import Group, Prompt, Response, Score, ScoredGroup


class Word:
    """The number that stands at a place of the answer."""

    def __init__(self, place):
        self.place = place

    def score(self, groups):
        return [
            ScoredGroup(g, tuple(Score(float(r.text.split()[self.place])) for r in g.responses))
            for g in groups
        ]


def answered(*texts):
    return Group(Prompt.of("q"), (), tuple(Response(text, ()) for text in texts), "p")


def test_the_reward_is_the_mean_and_every_member_is_kept():
    (one,) = Guarded(EnsembleReward([Word(0), Word(1)])).score([answered("1 3", "4 4")])
    assert one.rewards == (2.0, 4.0)
    assert [score.members for score in one.scores] == [(1.0, 3.0), (4.0, 4.0)]
    assert one.scores[0].parts == {"word": 1.0, "word_2": 3.0}


def test_members_are_brought_to_one_scale():
    (one,) = EnsembleReward([Word(0), Word(1)], scales=[1, 10]).score([answered("1 30")])
    assert one.rewards == (2.0,)
    assert one.scores[0].members == (1.0, 3.0)
    assert one.scores[0].parts["word_2"] == 30.0


def test_a_response_needs_all_members():
    (one,) = Guarded(EnsembleReward([Word(0), Word(1)])).score([answered("1 x", "4 4")])
    assert one.rewards == (None, 4.0)
    assert one.scores[0].cause == "part"
    assert one.scores[0].members == ()


def test_a_sum_keeps_what_it_would_be_by_each_member():
    ensemble = EnsembleReward([Word(0), Word(1)])
    (one,) = CombinedReward([ensemble, Word(2)], [2.0, 1.0]).score([answered("1 3 10")])
    assert one.rewards == (14.0,)
    assert one.scores[0].members == (12.0, 16.0)


def test_ensembles_of_other_sizes_are_not_added():
    rewards = [EnsembleReward([Word(0)] * 2), EnsembleReward([Word(0)] * 3)]
    with pytest.raises(ConfigError, match=r"\[2, 3\]"):
        CombinedReward(rewards, [1.0, 1.0]).score([answered("1")])


@pytest.mark.parametrize(
    ("count", "scales"), [(1, []), (2, [1.0]), (2, [1.0, 0.0]), (2, [1.0, float("inf")])]
)
def test_what_makes_no_ensemble_is_refused(count, scales):
    with pytest.raises(ConfigError, match="ensemble"):
        EnsembleReward([Word(0)] * count, scales=scales)
