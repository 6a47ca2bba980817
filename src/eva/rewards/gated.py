"""A reward that counts only where another one passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from eva.protocols import RewardModel
from eva.rewards.guard import attempt
from eva.types import Group, Score, ScoredGroup


@dataclass(frozen=True)
class GatedReward:
    """The reward where the gate's is at least `threshold`, else `otherwise`.

    Answers that the gate stops are not shown to the reward: that saves a costly one, and a reward
    that compares answers compares those that passed. Where the gate has no score, there is none.
    `parts` holds `gate` and `reward`, and below them their own parts.
    """

    gate: RewardModel
    reward: RewardModel
    threshold: float
    otherwise: float = 0.0

    def score(self, groups: Sequence[Group]) -> list[ScoredGroup]:
        """Return the groups, in order, each response with its score or why it has none.

        Raises:
            RewardError: gate or reward is broken as a whole.
            ConfigError: one of them cannot work on what the config gave it.
        """
        gated = attempt(self.gate, groups)
        passing = [[self._passes(score) for score in one.scores] for one in gated]
        shown = [
            replace(
                group,
                responses=tuple(r for r, ok in zip(group.responses, oks, strict=True) if ok),
            )
            for group, oks in zip(groups, passing, strict=True)
        ]
        rewarded = iter(attempt(self.reward, [group for group in shown if group.responses]))
        scored = []
        for group, one, oks in zip(groups, gated, passing, strict=True):
            inner = iter(next(rewarded).scores if any(oks) else ())
            scores = tuple(
                self._joined(gate, next(inner) if ok else None)
                for gate, ok in zip(one.scores, oks, strict=True)
            )
            scored.append(ScoredGroup(group, scores))
        return scored

    def _passes(self, score: Score) -> bool:
        return score.reward is not None and score.reward >= self.threshold

    def _joined(self, gate: Score, reward: Score | None) -> Score:
        parts = _parts("gate", gate) | (_parts("reward", reward) if reward else {})
        for name, score in (("gate", gate), ("reward", reward)):
            if score is not None and score.reward is None:
                detail = f"{name}: {score.cause}: {score.detail}".removesuffix(": ")
                return Score(None, cause="part", detail=detail, parts=parts)
        if reward is None:
            return Score(self.otherwise, parts=parts)
        return replace(reward, parts=parts)


def _parts(name: str, score: Score) -> dict[str, float]:
    own = {} if score.reward is None else {name: score.reward}
    return own | {f"{name}/{part}": value for part, value in score.parts.items()}
