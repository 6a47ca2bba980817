"""One token per row from one uniform number per row, by inverting the distribution function.

A row's token depends on its logits and its own uniform alone, so the make-up of a batch changes
nothing. Nucleus sampling (arXiv:1904.09751, section 3.1): the smallest set of likeliest tokens
whose mass reaches `top_p`, renormalised.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from eva.errors import GenerationError
from eva.types import Finish, Floats, SamplingParams

Draws: TypeAlias = Callable[[int, int], Floats]
"""Gives a response's uniforms, (max_tokens,), for the index of its prompt and its own."""

_TIERS = (64, 1024, 4096)
"""Likeliest tokens looked at first: almost always enough, and 50 times cheaper than a full sort."""


class Sampled(NamedTuple):
    """The tokens of one response, (T,), and their log-probs at temperature 1, (T,)."""

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish: Finish


def finished(
    token_ids: Sequence[int], logprobs: Sequence[float], end_ids: frozenset[int]
) -> Sampled:
    """Return a response that ends here; only an end token, which it keeps, makes it a `stop`."""
    finish: Finish = "stop" if token_ids[-1] in end_ids else "length"
    return Sampled(tuple(token_ids), tuple(logprobs), finish)


def draw_checked(
    logits: Tensor, uniforms: Sequence[float], params: SamplingParams
) -> tuple[Tensor, Tensor]:
    """Draw one token per row of `logits`, (B, V), from one uniform each, (B,).

    Raises:
        GenerationError: a row's logits are not finite.
    """
    given = torch.tensor(uniforms, dtype=torch.float64, device=logits.device)
    tokens, logprobs = draw(logits, given, temperature=params.temperature, top_p=params.top_p)
    if not bool(logprobs.isfinite().all()):
        raise GenerationError(
            "the policy's logits are not finite; its weights have diverged (lower the learning "
            "rate) or its generation dtype is too narrow (use float32 or bfloat16)"
        )
    return tokens, logprobs


def draw(
    logits: Tensor, uniforms: Tensor, *, temperature: float, top_p: float
) -> tuple[Tensor, Tensor]:
    """Return a token per row, (B,), and its log-prob at temperature 1, (B,) float32.

    Args:
        logits: (B, V), any float dtype.
        uniforms: (B,) float64 in [0, 1); not looked at when `temperature` is 0.
        temperature: divides the logits before the draw; 0 takes the likeliest token.
        top_p: mass of the nucleus, in (0, 1].
    """
    logits = logits.float()
    total = logits.logsumexp(-1)
    if temperature == 0:
        tokens = logits.argmax(-1)
    elif temperature == 1:
        tokens = _invert(logits, total, uniforms, top_p=top_p)
    else:
        scores = logits / temperature
        tokens = _invert(scores, scores.logsumexp(-1), uniforms, top_p=top_p)
    chosen = logits.gather(-1, tokens[:, None])[:, 0]
    return tokens, chosen - total


def _invert(scores: Tensor, total: Tensor, uniforms: Tensor, *, top_p: float) -> Tensor:
    """Invert each row's distribution function, tokens in order of falling probability.

    `total` is the logarithm of each row's sum of `exp(scores)`, (B,).
    """
    tokens = torch.empty_like(uniforms, dtype=torch.long)
    rows = torch.arange(len(scores), device=scores.device)
    vocabulary = scores.shape[-1]
    for size in (*(tier for tier in _TIERS if tier < vocabulary), vocabulary):
        top = scores.topk(size)
        shares = (top.values - total[:, None]).double().exp()
        rank, known = _rank(shares, uniforms, top_p, whole=size == vocabulary)
        tokens[rows[known]] = top.indices.gather(-1, rank[:, None])[known, 0]
        if bool(known.all()):
            break
        rows, scores, total, uniforms = (x[~known] for x in (rows, scores, total, uniforms))
    return tokens


def _rank(shares: Tensor, uniforms: Tensor, top_p: float, *, whole: bool) -> tuple[Tensor, Tensor]:
    """Return the drawn rank of each row, and whether the ranks looked at suffice to know it.

    `shares` are the probabilities of the ranks looked at, (R, K); `whole` says that no token lies
    beyond them, so that what they lack of 1 is rounding. Where the nucleus ends beyond them, its
    mass exceeds `top_p` by less than the last of them: often that is enough to know the rank.
    """
    mass = shares.cumsum(-1)
    last = mass.shape[-1] - 1
    edge = torch.searchsorted(mass, torch.full_like(mass[:, :1], top_p))
    kept = mass.gather(-1, edge.clamp(max=last))
    ends = (edge <= last) | whole
    least = torch.where(ends, kept, top_p)
    most = torch.where(ends, kept, (top_p + shares[:, -1:]).clamp(max=1.0))
    bounds = torch.cat([least, most], dim=-1) * uniforms[:, None]
    low, high = torch.searchsorted(mass, bounds, right=True).unbind(-1)
    return low.clamp(max=last), ((low == high) & (low <= last)) | whole
