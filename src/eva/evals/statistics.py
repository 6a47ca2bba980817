"""What a difference is worth: estimates with 95 % intervals, by prompts.

The unit is the prompt: several answers, instructions or seeds of one prompt tell less than as many
prompts would, so they are gathered per prompt first (`by_cluster`, `over_seeds`). The default
interval is Student's t: it needs no random draws, so the same rows always give the same interval,
and on 24 to 64 prompts it covers the truth more often than the percentile bootstrap, which is too
narrow there (docs/evaluation.md has the figures).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Literal, TypeAlias

import numpy as np

from eva.evals.quantiles import normal_quantile, t_quantile
from eva.types import Floats, Json

LEVEL = 0.95
"""Probability with which an interval is to cover the truth."""

Better: TypeAlias = Literal[-1, 0, 1]
"""Whether more of a metric is better (1), worse (-1), or neither (0)."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its interval."""

    estimate: float
    error: float
    """Standard error."""
    low: float
    high: float
    n: int
    """Prompts that it rests on."""

    def json(self) -> dict[str, Json]:
        """Return it as plain data; what is not finite (fewer than two prompts) becomes None."""
        return {k: v if math.isfinite(v) else None for k, v in asdict(self).items()}


def mean_interval(
    values: Sequence[float] | Floats,
    weights: Sequence[float] | Floats | None = None,
    *,
    level: float = LEVEL,
) -> Interval:
    """Return the weighted mean of per-prompt values, (P,), with Student's t over prompts.

    m = sum(w x) / sum(w), error^2 = P / (P - 1) sum(w^2 (x - m)^2) / sum(w)^2, P - 1 degrees of
    freedom. With unit weights this is the textbook interval; with w the cluster sizes and x the
    cluster means it is the cluster-robust one (Liang and Zeger 1986; for
    evaluations arXiv:2411.00640) with the correction P / (P - 1). From fewer than two prompts the
    interval is unbounded.

    >>> mean_interval([1.0, 2.0, 3.0]).json()["estimate"]
    2.0
    """
    x = np.asarray(values, dtype=np.float64)
    w = np.ones_like(x) if weights is None else np.asarray(weights, dtype=np.float64)
    if not len(x):
        return Interval(math.nan, math.nan, -math.inf, math.inf, 0)
    mean = float(w @ x / w.sum())
    if len(x) == 1:
        return Interval(mean, math.nan, -math.inf, math.inf, 1)
    residuals = w * (x - mean)
    error = math.sqrt(len(x) / (len(x) - 1) * float(residuals @ residuals)) / float(w.sum())
    half = t_quantile(level, len(x) - 1) * error
    return Interval(mean, error, mean - half, mean + half, len(x))


def paired_difference(
    before: Sequence[float] | Floats,
    after: Sequence[float] | Floats,
    weights: Sequence[float] | Floats | None = None,
    *,
    level: float = LEVEL,
) -> Interval:
    """Return the mean of after - before over prompts, (P,) each, aligned, with its interval.

    How hard a prompt is cancels, so the interval is narrower than that of two separate means.
    """
    difference = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    return mean_interval(difference, weights, level=level)


def by_cluster(
    values: Sequence[float] | Floats, clusters: Sequence[Hashable]
) -> tuple[Floats, Floats]:
    """Return cluster means and sizes, (C,) each, in order of first appearance.

    Given to `mean_interval` as values and weights they make the cluster-robust interval.

    >>> by_cluster([1.0, 0.0, 1.0], ["a", "a", "b"])
    (array([0.5, 1. ]), array([2., 1.]))
    """
    order = {name: i for i, name in enumerate(dict.fromkeys(clusters))}
    index = [order[name] for name in clusters]
    sizes = np.bincount(index, minlength=len(order)).astype(np.float64)
    sums = np.bincount(index, np.asarray(values, dtype=np.float64), len(order))
    return sums / sizes, sizes


