"""Pairs: from the scored responses of a prompt to one chosen and one rejected response.

Departures from the paper (arXiv:2411.00062, Algorithm 1, line 8):
- A tie is never a pair. The published code keeps pairs with equal rewards, whose gradient is noise.
- A response cut off by the token limit is not chosen: it would teach the solver never to stop.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from eva.errors import ConfigError, SolverError
from eva.rng import Streams
from eva.types import Example, Floats, Pairing, ScoredGroup

Cause: TypeAlias = Literal[
    "no_responses",
    "too_few_scored",
    "no_tokens",
    "truncated",
    "no_contrast",
    "small_margin",
    "identical",
]
"""Why a group gives no pair, in the order in which they are looked for; see docs/solver.md."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSettings:
    """How pairs are chosen. The chosen response is always the best one allowed."""

    rejected: Literal["worst", "random"] = "worst"
    """The rejected response: the worst, or any that is worse, drawn uniformly."""
    margin: float = 0.0
    """The rewards differ by more than this, in reward units; so never by 0."""
    truncated_chosen: bool = False
    """Whether a truncated response may be the chosen one."""
    reward_scale: float = 1.0
    """Reward units that make a logit when win probabilities are computed from rewards."""

    def __post_init__(self) -> None:
        if self.rejected not in ("worst", "random"):
            raise ConfigError(f"rejected = {self.rejected!r}, expected 'worst' or 'random'")
        if not (math.isfinite(self.margin) and self.margin >= 0):
            raise ConfigError(f"margin = {self.margin}, expected a finite number of at least 0")
        if not (math.isfinite(self.reward_scale) and self.reward_scale > 0):
            raise ConfigError(f"reward_scale = {self.reward_scale}, expected a number above 0")


def make_pairs(
    groups: Sequence[ScoredGroup],
    *,
    settings: PairSettings,
    streams: Streams,
    wins: Sequence[Floats] | None = None,
) -> Pairing:
    """Make at most one pair per group, in their order; unscored responses take no part.

    The sampled token ids are used as they are: a truncated response gets no end token. The
    sampler's log-probs, where it recorded them, are the reference until another is attached.
    Columns of an example: `reward_*`, `win_*` (see `win_probabilities`) and `truncated_*` (0 or 1),
    each `_chosen` and `_rejected`. `wins`, from a pairwise reward model, holds one (G, G) matrix
    per group, P(row beats column); by default it is that of the group's own comparisons.

    Raises:
        SolverError: `wins` does not fit the groups.
    """
    if wins is not None and len(wins) != len(groups):
        raise SolverError(f"{len(wins)} win matrices for {len(groups)} groups, expected as many")
    examples: list[Example] = []
    skipped: Counter[str] = Counter()
    for index, group in enumerate(groups):
        pair = choose_pair(group, settings=settings, rng=streams.of(group.prompt.id))
        if isinstance(pair, str):
            skipped[pair] += 1
            continue
        own = group.compared.wins if group.compared else None
        matrix = own if wins is None else wins[index]
        win_G = win_probabilities(group.rewards, scale=settings.reward_scale, matrix=matrix)
        examples.append(_example(group, pair, win_G))
    return Pairing(tuple(examples), dict(skipped), pair_figures(examples))


def pair_figures(examples: Sequence[Example]) -> dict[str, float]:
    """Return means over pairs, by the names of docs/solver.md; nothing of no pairs."""
    if not examples:
        return {}
    lengths = np.array([[len(ids) for ids in example.completions] for example in examples])
    margins = [e.columns["reward_chosen"] - e.columns["reward_rejected"] for e in examples]
    truncated = [example.columns["truncated_rejected"] for example in examples]
    return {
        "reward_margin": float(np.mean(margins)),
        "length_chosen": float(lengths[:, 0].mean()),
        "length_rejected": float(lengths[:, 1].mean()),
        "truncated_rejected": float(np.mean(truncated)),
    }


