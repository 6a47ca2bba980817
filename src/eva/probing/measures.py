"""Contrast, headroom and reward noise, from rewards alone.

Shapes as elsewhere: `rewards` is ragged (P, G) with None for an unscored response, `rewards_PK` is
what `complete` makes of it. Nothing here draws random numbers but what a caller hands in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eva.creator.order_statistics import normal_lead
from eva.evals.statistics import Interval, bootstrap_interval, wilson_interval
from eva.types import Floats

KEPT = 0.9
"""Share of the answered prompts that `complete` keeps at least."""

SAME = 1e-3
"""Second scores that differ by less than this share of the rewards' spread are the same: batches
of other shapes already change the last digits of a model's reward."""


def complete(rewards: Sequence[Sequence[float | None]]) -> Floats:
    """Return the first K scored rewards of the prompts that have as many, (P, K).

    K is the largest number that nine tenths of the prompts with two scored answers or more have:
    all measures then speak of the same prompts and of the same number of answers, and one failed
    answer costs neither a prompt nor everybody else's last answer unless failures are common.

    >>> complete([[1.0, None, 3.0], [2.0, 2.0, 5.0]]).tolist()
    [[1.0, 3.0], [2.0, 2.0]]
    """
    scored = [[value for value in group if value is not None] for group in rewards]
    scored = [group for group in scored if len(group) >= 2]
    if not scored:
        return np.empty((0, 0))
    counts = sorted((len(group) for group in scored), reverse=True)
    k = counts[math.ceil(KEPT * len(counts)) - 1]
    return np.array([group[:k] for group in scored if len(group) >= k], np.float64)


@dataclass(frozen=True, slots=True)
class Contrast:
    """How many prompts have answers of different reward."""

    without: Interval
    """Share of prompts whose answers all have one reward; Wilson's interval."""
    highest: float
    """Share of prompts whose answers all have the highest reward seen: nothing left to gain."""
    lowest: float
    """Share of prompts whose answers all have the lowest reward seen."""
    by_k: tuple[float, ...]
    """Expected share without contrast for k = 2, ..., K answers, (K - 1,)."""


def contrast(rewards_PK: Floats) -> Contrast:
    """Return how many of the prompts have no contrast; NaN without prompts.

    Fewer answers show less: `by_k` is the probability that k of the K answers, drawn without
    replacement, have one reward, sum over the values of C(count, k) / C(K, k).
    """
    prompts, k = rewards_PK.shape
    low, high = rewards_PK.min(axis=1, initial=np.inf), rewards_PK.max(axis=1, initial=-np.inf)
    equal = low == high
    if not prompts:
        return Contrast(wilson_interval(0, 0), math.nan, math.nan, ())
    # were all rewards of all prompts equal, nobody could say which end of the scale they are at
    scale = rewards_PK.min() < rewards_PK.max()
    counts = [np.unique(row, return_counts=True)[1].tolist() for row in rewards_PK]
    by_k = tuple(
        sum(math.comb(c, j) for row in counts for c in row) / math.comb(k, j) / prompts
        for j in range(2, k + 1)
    )
    return Contrast(
        wilson_interval(int(equal.sum()), prompts),
        float((equal & (high == rewards_PK.max())).mean()) if scale else math.nan,
        float((equal & (low == rewards_PK.min())).mean()) if scale else math.nan,
        by_k,
    )


@dataclass(frozen=True, slots=True)
class Headroom:
    """What choosing the best of several answers gains, a mean over prompts."""

    gain: Interval
    """Best of K minus mean, with a bootstrap interval over prompts."""
    mean: float
    """Mean reward."""
    best_of: tuple[float, ...]
    """Expected best of k answers for k = 1, ..., K, (K,)."""
    spread: float
    """Standard deviation of all rewards together: the scale that the gain is read on."""


def best_of(rewards_PK: Floats) -> Floats:
    """Return the expected best of k of each prompt's K answers, k = 1, ..., K, (P, K).

    Unbiased: the mean over all subsets of size k, sum_i r_(i) C(i - 1, k - 1) / C(K, k) with
    r_(1) the smallest (as pass@k of arXiv:2107.03374 is for 0/1 rewards).

    >>> best_of(np.array([[0.0, 3.0, 1.0]])).round(3).tolist()
    [[1.333, 2.333, 3.0]]
    """
    n = rewards_PK.shape[1]
    weights = np.array(
        [[math.comb(i, k - 1) / math.comb(n, k) for k in range(1, n + 1)] for i in range(n)]
    ).reshape(n, n)
    # from the smallest, so that equal rewards gain nothing to the last bit
    ordered = np.sort(rewards_PK, axis=1)
    origin = ordered[:, :1]
    value: Floats = origin + (ordered - origin) @ weights
    return value


def headroom(rewards_PK: Floats, rng: np.random.Generator) -> Headroom:
    """Return what the best of K answers gains over the mean one; NaN without prompts."""
    curves = best_of(rewards_PK)
    if not len(curves):
        return Headroom(bootstrap_interval([], rng=rng), math.nan, (), math.nan)
    gain = bootstrap_interval(curves[:, -1] - curves[:, 0], rng=rng, draws=2000)
    curve = curves.mean(axis=0)
    return Headroom(gain, float(curve[0]), tuple(map(float, curve)), float(rewards_PK.std()))


@dataclass(frozen=True, slots=True)
class Noise:
    """By how much a reward changes when the same answer is scored again."""

    difference: float
    """Standard deviation of second minus first score."""
    sd: float
    """Standard deviation of one score, which is the difference's over the square root of 2."""
    gain: float
    """What noise alone would make of headroom: the lead of the best of K normal scores."""
    answers: int
    """Answers that were scored twice."""


def noise(
    first: Sequence[float | None], second: Sequence[float | None], *, k: int, spread: float
) -> Noise | None:
    """Compare two scorings of the same answers, (N,) each; None where nothing differs.

    An answer that either scoring left unscored is left out. Nothing differs where the reward is a
    function of prompt and answer, and where it remembers what it has scored: scores cannot tell
    which.
    """
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    if not pairs:
        return None
    differences = np.array([b - a for a, b in pairs])
    if np.abs(differences).max() <= SAME * spread:
        return None
    # about 0, not about their mean: a second scoring is not better or worse on purpose
    difference = math.sqrt(float((differences**2).mean()))
    sd = difference / math.sqrt(2)
    return Noise(difference, sd, sd * normal_lead(k).mean, len(pairs))
