"""Training by several processes that a launcher (torchrun) has started.

Every process calls the engine with the same examples and gets the same results. Inside, each works
on its share: gradients and metrics are summed over the processes, log-probs gathered in order, and
the first process alone writes. Two strategies:

    ddp      every process holds the whole policy; one all-reduce of the gradient per update
    fsdp2    parameters, gradients and optimiser state are sharded by block
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from eva.engines.blocks import blocks
from eva.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eva.engines.logprobs import Scorer

STRATEGIES = ("ddp", "fsdp2")
_BUCKET = 1 << 24  # Elements of a gradient that are reduced at once: 64 MB in float32.
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ranks:
    """The processes that train together, seen from one of them; alone by default."""

    rank: int = 0
    world: int = 1
    strategy: str = "ddp"

    @property
    def sharded(self) -> bool:
        """Whether parameters are shards."""
        return self.world > 1 and self.strategy == "fsdp2"

    def sum(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return the sums over the processes; one without work may name no values."""
        parts = self.gather({self.rank: dict(values)})
        names = {name: None for rank in range(self.world) for name in parts[rank]}
        return {
            name: sum(parts[rank].get(name, 0.0) for rank in range(self.world)) for name in names
        }

    def gather(self, items: Mapping[int, T]) -> dict[int, T]:
        """Return the union of what the processes hold."""
        if self.world == 1:
            return dict(items)
        parts: list[Mapping[int, T]] = [{} for _ in range(self.world)]
        dist.all_gather_object(parts, dict(items))
        return {key: value for part in parts for key, value in part.items()}

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum gradients over the processes; sharded ones are summed by the backward pass."""
        if self.world == 1 or self.strategy != "ddp":
            return
        trained = list(parameters)
        for parameter in trained:
            # A process without work has no gradient, but must take part.
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        for bucket in _buckets([p.grad for p in trained if p.grad is not None]):
            flat = torch.cat([gradient.flatten() for gradient in bucket])
            dist.all_reduce(flat)
            parts = torch.split(flat, [gradient.numel() for gradient in bucket])
            for gradient, part in zip(bucket, parts, strict=True):
                gradient.copy_(part.view_as(gradient))

    def wait(self) -> None:
        """Wait for the other processes."""
        if self.world > 1:
            dist.barrier()


def join(strategy: str = "ddp") -> Ranks:
    """Join the processes that the launcher has started; alone where there is no launcher.

    Raises:
        ConfigError: the strategy is not known.
    """
    if strategy not in STRATEGIES:
        raise ConfigError(unknown_name("strategy", strategy, STRATEGIES))
    if "RANK" not in os.environ:
        return Ranks(strategy=strategy)
    if not dist.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return Ranks(dist.get_rank(), dist.get_world_size(), strategy)


def shard(scorer: Scorer, *, compute: torch.dtype | None) -> None:
    """Shard a policy in place: each block a unit, the rest another.

    `compute` is the type that parameters are gathered in, None for their own.
    """
    precision = MixedPrecisionPolicy(
        param_dtype=compute, reduce_dtype=None if compute is None else torch.float32
    )
    for block in blocks(scorer.model):
        fully_shard(block, mp_policy=precision)
    # By default the outermost unit stays gathered after a forward, and would be stale after a load.
    fully_shard(scorer, mp_policy=precision, reshard_after_forward=True)


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor with all its shards; every process must call it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def fit(tensor: Tensor, like: Tensor) -> Tensor:
    """Return a copy of a whole tensor with the type, device and shards of another."""
    if isinstance(like, DTensor):
        moved = tensor.to(like.device, like.dtype)
        return distribute_tensor(moved, like.device_mesh, like.placements)
    return tensor.to(like.device, like.dtype, copy=True)


def _buckets(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    buckets: list[list[Tensor]] = []
    filled = _BUCKET
    for tensor in tensors:
        if filled + tensor.numel() > _BUCKET:
            buckets.append([])
            filled = 0
        buckets[-1].append(tensor)
        filled += tensor.numel()
    return buckets