def choose_pair(
    group: ScoredGroup, *, settings: PairSettings, rng: np.random.Generator
) -> tuple[int, int] | Cause:
    """Return the indices of the chosen and the rejected response, or why there is no pair.

    Of equally good or equally bad responses the first is taken: samples are exchangeable, so any
    fixed choice is as good as a draw, and none prefers short ones.
    """
    responses = group.group.responses
    rewards = {i: r for i, r in enumerate(group.rewards) if r is not None}
    if len(rewards) < 2:
        return "too_few_scored" if responses else "no_responses"
    if group.group.prompt_ids:
        rewards = {i: r for i, r in rewards.items() if responses[i].token_ids}
    if len(rewards) < 2 or not group.group.prompt_ids:
        return "no_tokens"
    if max(rewards.values()) == min(rewards.values()):
        return "no_contrast"
    allowed = [i for i in rewards if settings.truncated_chosen or not responses[i].truncated]
    best = max(allowed, key=rewards.__getitem__, default=None)
    if best is None or rewards[best] == min(rewards.values()):
        return "truncated"
    worse = [i for i, r in rewards.items() if rewards[best] - r > settings.margin]
    if not worse:
        return "small_margin"
    worse = [i for i in worse if responses[i].token_ids != responses[best].token_ids]
    if not worse:
        return "identical"
    if settings.rejected == "random":
        return best, worse[int(rng.integers(len(worse)))]
    return best, min(worse, key=rewards.__getitem__)


def win_probabilities(
    rewards: Sequence[float | None], *, scale: float = 1.0, matrix: Floats | None = None
) -> Floats:
    """Return each response's mean probability to beat its group's scored samples, (G,) -> (G,).

    A response plays against itself too and wins half, as in SPPO (arXiv:2405.00675). Pointwise
    rewards make a Bradley-Terry model: P(i beats j) = 1 / (1 + exp(-(r_i - r_j) / scale)). A
    `matrix` (G, G) of a pairwise reward model is used as given, its diagonal and what concerns
    unscored responses aside; NaN in it is a pair that was not judged, and the mean is over the
    others. NaN for an unscored response.

    >>> win_probabilities([1.0, None, 1.0])
    array([0.5, nan, 0.5])

    Raises:
        SolverError: the matrix is not (G, G), or holds no probability where one is needed.
    """
    reward_G = np.array([math.nan if r is None else r for r in rewards], dtype=np.float64)
    scored_G = ~np.isnan(reward_G)
    if matrix is None:
        logits = (reward_G[:, None] - reward_G[None, :]) / scale
        # tanh does not overflow where exp would
        beats = 0.5 * (1 + np.tanh(logits / 2))
    else:
        beats = np.array(matrix, dtype=np.float64)
        if beats.shape != (len(rewards), len(rewards)):
            want = f"({len(rewards)}, {len(rewards)})"
            raise SolverError(f"a win matrix has shape {beats.shape}, expected {want}")
        np.fill_diagonal(beats, 0.5)
        needed = beats[np.ix_(scored_G, scored_G)]
        lonely = len(needed) > 1 and (np.isnan(needed).sum(axis=1) == len(needed) - 1).any()
        if lonely or ((needed < 0) | (needed > 1)).any():
            raise SolverError(
                "a win matrix holds a number outside 0 to 1 for scored responses, or none for one"
            )
    wins_G = np.full(len(rewards), math.nan)
    if scored_G.any():
        wins_G[scored_G] = np.nanmean(beats[np.ix_(scored_G, scored_G)], axis=1)
    return wins_G


def _example(group: ScoredGroup, pair: tuple[int, int], win_G: Floats) -> Example:
    columns: dict[str, float] = {}
    for slot, index in zip(("chosen", "rejected"), pair, strict=True):
        reward = group.rewards[index]
        assert reward is not None
        columns[f"reward_{slot}"] = reward
        columns[f"win_{slot}"] = float(win_G[index])
        columns[f"truncated_{slot}"] = float(group.group.responses[index].truncated)
    responses = [group.group.responses[index] for index in pair]
    recorded = all(len(one.logprobs) == len(one.token_ids) for one in responses)
    return Example(
        group.prompt.id,
        group.group.prompt_ids,
        completions=tuple(one.token_ids for one in responses),
        columns=columns,
        reference=tuple(one.logprobs for one in responses) if recorded else None,
    )
