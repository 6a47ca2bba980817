"""Several rewards that judge the same thing: their mean, and how far they disagree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import repeat

from eva.errors import ConfigError
from eva.protocols import RewardModel
from eva.rewards.combined import CombinedReward
from eva.types import Group, Score, ScoredGroup


class EnsembleReward:
    """The mean of the members' rewards, each divided by its scale.

    What each member gave is kept with the score (`Score.members`), so that informativeness can be
    told from disagreement; `parts` holds it by name, before its scale. A response is unscored
    where any member leaves it so.

    Raises:
        ConfigError: fewer than two members, other numbers of scales, or a scale that is not a
            positive number.
    """

    def __init__(self, members: Sequence[RewardModel], *, scales: Sequence[float] = ()) -> None:
        count = len(members)
        self.scales = tuple(scales) or tuple(repeat(1.0, count))
        if count < 2 or len(self.scales) != count:
            raise ConfigError(
                f"ensemble: got {count} members and {len(scales)} scales; give at least two"
                " members, and no scales or one for each"
            )
        if not all(0 < scale < math.inf for scale in self.scales):
            raise ConfigError(f"ensemble: scales {list(scales)}; expected positive numbers")
        self._sum = CombinedReward(members, [1 / (scale * count) for scale in self.scales])

    @property
    def wanted(self) -> tuple[str, ...]:
        """Names of the members."""
        return self._sum.wanted

    def score(self, groups: Sequence[Group]) -> list[ScoredGroup]:
        """Return the groups, in order, each response with its score or why it has none.

        Raises:
            RewardError: a member is broken as a whole.
            ConfigError: a member cannot work on what the config gave it.
        """
        return [
            ScoredGroup(one.group, tuple(map(self._kept, one.scores)))
            for one in self._sum.score(groups)
        ]

    def _kept(self, score: Score) -> Score:
        if score.reward is None:
            return score
        given = [score.parts[name] for name in self._sum.names]
        members = tuple(r / scale for r, scale in zip(given, self.scales, strict=True))
        return Score(score.reward, parts=score.parts, members=members)