def bootstrap_interval(
    values: Sequence[float] | Floats,
    weights: Sequence[float] | Floats | None = None,
    *,
    rng: np.random.Generator,
    draws: int = 10_000,
    level: float = LEVEL,
) -> Interval:
    """Return the weighted mean with the percentile bootstrap: prompts are drawn with replacement.

    For paired differences give the differences: a prompt is drawn with both of its values.
    Source: Efron and Tibshirani 1993, ch. 13.
    """
    x = np.asarray(values, dtype=np.float64)
    w = np.ones_like(x) if weights is None else np.asarray(weights, dtype=np.float64)
    if len(x) < 2:
        return mean_interval(x, w, level=level)
    means = np.empty(draws)
    for i in range(draws):
        chosen = rng.integers(len(x), size=len(x))
        means[i] = w[chosen] @ x[chosen] / w[chosen].sum()
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    estimate = float(w @ x / w.sum())
    return Interval(estimate, float(means.std(ddof=1)), float(low), float(high), len(x))


@dataclass(frozen=True, slots=True)
class Seeds:
    """One quantity over several training seeds."""

    interval: Interval
    """Over prompts, of the mean over seeds: what holds for these seeds on other such prompts."""
    estimates: tuple[float, ...]
    """The mean over prompts for each seed, (S,)."""
    spread: float
    """Standard deviation of `estimates`: what another seed may change; NaN for one seed."""


def over_seeds(
    values_SP: Floats,
    weights: Sequence[float] | Floats | None = None,
    *,
    level: float = LEVEL,
) -> Seeds:
    """Gather values of S seeds on the same P prompts, (S, P): mean over seeds, then by prompts."""
    matrix = np.asarray(values_SP, dtype=np.float64)
    w = np.ones(matrix.shape[1]) if weights is None else np.asarray(weights, dtype=np.float64)
    estimates = matrix @ w / w.sum() if w.size else np.full(len(matrix), math.nan)
    spread = float(estimates.std(ddof=1)) if len(matrix) > 1 else math.nan
    interval = mean_interval(matrix.mean(axis=0), w, level=level)
    return Seeds(interval, tuple(map(float, estimates)), spread)


def wilson_interval(successes: float, n: int, *, level: float = LEVEL) -> Interval:
    """Return a proportion with Wilson's score interval (Wilson 1927).

    It stays within [0, 1] and keeps a width at 0 and at n successes, where Student's t has none.

    >>> round(wilson_interval(0, 10).high, 4)
    0.2775
    """
    if not n:
        return Interval(math.nan, math.nan, 0.0, 1.0, 0)
    z, p = normal_quantile(level), successes / n
    scale = 1 + z * z / n
    centre = (p + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return Interval(p, math.sqrt(p * (1 - p) / n), low, high, n)


def detectable_difference(
    deviation: float, n: int, *, power: float = 0.8, level: float = LEVEL
) -> float:
    """Return the smallest true difference that n prompts would show with probability `power`.

    delta = (z_level + z_power) s / sqrt(n), s the standard deviation of the per-prompt differences
    (normal approximation).

    >>> round(detectable_difference(0.5, 64), 3)
    0.175
    """
    return _power_factor(power, level) * deviation / math.sqrt(n)


def prompts_needed(
    deviation: float, difference: float, *, power: float = 0.8, level: float = LEVEL
) -> int:
    """Return how many prompts show a true `difference` with probability `power`.

    n = ((z_level + z_power) s / delta)^2, rounded up.

    >>> prompts_needed(0.5, 0.05)
    785
    """
    return math.ceil((_power_factor(power, level) * deviation / difference) ** 2)


def _power_factor(power: float, level: float) -> float:
    """Return z_level + z_power: two-sided for the interval, one-sided for the power."""
    return normal_quantile(level) + NormalDist().inv_cdf(power)


INSIDE = "inside the interval"
"""The verdict where zero lies within the interval: the data cannot tell."""

_VERDICTS: dict[Better, tuple[str, str]] = {
    1: ("gain", "loss"),
    -1: ("loss", "gain"),
    0: ("more", "less"),
}


def verdict(difference: Interval, *, better: Better = 1) -> str:
    """Say what an interval of a difference shows: `gain`, `loss`, or that zero lies inside it.

    Where more is neither better nor worse (a length), it says `more` or `less`. Where all
    differences are the same number, their standard error of 0 shows nothing by itself: then six
    prompts are asked for, from which on a sign test sees it too (2 / 2^6 < 0.05).

    >>> verdict(mean_interval([-0.1, 0.2, 0.3]))
    'inside the interval'
    """
    if difference.n < 6 and difference.error <= 1e-12 * abs(difference.estimate):
        return INSIDE
    above, below = _VERDICTS[better]
    if difference.low > 0:
        return above
    return below if difference.high < 0 else INSIDE
