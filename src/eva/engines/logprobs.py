"""Per-token log-probs of completions; a batch of logits never sits whole in memory.

Hidden states of the predicting positions go through the output layer and the log-softmax a chunk
of tokens at a time. What is kept for the backward pass is O(tokens x hidden), not
O(tokens x vocabulary): where the output layer is frozen (LoRA) the gradient to the hidden states,
ready made, so that nothing is computed twice; else the hidden states, and the logits are computed
again chunk by chunk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from eva.engines.batching import Batch, hidden_states
from eva.engines.products import wide_linear
from eva.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Factors on the logits by their names in configs, with the exponent that they enter with:
# Cohere, Falcon-H1, Granite.
_SCALES = {"logit_scale": 1, "lm_head_multiplier": 1, "logits_scaling": -1}


@dataclass(frozen=True, slots=True)
class Head:
    """What makes logits of hidden states: `cap * tanh(scale * linear(hidden) / cap)`."""

    linear: nn.Linear
    scale: float = 1.0
    cap: float | None = None
    """Soft cap of the logits (Gemma 2: 30), or None."""


@dataclass(frozen=True, slots=True)
class _Form:
    scale: float
    cap: float | None
    chunk: int
    compute: torch.dtype


def head_of(model: PreTrainedModel) -> Head:
    """Return the output layer of a causal language model with what its config does to the logits.

    Raises:
        ConfigError: the output layer is not a linear layer.
    """
    linear = cast(Any, model).get_output_embeddings()
    if not isinstance(linear, nn.Linear):
        raise ConfigError(
            f"model {model.config.model_type!r}: the local engine needs a linear output layer, "
            f"got {type(linear).__name__}"
        )
    config = model.config.get_text_config().to_dict()
    scale = 1.0
    for name, exponent in _SCALES.items():
        scale *= float(config.get(name) or 1.0) ** exponent
    return Head(linear, scale, config.get("final_logit_softcapping"))


def token_logprobs(hidden_T: Tensor, targets_T: Tensor, head: Head, *, chunk: int) -> Tensor:
    """Return `log softmax(head(hidden))[target]` of T tokens, in float32 or wider.

    Args:
        hidden_T: hidden states at the predicting positions, (T, hidden).
        targets_T: the predicted tokens, (T,).
        head: the output layer.
        chunk: tokens whose logits are in memory at once.
    """
    device = hidden_T.device.type
    mixed = torch.is_autocast_enabled(device)
    compute = torch.get_autocast_dtype(device) if mixed else head.linear.weight.dtype
    form = _Form(head.scale, head.cap, chunk, compute)
    weight, bias = head.linear.weight, head.linear.bias
    # Forward and backward cast by themselves: the backward pass runs outside of autocast.
    with torch.autocast(device, enabled=False):
        out = _Logprobs.apply(hidden_T, weight, bias, targets_T, form)  # type: ignore[no-untyped-call]
    return cast(Tensor, out)


class _Logprobs(torch.autograd.Function):
    """The chunked log-softmax with its gradient written out."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        """Take hidden states, weight, bias, targets and form; return log-probs, (T,)."""
        hidden, weight, bias, targets, form = inputs
        ctx.form, ctx.trained = form, ctx.needs_input_grad[1] or ctx.needs_input_grad[2]
        ready = ctx.needs_input_grad[0] and not ctx.trained
        cast_weight = weight.to(form.compute)
        logprobs, gradients = [], []
        for h, t in zip(
            torch.split(hidden, form.chunk), torch.split(targets, form.chunk), strict=True
        ):
            logits = _logits(h, cast_weight, bias, form=form)
            normaliser = logits.logsumexp(-1)
            logprobs.append(logits.gather(1, t[:, None])[:, 0] - normaliser)
            if ready:
                slope = _slope(logits, normaliser, t, form=form)
                gradients.append((slope.to(form.compute) @ cast_weight).to(hidden.dtype))
        if ready:
            ctx.save_for_backward(torch.cat(gradients))
        elif ctx.trained:
            ctx.save_for_backward(hidden, weight, bias, targets)
        return torch.cat(logprobs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of hidden states, weight and bias."""
        if not ctx.trained:
            (gradient,) = ctx.saved_tensors
            return gradient * grad[:, None].to(gradient.dtype), None, None, None, None
        return (*_recomputed(grad, ctx.saved_tensors, ctx.form), None, None)


