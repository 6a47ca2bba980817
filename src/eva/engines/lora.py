"""Low-rank adapters on the linear layers of a policy, through peft.

The base weights are never written, not even to merge: sampling and export take a plain copy of the
model that shares every tensor the adapter leaves alone and has new ones where it does not. So the
base policy is the adapter switched off, bit for bit.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import Linear as LoraLinear
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.nn import functional

from eva.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ADAPTER = "default"


@dataclass(frozen=True, slots=True)
class LoraSettings:
    """What an adapter is made of; there is no dropout, so that log-probs are reproducible."""

    rank: int = 16
    alpha: int = 32
    """The update is scaled by alpha / rank."""
    targets: tuple[str, ...] = ()
    """Names of the linear layers (`q_proj`, ...); empty means all of them in the blocks."""
    seed: int = 0
    """Of the random first factor; the second starts at zero."""

    def config(self) -> LoraConfig:
        """Return the same as peft says it."""
        return LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=0.0,
            target_modules=list(self.targets) or "all-linear",
            task_type="CAUSAL_LM",
        )


class _Adapted(LoraLinear):
    """peft's layer, which adds the update as it multiplies: no pass over it to scale or to add it.

    These passes, and those of their gradients, took a fifth of an update on a CPU.
    """

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Return the base layer's outputs and the scaled update."""
        first, second = (getattr(self, name)[ADAPTER].weight for name in ("lora_A", "lora_B"))
        mixed = torch.is_autocast_enabled(x.device.type) or x.dtype != first.dtype
        if self.disable_adapters or self.merged or mixed or args or kwargs:
            return super().forward(x, *args, **kwargs)
        flat = x.reshape(-1, x.shape[-1])
        base = self.base_layer(flat)
        inner = functional.linear(flat, first)
        out = torch.addmm(base, inner, second.t(), alpha=self.scaling[ADAPTER])
        return out.reshape(*x.shape[:-1], -1)


def attach(model: PreTrainedModel, settings: LoraSettings) -> LoraConfig:
    """Add an adapter to the model in place and freeze everything else; return peft's config.

    The global random state is left as it was.

    Raises:
        ConfigError: a target is no linear layer of the blocks, or there is an adapter already.
    """
    if any(True for _ in _layers(model)):
        raise ConfigError("the model carries an adapter already; merge or unload it first")
    head = cast(Any, model).get_output_embeddings()
    linear = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and m is not head]
    for target in settings.targets:
        if not any(f".{name}".endswith(f".{target}") for name in linear):
            known = {name.rpartition(".")[2] for name in linear}
            raise ConfigError(
                f"{unknown_name('lora target', target, known)} of this model's blocks"
            )
    model.requires_grad_(False)
    config = settings.config()
    with torch.random.fork_rng(devices=[]):
        # peft draws on the CPU, wherever the model lies; `torch.manual_seed` would reseed GPUs too.
        torch.default_generator.manual_seed(settings.seed)
        inject_adapter_in_model(config, model, adapter_name=ADAPTER)
    # peft makes its layers in training mode.
    model.train(model.training)
    odd = [name for name, layer in _layers(model) if not isinstance(layer, LoraLinear)]
    if odd:
        raise ConfigError(
            f"lora: {odd[0]} is {type(model.get_submodule(odd[0])).__name__}, and only linear "
            "layers can be adapted; name the linear ones as targets"
        )
    for _, layer in _layers(model):
        layer.__class__ = _Adapted
    # a set has another order in every process, and the file of a checkpoint would have it too
    config.target_modules = sorted(config.target_modules or ())
    return config


@contextmanager
def disabled(model: nn.Module) -> Iterator[None]:
    """Switch the adapter off for a while: the model is then the base policy."""
    layers = [layer for _, layer in _layers(model)]
    try:
        for layer in layers:
            layer.enable_adapters(False)
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


@torch.no_grad()
def plain_copy(model: PreTrainedModel, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """Return a copy without adapter layers, merged, that shares every unchanged tensor.

    With `dtype` its floating-point parameters are in that type. It takes no gradient.
    """

    def part(tensor: Tensor) -> nn.Parameter:
        kind = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
        return nn.Parameter(tensor.detach().to(kind), requires_grad=False)

    # What `deepcopy` finds in its memo it takes instead of copying.
    memo: dict[int, object] = {}
    for _, layer in _layers(model):
        base = layer.get_base_layer()
        plain = copy.deepcopy(base, {id(p): part(p) for p in base.parameters()})
        weight = cast(Tensor, base.weight)
        plain.weight = part(weight + layer.get_delta_weight(ADAPTER).to(weight.dtype))
        memo[id(layer)] = plain
    adapted = {id(p) for _, layer in _layers(model) for p in layer.parameters()}
    memo |= {id(p): part(p) for p in model.parameters() if id(p) not in adapted}
    plain_model = copy.deepcopy(model, memo)
    for name in ("peft_config", "_hf_peft_config_loaded"):
        vars(plain_model).pop(name, None)
    return plain_model


def adapter_names(model: nn.Module) -> dict[str, str]:
    """Map the adapter's parameter names to those that peft gives them in a file."""
    names = [name for name, _ in model.named_parameters() if f".{ADAPTER}." in name]
    return {name: f"base_model.model.{name.replace(f'.{ADAPTER}', '')}" for name in names}


def _layers(model: nn.Module) -> Iterator[tuple[str, LoraLinear]]:
    for name, module in model.named_modules():
        if isinstance(module, BaseTunerLayer):
            yield name, cast(LoraLinear, module)
