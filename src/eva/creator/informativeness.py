"""Informativeness: how much the solver can still learn from a prompt, from its rewards alone.

The regret of a prompt, E_{y~pi*} r - E_{y~pi} r, is estimated by the best of its n responses
against a baseline: the worst one offline, the mean online (arXiv:2411.00062, eq. 5 and 6).
Names are the paper's; the column names of the authors' code are aliases. With pairwise reward
models the reward of a response is its mean win probability against the other samples.

Departures from the paper
- Any number of responses per prompt: unscored ones (None) are left out, never counted as 0. A
  value is NaN where fewer than `Metric.needs` are scored: 1 for avg, inverse_avg and uniform, 2
  for all others. `comparable` divides by the metric's expectation for n normal rewards of
  standard deviation 1, so that prompts with different n can be ranked together; off by default.
- The variance is the unbiased one (divisor n - 1), for the same reason.
- Added: sd, gini and learnability.
- Every value has a standard error; NaN where too few responses are scored for it. Which one:
  avg: s / sqrt(n), from an unbiased variance. a_min, a_avg, a_dts: normal theory, (s / c4) times
  the standard deviation of the statistic for n normal rewards; the jackknife is inconsistent for
  statistics of the extremes, which are not smooth in any one reward. It is a guide only where
  rewards are far from normal, 0/1 rewards above all. var, sd, gini: jackknife, from 3 responses.
  learnability: the exact variance of its estimator for 0/1 rewards, at the observed rate.
  inverse_*: that of the plain metric over the range of its values, taken as known. All are plug-in
  estimates: where all rewards are equal they are 0, which means unknown rather than certain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType

import numpy as np

from eva.creator.order_statistics import Moments, c4, normal_gap, normal_lead, normal_range
from eva.errors import ConfigError, unknown_name
from eva.protocols import Informativeness
from eva.types import Estimates, Floats, Ints


def a_min(rewards_PG: Floats) -> Floats:
    """Return max r - min r, the paper's A*_min, (P, G) -> (P,).

    >>> a_min(np.array([[1.0, 4.0, 2.0]])).tolist()
    [3.0]
    """
    value: Floats = rewards_PG.max(axis=1) - rewards_PG.min(axis=1)
    return value


def a_avg(rewards_PG: Floats) -> Floats:
    """Return max r - mean r, the paper's A*_avg, (P, G) -> (P,)."""
    value: Floats = rewards_PG.max(axis=1) - avg(rewards_PG)
    return value


def a_dts(rewards_PG: Floats) -> Floats:
    """Return the best minus the second best reward, the paper's A*_dts, (P, G) -> (P,)."""
    ordered = np.sort(rewards_PG, axis=1)
    value: Floats = ordered[:, -1] - ordered[:, -2]
    return value


def avg(rewards_PG: Floats) -> Floats:
    """Return the mean reward, (P, G) -> (P,)."""
    # Taken from the first reward: equal rewards must give their own value to the last bit.
    origin = rewards_PG[:, 0]
    value: Floats = origin + (rewards_PG - origin[:, None]).mean(axis=1)
    return value


def var(rewards_PG: Floats) -> Floats:
    """Return the unbiased variance of the rewards, (P, G) -> (P,)."""
    squares = ((rewards_PG - avg(rewards_PG)[:, None]) ** 2).sum(axis=1)
    value: Floats = squares / (rewards_PG.shape[1] - 1)
    return value


def sd(rewards_PG: Floats) -> Floats:
    """Return the square root of the unbiased variance, (P, G) -> (P,)."""
    return np.sqrt(var(rewards_PG))


def gini(rewards_PG: Floats) -> Floats:
    """Return the mean absolute difference of two rewards, unbiased at any n, (P, G) -> (P,).

    2 sum_i (2 i - n - 1) r_(i) / (n (n - 1)), with r_(1) the smallest (Gini's mean difference).
    """
    n = rewards_PG.shape[1]
    # From the smallest, for exact zeros; the weights sum to 0, so that nothing else changes.
    ordered = np.sort(rewards_PG, axis=1)
    total = (ordered - ordered[:, :1]) @ (2.0 * np.arange(1, n + 1) - n - 1)
    value: Floats = 2 * total / (n * (n - 1))
    return value


