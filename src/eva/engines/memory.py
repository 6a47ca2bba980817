"""How much memory a policy will take, from its config.json alone.

Parameters are counted on a model without storage, so they are exact for every architecture.
Activations are a formula that fits Llama-like blocks and errs on the high side. What Python and
the libraries take themselves, about 0.5 GB, is not in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from eva.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a model's architecture decides about memory; tied weights count once."""

    parameters: int
    linears: tuple[tuple[int, int], ...]
    """Inputs and outputs of every linear layer but the output layer: what LoRA adapts."""
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    eager: bool
    """Whether attention weights are written out, as soft-capped attention needs."""

    @property
    def cache_numbers(self) -> int:
        """Numbers that the key-value cache holds per token."""
        return 2 * self.layers * self.kv_heads * self.head_dim

    def activation_numbers(self, longest: int, *, checkpointing: bool) -> int:
        """Return the numbers kept per token for the backward pass, `longest` tokens a sequence.

        Counted with saved-tensor hooks, a layer keeps 6 hidden + 4 intermediate + 2 query + 2 key
        sizes in Llama, more norms in Qwen 3 and Gemma 2; this covers all three.
        """
        query, key = self.heads * self.head_dim, self.kv_heads * self.head_dim
        layer = 8 * self.hidden + 4 * self.intermediate + 4 * (query + key)
        layer += 2 * self.heads * longest if self.eager else 0
        return self.layers * self.hidden + layer if checkpointing else self.layers * layer


@dataclass(frozen=True, slots=True)
class Workload:
    """What is done with the policy; dtypes by their torch names."""

    train_tokens: int
    """Tokens of a training micro-batch, padding included."""
    longest: int
    """Tokens of the longest prompt with its response."""
    answer_tokens: int
    """Tokens that the cache holds while answering."""
    answer_rows: int
    """Responses that are decoded at a time."""
    logit_rows: int = 1024
    """Tokens whose logits are computed at a time in training."""
    weights: str = "float32"
    compute: str = "float32"
    """Of the activations in training."""
    answering: str = "float32"
    """Of the weights while answering; a copy is made where it differs from `weights`."""
    lora_rank: int | None = None
    """None trains all weights."""
    moments: int = 2
    """Numbers that the optimiser keeps per trained parameter: 2 for AdamW, 1 for RMSProp."""
    checkpointing: bool = False


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes by use."""

    weights: int
    gradients: int
    optimiser: int
    activations: int
    train_logits: int
    answering_copy: int
    cache: int
    answer_logits: int

    @property
    def training(self) -> int:
        """Bytes in use at the height of a training step."""
        resident = self.weights + self.optimiser + self.gradients
        return resident + self.activations + self.train_logits

    @property
    def answering(self) -> int:
        """Bytes in use while answering; the optimiser's state stays where it is."""
        resident = self.weights + self.optimiser + self.answering_copy
        return resident + self.cache + self.answer_logits

    @property
    def peak(self) -> int:
        """Bytes in use at the height of a round."""
        return max(self.training, self.answering)


def read_shape(source: str, *, trust_remote_code: bool = False) -> Shape:
    """Read a model's shape from its config; no weight is loaded and none allocated.

    Raises:
        ConfigError: the config is missing, or is not that of a causal language model.
    """
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=trust_remote_code)
        with torch.device("meta"):
            built: Any = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
                config, trust_remote_code=trust_remote_code
            )
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ConfigError(
            f"model {source!r}: its config cannot be read as a causal language model's ({reason})"
        ) from error
    text = config.get_text_config(decoder=True)
    heads = text.num_attention_heads
    head = built.get_output_embeddings()
    linears = (m for m in built.modules() if isinstance(m, nn.Linear) and m is not head)
    return Shape(
        parameters=sum(p.numel() for p in built.parameters()),
        linears=tuple((m.in_features, m.out_features) for m in linears),
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        intermediate=getattr(text, "intermediate_size", None) or 4 * text.hidden_size,
        heads=heads,
        kv_heads=getattr(text, "num_key_value_heads", None) or heads,
        head_dim=getattr(text, "head_dim", None) or text.hidden_size // heads,
        vocabulary=text.vocab_size,
        eager=built.config._attn_implementation == "eager",
    )


def estimate(shape: Shape, work: Workload) -> Memory:
    """Estimate the bytes that a round takes.

    Optimiser and gradients are in the weights' dtype, adapters in float32; logits in float32,
    with their gradient in training and their scaled copy in sampling.
    """
    weight = _bytes(work.weights)
    trained, each = shape.parameters, weight
    if work.lora_rank is not None:
        trained, each = sum(work.lora_rank * (i + o) for i, o in shape.linears), 4
    adapters = 0 if work.lora_rank is None else trained * each
    merged = sum(i * o for i, o in shape.linears) if work.lora_rank is not None else 0
    copied = shape.parameters if work.answering != work.weights else merged
    kept = shape.activation_numbers(work.longest, checkpointing=work.checkpointing)
    return Memory(
        weights=shape.parameters * weight + adapters,
        gradients=trained * each,
        optimiser=trained * each * work.moments,
        activations=work.train_tokens * kept * _bytes(work.compute),
        train_logits=2 * 4 * min(work.logit_rows, work.train_tokens) * shape.vocabulary,
        answering_copy=copied * _bytes(work.answering),
        cache=work.answer_tokens * shape.cache_numbers * _bytes(work.answering),
        answer_logits=2 * 4 * work.answer_rows * shape.vocabulary,
    )


def _bytes(dtype: str) -> int:
    return cast("torch.dtype", getattr(torch, dtype)).itemsize
