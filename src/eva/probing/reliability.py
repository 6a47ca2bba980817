"""How well a metric of informativeness tells prompts apart, and how many answers that takes.

The answers of every prompt are split into two halves, the metric is computed on each, and the
rankings of the prompts are compared: Spearman's correlation, averaged over random splits. It is the
reliability of half the answers; the Spearman-Brown formula, m r / (1 + (m - 1) r), extends it to m
times as many (Spearman 1910 and Brown 1910, British Journal of Psychology 3). It is exact for means
of alike answers and a guide for everything else: docs/probe.md says how good a one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eva.creator.informativeness import METRICS, Metric
from eva.evals.statistics import LEVEL
from eva.types import Floats, Ints

NAMES = tuple(name for name, m in METRICS.items() if not m.inverse and name != "uniform")
"""Metrics that are compared. The inverse ones rank as the plain ones do, in the opposite order."""

CANDIDATES = ("a_min", "a_avg", "sd", "gini")
"""What may be recommended, the paper's own metric first. Not `avg`, which says how hard a prompt is
and not whether its answers differ; not `var`, which ranks as `sd` does; not `a_dts`, which more
answers do not make more reliable."""

TWO_VALUED = ("sd",)
"""The same for rewards of two values, where the range says only whether there is contrast."""

ENOUGH = 0.7
"""Reliability that is asked for: metric and truth then correlate by its square root, 0.84."""

MOST = 64
"""More answers than that are not recommended: another metric or reward is cheaper."""

FEWEST_ANSWERS, FEWEST_RANKED = 4, 3
"""Answers per prompt for halves of 2, and prompts for a correlation that can be other than 1."""

_SPLITS, _DRAWS = 20, 200


@dataclass(frozen=True, slots=True)
class Reliability:
    """How reliably a metric ranks these prompts."""

    metric: str
    half: float
    """Spearman correlation of two halves of the answers; NaN where none ranks anything."""
    full: float
    """The same, predicted for all answers by Spearman and Brown."""
    low: float
    """Lower end of the interval of `full`, by a bootstrap over prompts."""
    high: float
    n: int | None
    """Fewest answers that are predicted to reach `ENOUGH`; None above `MOST`."""


@dataclass(frozen=True, slots=True)
class Reliabilities:
    """All metrics, and which of them to take."""

    metrics: tuple[Reliability, ...]
    recommended: Reliability | None
    """None where no metric ranks the prompts better than chance."""


def spearman_brown(r: float, times: float) -> float:
    """Return the reliability of `times` as many answers; none comes of more where r is not above 0.

    >>> round(spearman_brown(0.5, 2), 3)
    0.667
    """
    return times * r / (1 + (times - 1) * r) if r > 0 else r


def answers_needed(r: float, half: int) -> int | None:
    """Return the fewest answers, 2 at least, that reach `ENOUGH` where `half` have reliability r.

    None where that takes more than `MOST`.

    >>> answers_needed(0.5, 4)
    10
    """
    if not r > 0:
        return None
    # a hair less, since 9.0000000001 answers are 9
    n = 2 if r >= 1 else max(2, math.ceil(half * ENOUGH * (1 - r) / (r * (1 - ENOUGH)) - 1e-9))
    return n if n <= MOST else None


def candidates(rewards_PK: Floats) -> tuple[str, ...]:
    """Return the metrics that may be recommended, the one to beat first."""
    return TWO_VALUED if len(np.unique(rewards_PK)) == 2 else CANDIDATES


def reliabilities(rewards_PK: Floats, rng: np.random.Generator) -> Reliabilities:
    """Compare the metrics, and recommend one of `candidates`.

    It is the first of them, unless another one is more reliable on these prompts: where the
    bootstrap interval of the difference holds 0, the difference may be luck. Needs 4 answers, for
    halves of 2.
    """
    prompts, k = rewards_PK.shape
    half = k // 2
    if k < FEWEST_ANSWERS or prompts < FEWEST_RANKED:
        return Reliabilities((), None)
    # shuffled prompt by prompt: which answer of a prompt comes first means nothing to another's
    splits = [rng.permuted(rewards_PK, axis=1)[:, : 2 * half] for _ in range(_SPLITS)]
    drawn = rng.integers(prompts, size=(_DRAWS, prompts))
    found: dict[str, Reliability] = {}
    draws: dict[str, Floats] = {}
    for name in NAMES:
        halves = _halves(METRICS[name], splits)
        everyone = _correlation(halves, np.arange(prompts)[None, :])[0]
        draws[name] = _correlation(halves, drawn)
        found[name] = _reliability(name, float(everyone), draws[name], k=k, half=half)
    return Reliabilities(tuple(found.values()), _best(found, draws, candidates(rewards_PK)))


def _halves(metric: Metric, splits: Sequence[Floats]) -> Floats:
    """Return the metric on both halves of every split, (S, 2, P)."""
    return np.array(
        [[metric.value(half) for half in np.split(split, 2, axis=1)] for split in splits]
    )


def _correlation(halves: Floats, rows: Ints) -> Floats:
    """Return Spearman's correlation, a mean over splits, for the prompts of each row, (B,).

    A split of which one half ranks nothing, all its values being equal, counts as 0: the halves do
    not agree on anything. NaN where no half of any split ranks anything.
    """
    agreement, ranked = np.zeros((2, len(rows)))
    for pair in halves:  # one at a time: all at once would take gigabytes for 10,000 prompts
        # sums in another order differ in the last bits, which are no differences of rank
        ranks = mid_ranks(pair.round(12)[:, rows])
        ranks -= ranks.mean(axis=-1, keepdims=True)
        squares = (ranks**2).sum(axis=-1)
        scale = np.sqrt(squares.prod(axis=0))
        agreement += (ranks[0] * ranks[1]).sum(axis=-1) / np.where(scale > 0, scale, 1.0)
        ranked += squares.sum(axis=0)
    mean: Floats = np.where(ranked > 0, agreement / len(halves), np.nan)
    return mean


def mid_ranks(values: Floats) -> Floats:
    """Return ranks from 0 along the last axis, equal values sharing the mean of theirs.

    >>> mid_ranks(np.array([5.0, 1.0, 5.0, 7.0])).tolist()
    [1.5, 0.0, 1.5, 3.0]
    """
    order = np.argsort(values, axis=-1)
    ordered = np.take_along_axis(values, order, axis=-1)
    place = np.broadcast_to(np.arange(values.shape[-1]), values.shape)
    rises = np.diff(ordered, axis=-1) > 0
    edge = np.ones((*values.shape[:-1], 1), dtype=bool)
    begins = np.concatenate([edge, rises], axis=-1)
    ends = np.concatenate([rises, edge], axis=-1)
    first = np.maximum.accumulate(np.where(begins, place, 0), axis=-1)
    far = np.where(ends, place, values.shape[-1])
    last = np.minimum.accumulate(far[..., ::-1], axis=-1)[..., ::-1]
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, (first + last) / 2, axis=-1)
    return ranks


def _reliability(name: str, r: float, draws: Floats, *, k: int, half: int) -> Reliability:
    if math.isnan(r):
        return Reliability(name, r, r, r, r, None)
    times = k / half
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low, high = (spearman_brown(float(q), times) for q in np.nanquantile(draws, tails))
    full = spearman_brown(r, times)
    return Reliability(name, r, full, low, high, answers_needed(r, half))


def _best(
    found: dict[str, Reliability], draws: dict[str, Floats], names: Sequence[str]
) -> Reliability | None:
    first = names[0]
    able = [found[name] for name in names if found[name].low > 0]
    for one in sorted(able, key=lambda row: -row.full):
        if one.metric == first or not found[first].low > 0:
            return one
        lead = draws[one.metric] - draws[first]
        if np.nanquantile(lead, (1 - LEVEL) / 2) > 0:
            return one
    return None
