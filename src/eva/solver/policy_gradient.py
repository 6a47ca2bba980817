"""Clipped policy gradients as pure functions of per-token log-probs: RLOO, GRPO, GSPO, REINFORCE.

Notation: y_t are the tokens of a response of length T, A its advantage, and

    r_t = pi(y_t) / pi_old(y_t)     pi_old is the policy that the batch's updates began with
    S(r) = min(r A, clip(r, 1 - clip_low, 1 + clip_high) A)         (arXiv:1707.06347, eq. 7)
    w_t = min(pi_old(y_t) / pi_sampler(y_t), cap)                   (arXiv:1802.01561, sec. 4.1)

The clip bounds how far the updates of one batch move the policy. The weight w corrects for a
sampler that is not the trainer: a server, or a copy in another type. It is a number, not a path
of the gradient.

Departures from the papers:
- With one update per batch r is 1, so S has the gradient of A log pi: REINFORCE's and RLOO's
  (arXiv:2402.14740), which write it so and do not clip.
- The sampler's recorded log-probs are at temperature 1 and without top-p, whatever it sampled at:
  w corrects for other arithmetic and older weights, not for another temperature.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from eva.errors import ConfigError, SolverError, unknown_name
from eva.solver.objectives import Columns, Reduction, Slots
from eva.solver.ragged import means, sums
from eva.types import Loss, Ragged

if TYPE_CHECKING:
    from torch import Tensor

    from eva.protocols import Objective

Level: TypeAlias = Literal["token", "sequence", "sequence_sum"]
Correction: TypeAlias = Literal["none", "token", "sequence"]
CORRECTIONS: tuple[Correction, ...] = ("none", "token", "sequence")

LEVELS: Mapping[str, Callable[[Ragged], Tensor] | None] = {
    "token": None,
    "sequence": means,
    "sequence_sum": sums,
}
"""What makes one log-ratio of a response's; None leaves each token its own."""


def policy_gradient(
    policy: Slots,
    reference: Slots | None,
    columns: Columns,
    *,
    level: Level = "token",
    reduction: Reduction = "mean",
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    kl: float = 0.0,
    correction: Correction = "none",
    cap: float = 2.0,
) -> Loss:
    """- reduce_t [w_t S(r_t)] + kl reduce_t [pi_ref/pi - log(pi_ref/pi) - 1].

    `level` says what is clipped: `token`, each r_t (arXiv:2402.03300, eq. 3); `sequence`, the
    geometric mean of the r_t (GSPO, arXiv:2507.18071); `sequence_sum`, their product, as RLOO in
    TRL. `reduction` is the `mean` over a response's tokens, or their `sum`, for a `normaliser` that
    counts tokens (arXiv:2503.14476) or is constant (arXiv:2503.20783). With `sequence_sum` a
    response has one S, whatever the reduction, and its KL is summed.

    The KL term is the estimator of arXiv:2402.03300, eq. 4, per token. `correction` multiplies by
    w_t, or for a `sequence` by the product of the ratios, capped once.

    Metrics are means per token of each response: `ratio`; `clipped`, the share that the clip cuts
    off (of responses, above the level of tokens); `weight`; `kl`, of the estimator; `sampler_kl`
    and `sampler_kl_k3`, of the sampler from pi_old, where `sampled` is given.

    Reads the column `advantage`; of the tokens `old`, log pi_old, where absent the policy's own
    value, so r = 1 with its gradient; and, with a correction, `sampled`, log pi_sampler.

    Raises:
        SolverError: the examples lack what is read.
    """
    new, advantage = _only(policy), _advantage(columns)
    old, sampled = (_tokens(columns, name, new) for name in ("old", "sampled"))
    old = new.values.detach() if old is None else old
    log_ratio = Ragged(new.values - old, new.lengths)
    drift = None if sampled is None else Ragged(old - sampled, new.lengths)
    weight = _weight(drift, new, correction=correction, cap=cap)
    bounds = {"low": 1 - clip_low, "high": 1 + clip_high}
    reduce = sums if reduction == "sum" else means
    over = LEVELS[level]
    if over is None:
        spread = _spread(advantage, new.lengths)
        surrogate, clipped = _clipped(log_ratio.values, spread, **bounds)
        values = -reduce(Ragged(surrogate * weight.values, new.lengths))
        clipped = means(Ragged(clipped, new.lengths))
    else:
        surrogate, clipped = _clipped(over(log_ratio), advantage, **bounds)
        values = -surrogate * (means if level == "sequence_sum" else reduce)(weight)
    metrics = {"clipped": clipped} | _metrics(log_ratio, drift)
    if correction != "none":
        metrics["weight"] = means(weight)
    if reference is not None:
        divergence = _k3(Ragged(_only(reference).values - new.values, new.lengths))
        metrics["kl"] = means(divergence).detach()
        if kl:
            values = values + kl * (sums if level == "sequence_sum" else reduce)(divergence)
    elif kl:
        raise SolverError(
            f"kl = {kl} compares with a reference policy, and the examples carry none: attach "
            "'base' with eva.solver.reference, or set kl = 0"
        )
    return Loss(values, metrics)