def learnability(rewards_PG: Floats, *, success: float = 1.0) -> Floats:
    """Return k (n - k) / (n (n - 1)), unbiased for p (1 - p), (P, G) -> (P,).

    k counts the responses with a reward of at least `success`. arXiv:2408.15099 (SFL) has the
    plug-in k (n - k) / n^2, which is too small by the factor (n - 1) / n.
    """
    n = rewards_PG.shape[1]
    k = (rewards_PG >= success).sum(axis=1).astype(np.float64)
    value: Floats = k * (n - k) / (n * (n - 1))
    return value


def uniform(rewards_PG: Floats) -> Floats:
    """Return 1 for every prompt: no signal, (P, G) -> (P,)."""
    return np.ones(len(rewards_PG))


def jackknife_error(value: Callable[[Floats], Floats], rewards_PG: Floats) -> Floats:
    """Return the jackknife standard error of a metric, (P, G) -> (P,); NaN below 3 responses."""
    n = rewards_PG.shape[1]
    if n < 3:
        return np.full(len(rewards_PG), np.nan)
    left_out = np.stack([value(np.delete(rewards_PG, i, axis=1)) for i in range(n)], axis=1)
    error: Floats = np.sqrt((n - 1) * left_out.var(axis=1))
    return error


def normal_error(moments: Callable[[int], Moments], rewards_PG: Floats) -> Floats:
    """Return the standard error of a statistic of normal rewards, (P, G) -> (P,).

    Its standard deviation for unit rewards, times s / c4(n), the unbiased estimate of theirs.
    """
    n = rewards_PG.shape[1]
    error: Floats = sd(rewards_PG) / c4(n) * moments(n).sd
    return error


def avg_error(rewards_PG: Floats) -> Floats:
    """Return s / sqrt(n), (P, G) -> (P,); NaN for a single response."""
    n = rewards_PG.shape[1]
    if n < 2:
        return np.full(len(rewards_PG), np.nan)
    error: Floats = sd(rewards_PG) / np.sqrt(n)
    return error


def learnability_error(rewards_PG: Floats, *, success: float = 1.0) -> Floats:
    """Return the standard error of `learnability`, (P, G) -> (P,).

    For 0/1 rewards it is the unbiased variance, whose own variance is
    (m4 - v^2 (n - 3) / (n - 1)) / n with v = p (1 - p) and fourth moment m4 = v (1 - 3 v).
    """
    n = rewards_PG.shape[1]
    p = (rewards_PG >= success).mean(axis=1)
    v = p * (1 - p)
    squared = (v * (1 - 3 * v) - v**2 * (n - 3) / (n - 1)) / n
    error: Floats = np.sqrt(np.maximum(squared, 0.0))
    return error


def no_error(rewards_PG: Floats) -> Floats:
    """Return 0 for every prompt, (P, G) -> (P,)."""
    return np.zeros(len(rewards_PG))


def min_max(values: Floats) -> Floats:
    """Return values mapped onto [0, 1], NaN left out; all 0 where they are equal, (P,) -> (P,).

    >>> min_max(np.array([2.0, 4.0, 3.0])).tolist()
    [0.0, 1.0, 0.5]
    """
    known = values[~np.isnan(values)]
    spread = np.ptp(known) if len(known) else 0.0
    scaled: Floats = (values - known.min()) / spread if spread > 0 else values * 0.0
    return scaled


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of the rewards of each prompt; an `Informativeness`."""

    value: Callable[[Floats], Floats]
    """The formula, on prompts with the same number of scored responses, (P, G) -> (P,)."""
    error: Callable[[Floats], Floats]
    """Its standard error, (P, G) -> (P,)."""
    needs: int = 2
    """The fewest scored responses that give a value."""
    expected: Callable[[int], float] = lambda n: 1.0
    """Its expectation for n normal rewards of standard deviation 1, where that depends on n."""
    inverse: bool = False
    """Whether it is turned round over all prompts: 1 - min_max(value)."""
    comparable: bool = False
    """Whether values and errors are divided by `expected`, hence comparable between any n."""

    def __call__(self, rewards: Sequence[Sequence[float | None]]) -> Estimates:
        """Return the metric of P prompts.

        Raises:
            ValueError: a reward is not finite; an unscored response is None.
        """
        values, errors = np.full((2, len(rewards)), np.nan)
        counts = np.zeros(len(rewards), np.int64)
        for rows, rewards_PG in by_count(rewards):
            n = rewards_PG.shape[1]
            counts[rows] = n
            if n >= self.needs:
                unit = self.expected(n) if self.comparable else 1.0
                values[rows] = self.value(rewards_PG) / unit
                errors[rows] = self.error(rewards_PG) / unit
        estimates = Estimates(values, errors, counts)
        return inverted(estimates) if self.inverse else estimates


def inverted(estimates: Estimates) -> Estimates:
    """Return 1 - min_max(values), the paper's 1/avg and 1/A*_min, which are no reciprocals."""
    known = estimates.values[~np.isnan(estimates.values)]
    spread = float(np.ptp(known)) if len(known) else 0.0
    errors = estimates.errors / spread if spread > 0 else estimates.errors * 0.0
    return Estimates(1 - min_max(estimates.values), errors, estimates.counts)


