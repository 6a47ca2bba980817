from __future__ import annotations

import pytest

from eva.errors import RewardError
from eva.evals.heldout import constraint_labels, held_out, rewards
from eva.rng import Streams
from eva.types import Check, Group, Prompt, Response, Score, ScoredGroup


class Reward:
    """Gives the scores it was told, by answer text."""

    def __init__(self, scores: dict[str, Score]) -> None:
        self.scores = scores

    def score(self, groups):
        return [ScoredGroup(g, tuple(self.scores[r.text] for r in g.responses)) for g in groups]


class Policy:
    """Answers each prompt with given texts."""

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers = answers

    def sample(self, prompts, params, streams):
        return [Group(p, (1,), (Response(self.answers[p.text], (5, 6)),), "v") for p in prompts]


def verifiable(text: str, *kinds: str) -> Prompt:
    return Prompt.of(text, checks=tuple(Check(kind) for kind in kinds))


def group(*texts: str) -> Group:
    return Group(Prompt.of("p"), (1,), tuple(Response(t, (1,)) for t in texts), "v")


def test_reward_is_the_mean_of_scored_answers_and_causes_are_counted() -> None:
    model = Reward(
        {
            "good": Score(1.0, parts={"rules": 0.8}),
            "bad": Score(0.5, parts={"rules": 0.2}),
            "late": Score(None, "timeout"),
        }
    )
    scored, unscored = rewards(model)([group("good", "bad", "late", "late"), group("late")])
    assert scored.values == {"reward": 0.75, "unscored": 0.5, "reward_rules": pytest.approx(0.5)}
    assert scored.notes == {"unscored": {"timeout": 2}}
    assert unscored.values["reward"] is None


def test_a_broken_reward_stops_the_evaluation() -> None:
    class Broken:
        def score(self, groups):
            raise RewardError("all raised")

    with pytest.raises(RewardError):
        rewards(Broken())([group("a")])


def test_constraint_labels_tell_trained_from_untrained_kinds() -> None:
    label = constraint_labels({"lowercase", "no_comma"})
    assert label(verifiable("a", "lowercase", "no_comma")) == ("seen", "seen_2")
    assert label(verifiable("b", "lowercase", "title")) == ("mixed", "mixed_2")
    assert label(verifiable("c", "title")) == ("unseen", "unseen_1")
    assert label(Prompt.of("d")) == ("open",)


def test_held_out_reports_untrained_kinds_apart() -> None:
    prompts = [verifiable("a", "lowercase"), verifiable("b", "lowercase"), verifiable("c", "title")]
    evaluation = held_out(
        prompts,
        Reward({"yes": Score(1.0), "no": Score(0.0)}),
        labels=constraint_labels({"lowercase"}),
    )
    got = evaluation.evaluate(
        Policy({"a": "yes", "b": "yes", "c": "no"}), Streams(0, 0, "evaluate")
    )
    metrics = got["metrics"]
    assert metrics["heldout/reward"] == pytest.approx(2 / 3)
    assert metrics["heldout/reward/seen"] == 1.0
    assert metrics["heldout/reward/unseen"] == 0.0
    assert metrics["heldout/tokens"] == 2.0
    assert got["rows"][0]["texts"] == ["yes"]
    assert got["rows"][0]["labels"] == ["seen", "seen_1"]