def _recomputed(
    grad: Tensor, saved: tuple[Tensor, Tensor, Tensor | None, Tensor], form: _Form
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the gradients of hidden states, weight and bias, computing the logits again."""
    hidden, weight, bias, targets = saved
    cast_weight = weight.to(form.compute)
    grad_hidden, grad_weight = torch.empty_like(hidden), torch.zeros_like(weight)
    grad_bias = None if bias is None else torch.zeros_like(bias)
    for start in range(0, len(hidden), form.chunk):
        part = slice(start, start + form.chunk)
        h = hidden[part]
        logits = _logits(h, cast_weight, bias, form=form)
        slope = _slope(logits, logits.logsumexp(-1), targets[part], form=form)
        slope *= grad[part, None]
        if grad_bias is not None:
            grad_bias += slope.sum(0).to(grad_bias.dtype)
        slope = slope.to(form.compute)
        grad_hidden[part] = slope @ cast_weight
        if weight.dtype == form.compute:
            grad_weight.addmm_(slope.t(), h.to(form.compute))
        else:
            grad_weight += slope.t() @ h.to(form.compute)
    return grad_hidden, grad_weight, grad_bias


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, *, form: _Form) -> Tensor:
    """Return the logits, (chunk, vocabulary), in float32 or wider."""
    cast_bias = None if bias is None else bias.to(form.compute)
    logits = wide_linear(hidden.to(form.compute), weight, cast_bias)
    logits = logits.to(torch.promote_types(form.compute, torch.float32))
    if form.scale != 1.0:
        logits = logits * form.scale
    return logits if form.cap is None else torch.tanh(logits / form.cap) * form.cap


def _slope(logits: Tensor, normaliser: Tensor, targets: Tensor, *, form: _Form) -> Tensor:
    """Return d logprob / d linear(hidden), (chunk, vocabulary); overwrites `logits` if uncapped."""
    if form.cap is None:
        slope = logits.sub_(normaliser[:, None]).exp_().neg_()
    else:
        slope = -(logits - normaliser[:, None]).exp_()
    slope[torch.arange(len(targets), device=targets.device), targets] += 1.0
    if form.cap is not None:
        slope *= 1.0 - (logits / form.cap) ** 2
    return slope.mul_(form.scale) if form.scale != 1.0 else slope


class Scorer(nn.Module):
    """A language model that maps a batch of rows to the log-probs of its completion tokens.

    One module with one forward, so that sharding (FSDP2) sees the output layer used inside it.
    """

    def __init__(self, model: PreTrainedModel, *, chunk: int) -> None:
        super().__init__()
        self.model = model
        self.chunk = chunk

    def logprobs(self, batch: Batch) -> Tensor:
        """Return log-probs, (T,), in the order of `batch.targets`."""
        return cast(Tensor, self(batch))

    def forward(self, batch: Batch) -> Tensor:
        """Compute `logprobs`; by way of `__call__`, which sharding hooks into."""
        picked = hidden_states(self.model, batch)
        return token_logprobs(picked, batch.targets, head_of(self.model), chunk=self.chunk)


@torch.no_grad()
def check_head(model: PreTrainedModel) -> None:
    """Compare the log-probs made here with those of the model's own forward on a few tokens.

    Raises:
        ConfigError: they differ, so the model does something to its logits that is not known here.
    """
    ids = torch.arange(1, 6, device=model.device)[None]
    own = model(input_ids=ids, use_cache=False).logits[0].float().log_softmax(-1)
    hidden = model.base_model(input_ids=ids, use_cache=False)[0][0]
    expected = own[:-1].gather(1, ids[0, 1:, None])[:, 0]
    got = token_logprobs(hidden[:-1], ids[0, 1:], head_of(model), chunk=2).float()
    loose = torch.finfo(hidden.dtype).bits < 32
    if not torch.allclose(got, expected, atol=0.2 if loose else 1e-3, rtol=0.0):
        raise ConfigError(
            f"model {model.config.model_type!r}: its logits are not its output layer's, scaled "
            "and soft-capped as its config says, so the local engine cannot train it; log-probs "
            f"of a probe are {expected.tolist()}, ours {got.tolist()}"
        )
