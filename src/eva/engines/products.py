"""The product of a wide output layer, by the library that is faster at it.

For float32 on a CPU torch takes MKL, which on AMD's reaches two thirds of the rate that oneDNN has
where there are far more outputs than inputs; torch carries both. Elsewhere they are alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_WIDE = 8192
"""Outputs from which on a layer is wide; narrower ones MKL multiplies as fast, or faster."""

_ONEDNN = torch.ops.mkldnn
"""Not a documented part of torch, so its absence means MKL."""


def wide_linear(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return `functional.linear`, but for rounding; by oneDNN where no gradient is asked for."""
    if torch.is_grad_enabled() or not _suits(inputs, weight):
        return functional.linear(inputs, weight, bias)
    flat = inputs.reshape(-1, inputs.shape[-1])
    out = _ONEDNN._linear_pointwise(flat, weight, bias, "none", [], "")
    return cast(Tensor, out).reshape(*inputs.shape[:-1], -1)


@contextmanager
def quick_head(model: PreTrainedModel) -> Iterator[None]:
    """Let a plain output layer of the model use `wide_linear`."""
    head = cast("nn.Module", model.get_output_embeddings())  # type: ignore[no-untyped-call]
    if type(head) is not nn.Linear or "forward" in vars(head):
        yield
        return
    vars(head)["forward"] = lambda inputs: wide_linear(inputs, head.weight, head.bias)
    try:
        yield
    finally:
        del vars(head)["forward"]


def _suits(inputs: Tensor, weight: Tensor) -> bool:
    plain = type(weight) in (Tensor, nn.Parameter) and inputs.numel() > 0
    alike = inputs.dtype == weight.dtype == torch.float32 and inputs.device.type == "cpu"
    return plain and alike and len(weight) >= _WIDE and hasattr(_ONEDNN, "_linear_pointwise")