DEFAULTS: Mapping[str, Any] = {
    p.name: p.default
    for p in inspect.signature(policy_gradient).parameters.values()
    if p.kind is p.KEYWORD_ONLY
}
"""The hyper-parameters of `policy_gradient`."""


def make_policy_gradient(**hyper: Any) -> Objective:
    """Return `policy_gradient` with its hyper-parameters set.

    Raises:
        ConfigError: no such hyper-parameter, or a value that makes no loss.
    """
    names = {"level": LEVELS, "reduction": ("sum", "mean"), "correction": CORRECTIONS}
    for key, value in hyper.items():
        if key not in DEFAULTS:
            raise ConfigError(unknown_name("hyper-parameter of a policy gradient", key, DEFAULTS))
        if key in names:
            if value not in names[key]:
                raise ConfigError(unknown_name(key, str(value), names[key]))
            continue
        finite = isinstance(value, int | float) and math.isfinite(value)
        above = key != "kl"
        if not finite or value < 0 or (above and value == 0):
            expected = "a finite number above 0" if above else "a finite number of at least 0"
            raise ConfigError(f"policy gradient: {key} = {value!r}, expected {expected}")
    chosen = {**DEFAULTS, **hyper}
    if chosen["level"] == "sequence_sum" and chosen["correction"] == "token":
        raise ConfigError(
            "correction = 'token' has no tokens to weigh with level = 'sequence_sum', which has "
            "one loss per response: take correction = 'sequence', or level = 'token'"
        )
    return partial(policy_gradient, **hyper)


def _clipped(
    log_ratio: Tensor, advantage: Tensor, *, low: float, high: float
) -> tuple[Tensor, Tensor]:
    """Return S, and where (1 or 0) the clip is what counts: there S has no gradient."""
    import torch

    ratio = log_ratio.detach().exp()
    beyond = ((ratio > high) & (advantage > 0)) | ((ratio < low) & (advantage < 0))
    bound = torch.where(advantage > 0, ratio.new_tensor(high), ratio.new_tensor(low))
    # A ratio that overflows has a gradient of 0 times infinity where it does not count.
    inside = log_ratio.masked_fill(beyond | (advantage == 0), 0.0).exp()
    return torch.where(beyond, bound, inside) * advantage, beyond.to(ratio.dtype)


def _weight(drift: Ragged | None, like: Ragged, *, correction: Correction, cap: float) -> Ragged:
    """Return w per token, without gradient, from log pi_old/pi_sampler; 1 without correction."""
    import torch

    if correction == "none":
        return Ragged(torch.ones_like(like.values), like.lengths)
    if drift is None:
        raise SolverError(
            f"correction = {correction!r} reads the sampler's log-probs, and the examples have no "
            "tokens 'sampled': take a sampler that records them, or correction = 'none'"
        )
    gap = drift.values if correction == "token" else _spread(sums(drift), drift.lengths)
    return Ragged(gap.exp().clamp(max=cap), like.lengths)


def _spread(values_B: Tensor, lengths: tuple[int, ...]) -> Tensor:
    """Repeat each example's value for each of its tokens, (B,) -> (sum of T,)."""
    import torch

    counts = torch.tensor(lengths, device=values_B.device)
    return torch.repeat_interleave(values_B, counts, output_size=sum(lengths))


def _metrics(log_ratio: Ragged, drift: Ragged | None) -> dict[str, Tensor]:
    """Return means per token: of r, and two estimates of KL(sampler || old) where it is known.

    The plain one is unbiased and may be negative; `_k3` varies less.
    """
    found = {"ratio": means(Ragged(log_ratio.values.detach().exp(), log_ratio.lengths))}
    if drift is not None:
        found["sampler_kl"] = -means(drift)
        found["sampler_kl_k3"] = means(_k3(drift))
    return found


def _k3(log_ratio: Ragged) -> Ragged:
    """Return x - 1 - log x per token, of log x."""
    return Ragged(log_ratio.values.expm1() - log_ratio.values, log_ratio.lengths)


def _only(slots: Slots) -> Ragged:
    if len(slots) != 1:
        raise SolverError(
            f"a policy gradient got {len(slots)} completions per example, expected one: build the "
            "examples with eva.solver.online"
        )
    return slots[0]


def _advantage(columns: Columns) -> Tensor:
    column = columns.get("advantage")
    if column is None or isinstance(column, Ragged):
        have = ", ".join(sorted(columns)) or "none"
        raise SolverError(
            "a policy gradient reads the column 'advantage', one number per example, and the "
            f"examples have: {have}; build them with eva.solver.online"
        )
    return column


def _tokens(columns: Columns, name: str, like: Ragged) -> Tensor | None:
    column = columns.get(name)
    if column is None:
        return None
    if not isinstance(column, Ragged) or column.lengths != like.lengths:
        got = f"lengths {column.lengths}" if isinstance(column, Ragged) else "one per example"
        raise SolverError(
            f"a policy gradient reads {name!r} for every token of a completion, and got {got} for "
            f"completions of lengths {like.lengths}: put it into the examples' tokens"
        )
    return column.values
