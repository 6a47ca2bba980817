"""How far the members of an ensemble of rewards disagree on the answers to a prompt.

Rewards r of G answers by M members are taken apart by a two-way analysis of variance: the mean, an
answer's worth, a member's own level, and the rest, in which members disagree. A member that is
stricter throughout disagrees with nobody. With s^2 the mean square of the rest, the mean over
members carries noise of variance s^2 / M into the differences between answers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from eva.types import Floats, Json, ScoredGroup


def opinions(group: ScoredGroup) -> Floats:
    """Return what each member gave the scored answers, (G, M); (G, 1) without an ensemble.

    An answer that no ensemble judged, such as one stopped by a gate, counts as agreed upon.
    """
    rows = [s.members or (s.reward,) for s in group.scores if s.reward is not None]
    width = max(map(len, rows), default=1)
    full = [row if len(row) == width else (row[0],) * width for row in rows]
    return np.array(full, dtype=np.float64).reshape(len(rows), width)


def disagreement(group: ScoredGroup) -> float | None:
    """Return the standard deviation of the rest, or None.

    There is none without an ensemble, and none of fewer than two scored answers.
    """
    given_GM = opinions(group)
    answers, members = given_GM.shape
    if answers < 2 or members < 2:
        return None
    rest = given_GM - given_GM.mean(1, keepdims=True) - given_GM.mean(0) + given_GM.mean()
    return math.sqrt(float((rest**2).sum()) / ((answers - 1) * (members - 1)))


def noise(groups: Iterable[ScoredGroup]) -> list[float]:
    """Return the variance that disagreement adds to the rewards of each prompt, (P,); 0 if none."""
    return [(disagreement(group) or 0.0) ** 2 / opinions(group).shape[1] for group in groups]


def figures(groups: Sequence[ScoredGroup], info: Sequence[float | None]) -> dict[str, Json]:
    """Return mean disagreement, and its rank correlation with informativeness, (P,).

    Nothing where no ensemble judged. A correlation far above 0 says that prompts are drawn because
    the rewards are unsure of them.
    """
    if not any(score.members for group in groups for score in group.scores):
        return {}
    known = [
        (spread, value)
        for group, value in zip(groups, info, strict=True)
        if (spread := disagreement(group)) is not None and value is not None
    ]
    spreads, values = [spread for spread, _ in known], [value for _, value in known]
    return {
        "disagreement": sum(spreads) / len(spreads) if spreads else None,
        "disagreement_correlation": spearman(spreads, values),
    }


def spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return the rank correlation, ties sharing their mean rank; None where one has no ranks.

    >>> spearman([1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 9.0])
    0.8
    """
    ranks = [_ranks(np.asarray(values, dtype=np.float64)) for values in (first, second)]
    a, b = (values - values.mean() for values in ranks)
    scale = math.sqrt(float((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else None


def _ranks(values: Floats) -> Floats:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: Floats = (ends - (counts - 1) / 2)[places]
    return ranks
