"""The decoder blocks of a language model: the units of sharding and of recomputation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from torch import nn
from torch.utils.checkpoint import checkpoint

from eva.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def blocks(model: PreTrainedModel) -> list[nn.Module]:
    """Return the decoder blocks, first to last; of a model that is not sharded yet.

    Raises:
        ConfigError: the model does not say which its blocks are.
    """
    names = set(model._no_split_modules or ())
    found = [module for module in model.modules() if type(module).__name__ in names]
    if not found:
        raise ConfigError(
            f"model {model.config.model_type!r}: it does not name its blocks, so neither "
            "gradient checkpointing nor fsdp2 can be used with it"
        )
    return found


@contextmanager
def recomputing(modules: list[nn.Module]) -> Iterator[None]:
    """Keep only the inputs of these modules for the backward pass, which computes the rest again.

    The model's own switch is not used: it needs training mode and turns its cache off for good.
    """
    try:
        for module in modules:
            vars(module)["forward"] = partial(checkpoint, module.forward, use_reentrant=False)
        yield
    finally:
        for module in modules:
            del vars(module)["forward"]
