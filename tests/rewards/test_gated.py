from __future__ import annotations

from eva.rewards.gated import GatedReward
from eva.types import Group, Prompt, Response, Score, ScoredGroup


class Numbers:
    """The number that an answer begins with; keeps what it was shown."""

    def __init__(self, place=0):
        self.place = place
        self.seen = []

    def score(self, groups):
        self.seen += [[r.text for r in group.responses] for group in groups]
        return [
            ScoredGroup(g, tuple(self._score(r.text.split()[self.place]) for r in g.responses))
            for g in groups
        ]

    def _score(self, word):
        return (
            Score(None, "none", "nothing") if word == "-" else Score(float(word), "", "", {"n": 1})
        )


def answered(*texts):
    return Group(Prompt.of(texts[0]), (), tuple(Response(text, ()) for text in texts), "p")


def test_the_reward_counts_where_the_gate_passes():
    inner = Numbers(1)
    reward = GatedReward(Numbers(), inner, threshold=0.5, otherwise=-3.0)
    groups = [answered("0.5 7", "0.4 9", "1 8"), answered("0 1")]
    first, second = reward.score(groups)
    assert [first.group, second.group] == groups
    assert first.rewards == (7.0, -3.0, 8.0)
    assert second.rewards == (-3.0,)
    assert inner.seen == [["0.5 7", "1 8"]]
    assert first.scores[0].parts == {"gate": 0.5, "gate/n": 1, "reward": 7.0, "reward/n": 1}
    assert first.scores[1].parts == {"gate": 0.4, "gate/n": 1}


def test_without_a_score_of_the_gate_or_the_reward_there_is_none():
    reward = GatedReward(Numbers(), Numbers(1), threshold=0)
    (one,) = reward.score([answered("- 7", "1 -", "1 2")])
    assert one.rewards == (None, None, 2.0)
    assert [score.cause for score in one.scores] == ["part", "part", ""]
    assert one.scores[0].detail == "gate: none: nothing"
    assert one.scores[1].detail == "reward: none: nothing"


def test_members_of_an_ensemble_behind_the_gate_are_kept():
    class Two(Numbers):
        def _score(self, word):
            return Score(float(word), members=(float(word) - 1, float(word) + 1))

    (one,) = GatedReward(Numbers(), Two(1), threshold=1).score([answered("1 5", "0 5")])
    assert [score.members for score in one.scores] == [(4.0, 6.0), ()]
