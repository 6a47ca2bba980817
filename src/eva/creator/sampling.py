"""Sampling the informative subset: k prompts without replacement (arXiv:2411.00062, sec. 3.2).

Departures from the paper
- Every draw comes from a seeded stream; the published code draws unseeded.
- Weighted, the default: weights are the min-max normalised metric, so that the least informative
  prompt has weight exactly 0, as in the published code. Where fewer than k prompts have a
  positive weight, that code fails; here all of those are drawn, and the rest uniformly from the
  prompts of weight 0. If all are equally informative the draw is therefore uniform.
- Greedy and rank break ties by the stream, the paper by the order of the data set.
- Stratified: the bins hold equal numbers of prompts (ties divided by the stream) and give equally
  many; what does not divide evenly comes from bins chosen by the stream. Weights are those of the
  whole set, not made anew in each bin.
- Added: rank (Prioritized Level Replay). Its paper has beta = 0.1 for games, which over prompts is
  close to greedy; here beta is 1, so that P is proportional to 1 / rank.
- Topic-blended: prompts without a topic count as one topic.
- NaN, a prompt with too few scored responses, is never drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from eva.creator.informativeness import min_max
from eva.protocols import Sampler
from eva.types import Floats, Ints


def draw(weights: Floats, k: int, rng: np.random.Generator) -> Ints:
    """Draw k indices one after another, each in proportion to the weights left, (P,) -> (k,).

    Gumbel noise on the log-weights gives the order of such a draw in one sort (Efraimidis and
    Spirakis 2006, in the form of arXiv:1903.06059). Weights of 0 come last, uniformly.

    Raises:
        ValueError: a weight is negative or infinite, or k is negative.
    """
    if k < 0 or np.any(weights < 0) or np.any(np.isinf(weights)):
        raise ValueError(f"cannot draw {k} of {len(weights)}: weights must be finite, none below 0")
    noise = rng.gumbel(size=len(weights))
    positive = weights > 0
    keys = noise + np.log(weights, where=positive, out=np.zeros(len(weights)))
    order = np.lexsort((-keys, ~positive))
    drawn: Ints = order[~np.isnan(weights[order])][:k]
    return drawn


def weighted(info: Floats, k: int, rng: np.random.Generator) -> Ints:
    """Draw in proportion to the min-max normalised metric: the paper's default."""
    return draw(min_max(_finite(info)), k, rng)


def greedy(info: Floats, k: int, rng: np.random.Generator) -> Ints:
    """Take the k most informative; ties are broken by the stream."""
    return _ranked(info, rng)[: max(k, 0)]


def stratified(info: Floats, k: int, rng: np.random.Generator, *, bins: int = 10) -> Ints:
    """Draw equally many from each quantile bin of the metric, in proportion to it within a bin."""
    weights = min_max(_finite(info))
    turn = np.full(len(info), np.inf)
    strata = [bin_ for bin_ in np.array_split(_ranked(info, rng), bins) if len(bin_)]
    # A prompt's place in its bin's own draw is its turn; bins take turns in an order of the stream.
    for place, which in enumerate(rng.permutation(len(strata))):
        members = strata[which]
        queue = members[draw(weights[members], len(members), rng)]
        turn[queue] = np.arange(len(queue)) + place / len(strata)
    order = np.argsort(turn, kind="stable")
    drawn: Ints = order[np.isfinite(turn[order])][: max(k, 0)]
    return drawn


def rank(info: Floats, k: int, rng: np.random.Generator, *, beta: float = 1.0) -> Ints:
    """Draw with P proportional to rank^(-1/beta), rank 1 the most informative (arXiv:2010.03934).

    Raises:
        ValueError: beta is not positive.
    """
    if not beta > 0:
        raise ValueError(f"beta is {beta}, expected a positive number")
    order = _ranked(info, rng)
    # Gumbel noise as in `draw`, on log-weights: a small beta would underflow as a power.
    keys = rng.gumbel(size=len(order)) - np.log(np.arange(1, len(order) + 1)) / beta
    return order[np.argsort(-keys)][: max(k, 0)]


def uniform(info: Floats, k: int, rng: np.random.Generator) -> Ints:
    """Draw with equal chances, whatever the metric; NaN is still never drawn."""
    return draw(_finite(info) * 0.0, k, rng)


@dataclass(frozen=True, slots=True)
class TopicBlended:
    """Draw in proportion to (1 - c) times the metric plus c over the number with the same topic."""

    c: float = 0.25
    """Weight of the topics; 0.25 is the paper's."""

    def among(self, topics: Sequence[str]) -> Sampler:
        """Return the sampler of prompts with these topics, (P,)."""

        def blended(info: Floats, k: int, rng: np.random.Generator) -> Ints:
            return draw(topic_blended(min_max(_finite(info)), topics, c=self.c), k, rng)

        return blended

    def __call__(self, info: Floats, k: int, rng: np.random.Generator) -> Ints:
        """Draw where nothing is known of topics: all prompts have the same."""
        return self.among([""] * len(info))(info, k, rng)


def topic_blended(weights: Floats, topics: Sequence[str], *, c: float = 0.25) -> Floats:
    """Return (1 - c) w + c / freq for `draw`, freq the number of prompts with the same topic.

    Both terms lie in [0, 1] where `weights` are min-max normalised, (P,) -> (P,).

    >>> topic_blended(np.array([1.0, 0.0, 0.5]), ["a", "a", "b"], c=0.5).tolist()
    [0.75, 0.25, 0.75]
    """
    frequency = Counter(topics)
    rarity = np.array([1 / frequency[topic] for topic in topics])
    blended: Floats = (1 - c) * weights + c * rarity
    return blended


SAMPLERS: Mapping[str, Sampler] = MappingProxyType(
    {
        "weighted": weighted,
        "greedy": greedy,
        "stratified": stratified,
        "rank": rank,
        "topic_blended": TopicBlended(),
        "uniform": uniform,
    }
)
"""Every sampler by name; `bins` and `beta` are set with `functools.partial`."""


def _ranked(info: Floats, rng: np.random.Generator) -> Ints:
    """Return the indices from the most to the least informative, without NaN."""
    order = np.lexsort((rng.random(len(info)), -_finite(info)))
    return order[~np.isnan(info[order])]


def _finite(info: Floats) -> Floats:
    if np.any(np.isinf(info)):
        raise ValueError(f"informativeness is infinite at {np.flatnonzero(np.isinf(info))}")
    return info
