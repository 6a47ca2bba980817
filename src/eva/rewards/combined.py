"""A weighted sum of rewards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import count

from eva.errors import ConfigError
from eva.protocols import RewardModel
from eva.rewards.guard import attempt
from eva.types import Group, Score, ScoredGroup


class CombinedReward:
    """The weighted sum of several rewards: sum over i of weights[i] * rewards[i].

    Rewards are summed as they come: bring them to one scale by the weights. A response is unscored
    where any of them is, since a sum over fewer would be on another scale. `parts` holds each
    reward before its weight, and below its name its own parts: `rule`, `rule/no_comma`.

    Raises:
        ConfigError: there are no rewards, other numbers of weights or names than of rewards, a name
            twice, or a weight that is not finite.
    """

    def __init__(
        self,
        rewards: Sequence[RewardModel],
        weights: Sequence[float],
        *,
        names: Sequence[str] | None = None,
    ) -> None:
        self.rewards = tuple(rewards)
        self.weights = tuple(weights)
        self.names = _names(self.rewards) if names is None else tuple(names)
        if not rewards or len(weights) != len(rewards) or len(self.names) != len(rewards):
            raise ConfigError(
                f"combined reward: got {len(rewards)} rewards, {len(weights)} weights and"
                f" {len(self.names)} names; give at least one reward, and one weight for each"
            )
        if len(set(self.names)) < len(self.names):
            raise ConfigError(f"combined reward: names {list(self.names)}; no name may come twice")
        if not all(map(math.isfinite, weights)):
            raise ConfigError(f"combined reward: weights {list(weights)}; expected finite numbers")

    @property
    def wanted(self) -> tuple[str, ...]:
        """Names of the parts that are the better the higher: those of no negative weight."""
        return tuple(n for n, w in zip(self.names, self.weights, strict=True) if w >= 0)

    def score(self, groups: Sequence[Group]) -> list[ScoredGroup]:
        """Return the groups, in order, each response with its score or why it has none.

        Raises:
            RewardError: a reward is broken as a whole.
            ConfigError: a reward cannot work on what the config gave it.
        """
        by_reward = [attempt(reward, groups) for reward in self.rewards]
        return [
            ScoredGroup(
                group, tuple(map(self._sum, zip(*(one.scores for one in ones), strict=True)))
            )
            for group, *ones in zip(groups, *by_reward, strict=True)
        ]

    def _sum(self, scores: tuple[Score, ...]) -> Score:
        failed = [
            f"{name}: {score.cause}: {score.detail}".removesuffix(": ")
            for name, score in zip(self.names, scores, strict=True)
            if score.reward is None
        ]
        rewards = [score.reward for score in scores if score.reward is not None]
        parts: dict[str, float] = {}
        for name, score in zip(self.names, scores, strict=True):
            own = {} if score.reward is None else {name: score.reward}
            parts |= own | {f"{name}/{part}": value for part, value in score.parts.items()}
        if failed:
            return Score(None, cause="part", detail="; ".join(failed), parts=parts)
        return Score(self._total(rewards), parts=parts, members=self._members(scores))

    def _total(self, rewards: Sequence[float]) -> float:
        return math.fsum(w * r for w, r in zip(self.weights, rewards, strict=True))

    def _members(self, scores: Sequence[Score]) -> tuple[float, ...]:
        """Return the sum as each member of the ensembles among the rewards would have it."""
        sizes = {len(score.members) for score in scores if score.members}
        if len(sizes) > 1:
            raise ConfigError(
                f"combined reward: ensembles of {sorted(sizes)} members; expected as many in each"
            )
        given = [score.members or (score.reward,) * max(sizes, default=0) for score in scores]
        by_member = zip(*given, strict=True)
        return tuple(self._total([r for r in one if r is not None]) for one in by_member)


def _names(rewards: Sequence[RewardModel]) -> tuple[str, ...]:
    """Name rewards by their `name`, or their class: RuleReward `rule`, a second one `rule_2`."""
    names: list[str] = []
    for reward in rewards:
        own = type(reward).__name__.removesuffix("Reward").lower() or "reward"
        base = str(getattr(reward, "name", own))
        names.append(
            next(n for i in count(1) if (n := base if i == 1 else f"{base}_{i}") not in names)
        )
    return tuple(names)
