"""Arithmetic on ragged per-token values that is the same for a sequence in any batch.

Torch is imported inside the functions, so that the objectives can be listed without it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from eva.types import Ragged

if TYPE_CHECKING:
    from torch import Tensor


def sums(ragged: Ragged) -> Tensor:
    """Return the sum of each sequence, (sum of T,) -> (B,).

    Each sequence is summed by itself: a padded or segmented sum would make the last bits of one
    depend on the lengths of the others.
    """
    import torch

    return torch.stack([piece.sum() for piece in torch.split(ragged.values, list(ragged.lengths))])


def means(ragged: Ragged) -> Tensor:
    """Return the mean per token of each sequence, (sum of T,) -> (B,); NaN for an empty one."""
    return sums(ragged) / ragged.values.new_tensor(ragged.lengths)


def log_sigmoid(x: Tensor) -> Tensor:
    """Return log(1 / (1 + exp(-x))), exact in both tails."""
    from torch.nn.functional import logsigmoid

    return logsigmoid(x)


def log1mexp(x: Tensor) -> Tensor:
    """Return log(1 - exp(x)) for x <= 0, with finite value and gradient at 0.

    Two formulas meet at -log 2 (Maechler 2012, "Accurately computing log(1 - exp(-|a|))"). Each is
    fed only numbers it can differentiate, because the gradient of `where` is NaN as soon as the
    branch not taken has an infinite one. A log-prob of exactly 0 counts as one rounding step below.
    """
    import torch

    x = x.clamp(max=-torch.finfo(x.dtype).eps)
    near = x > -math.log(2)
    small = (-torch.where(near, x, -1.0).expm1()).log()
    large = (-torch.where(near, -1.0, x).exp()).log1p()
    return torch.where(near, small, large)