def by_count(rewards: Sequence[Sequence[float | None]]) -> Iterator[tuple[Ints, Floats]]:
    """Yield the prompts of each number of scored responses: their indices and rewards, (P, G).

    Raises:
        ValueError: a reward is not finite; an unscored response is None.
    """
    scored = [[reward for reward in group if reward is not None] for group in rewards]
    counts = np.array([len(group) for group in scored], np.int64)
    for n in np.unique(counts):
        rows = np.flatnonzero(counts == n)
        matrix = np.array([scored[row] for row in rows], np.float64).reshape(len(rows), n)
        broken = ~np.isfinite(matrix).all(axis=1)
        if broken.any():
            first = rows[np.flatnonzero(broken)[0]]
            raise ValueError(
                f"prompt {first}: rewards {scored[first]} are not finite; "
                "an unscored response has the reward None"
            )
        yield rows, matrix


_RANGE = Metric(a_min, partial(normal_error, normal_range), expected=lambda n: normal_range(n).mean)
_MEAN = Metric(avg, avg_error, needs=1)

METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "a_min": _RANGE,
        "a_avg": Metric(
            a_avg, partial(normal_error, normal_lead), expected=lambda n: normal_lead(n).mean
        ),
        "a_dts": Metric(
            a_dts, partial(normal_error, normal_gap), expected=lambda n: normal_gap(n).mean
        ),
        "var": Metric(var, partial(jackknife_error, var)),
        "avg": _MEAN,
        "inverse_avg": replace(_MEAN, inverse=True),
        "inverse_a_min": replace(_RANGE, inverse=True),
        "uniform": Metric(uniform, no_error, needs=1),
        "sd": Metric(sd, partial(jackknife_error, sd), expected=c4),
        "gini": Metric(gini, partial(jackknife_error, gini)),
        "learnability": Metric(learnability, learnability_error),
    }
)
"""Every metric by name."""

ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "reward_gap": "a_min",
        "reward_maxmean": "a_avg",
        "reward_dts": "a_dts",
        "reward_var": "var",
        "reward_mean": "avg",
        "reward_mean_inv": "inverse_avg",
        "reward_gap_inv": "inverse_a_min",
    }
)
"""The column names of the authors' code."""


def informativeness(
    name: str, *, comparable: bool = False, success: float = 1.0
) -> Informativeness:
    """Return a metric by its name or alias.

    Args:
        name: a key of `METRICS` or `ALIASES`.
        comparable: divide by the expectation for n normal rewards, for prompts with different n.
        success: the reward from which on a response counts as right; read by learnability alone.

    Raises:
        ConfigError: there is no such metric.
    """
    name = ALIASES.get(name, name)
    if name not in METRICS:
        raise ConfigError(unknown_name("informativeness metric", name, [*METRICS, *ALIASES]))
    metric = replace(METRICS[name], comparable=comparable)
    if name != "learnability":
        return metric
    return replace(
        metric,
        value=partial(learnability, success=success),
        error=partial(learnability_error, success=success),
    )
