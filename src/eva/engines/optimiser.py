"""The optimisers of the paper, on master weights of at least float32.

Parameters in half precision get a float32 copy that is updated and then rounded back: updates by
a small learning rate would be lost otherwise. Wider parameters are their own masters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from eva.errors import ConfigError, RunError, SolverError, unknown_name

Fit: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Brings a whole tensor, the first, into the form (device, shards) of the second."""


@dataclass(frozen=True, slots=True)
class OptimiserSettings:
    """Which optimiser; the learning rate comes with each step."""

    name: str = "adamw"
    """`adamw`, `rmsprop` (the paper's for SPPO) or `sgd`."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Of adamw."""
    smoothing: float = 0.99
    """Of rmsprop."""
    momentum: float = 0.0
    """Of rmsprop and sgd."""
    eps: float = 1e-8
    weight_decay: float = 0.0
    """Decoupled from the gradient, and of matrices alone: norms and biases never decay."""

    def __post_init__(self) -> None:
        if self.name not in OPTIMISERS:
            raise ConfigError(unknown_name("optimiser", self.name, OPTIMISERS))


def _adamw(masters: list[Tensor], s: OptimiserSettings) -> torch.optim.Optimizer:
    # Fused is one pass over the memory: 16 times as fast as the plain loop on a CPU. The others
    # have no fused form, or none for shards.
    return torch.optim.AdamW(
        masters, lr=0.0, betas=s.betas, eps=s.eps, weight_decay=0.0, fused=True
    )


def _rmsprop(masters: list[Tensor], s: OptimiserSettings) -> torch.optim.Optimizer:
    return torch.optim.RMSprop(
        masters, lr=0.0, alpha=s.smoothing, eps=s.eps, momentum=s.momentum, foreach=True
    )


def _sgd(masters: list[Tensor], s: OptimiserSettings) -> torch.optim.Optimizer:
    return torch.optim.SGD(masters, lr=0.0, momentum=s.momentum, foreach=True)


OPTIMISERS: Mapping[str, Callable[[list[Tensor], OptimiserSettings], torch.optim.Optimizer]] = {
    "adamw": _adamw,
    "rmsprop": _rmsprop,
    "sgd": _sgd,
}


class Optimiser:
    """Updates the trained parameters of a policy."""

    def __init__(self, trained: Mapping[str, nn.Parameter], settings: OptimiserSettings) -> None:
        self.settings = settings
        self._trained = dict(trained)
        self.masters: dict[str, Tensor] = {n: _master(p) for n, p in trained.items()}
        """The weights that are updated and saved, by parameter name."""
        self.reset()

    def reset(self) -> None:
        """Forget the moments: the next step is a first step."""
        self._inner = OPTIMISERS[self.settings.name](list(self.masters.values()), self.settings)

    def step(self, lr: float, clip: float | None) -> float:
        """Apply and clear the gradient, scaled down to norm `clip`; return its norm before.

        Raises:
            SolverError: there is no gradient, or it is not finite; it is cleared then.
        """
        norm = self.gradient_norm()
        if norm is None or not math.isfinite(norm):
            self.clear()
            raise SolverError(
                "step: there is no gradient; call forward_backward before it"
                if norm is None
                else f"step: the gradient's norm is {norm}; lower the learning rate, or look at "
                "the rewards and log-probs of the last batch"
            )
        shrink = 1.0 if clip is None else min(1.0, clip / (norm + 1e-6))
        for name, parameter in self._trained.items():
            master, gradient = self.masters[name], parameter.grad
            if gradient is None:
                continue
            master.grad = gradient.to(master.dtype)
            if shrink < 1.0:
                master.grad.mul_(shrink)
            if self.settings.weight_decay and master.ndim > 1:
                with torch.no_grad():
                    master.mul_(1.0 - lr * self.settings.weight_decay)
        for group in self._inner.param_groups:
            group["lr"] = lr
        self._inner.step()
        self.publish()
        self.clear()
        return norm

    def gradient_norm(self) -> float | None:
        """Return the norm of the whole gradient; None if there is none."""
        gradients = [p.grad for p in self._trained.values() if p.grad is not None]
        if not gradients:
            return None
        norm = torch.nn.utils.get_total_norm(gradients)
        return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)

    @torch.no_grad()
    def publish(self) -> None:
        """Round the masters into the parameters, where they are not the same tensors."""
        for name, parameter in self._trained.items():
            if self.masters[name] is not parameter:
                parameter.copy_(self.masters[name])

    def clear(self) -> None:
        """Drop the gradient."""
        for name, parameter in self._trained.items():
            parameter.grad = self.masters[name].grad = None

    def state(self) -> dict[str, Tensor]:
        """Return the moments and step counts as `moment.parameter -> tensor`."""
        state = self._inner.state
        return {
            f"{key}.{name}": value
            for name, master in self.masters.items()
            for key, value in state.get(master, {}).items()
            if isinstance(value, Tensor)
        }

    def restore(self, state: Mapping[str, Tensor], fit: Fit) -> None:
        """Take over what `state` returned.

        Raises:
            RunError: it is of other parameters.
        """
        self.reset()
        fused = bool(self._inner.defaults.get("fused"))
        for full, value in state.items():
            key, _, name = full.partition(".")
            if name not in self.masters:
                raise RunError(
                    f"optimiser state names parameter {name!r}, which is not trained here; load "
                    "it with the settings that it was saved with, or start it fresh"
                )
            master = self.masters[name]
            whole = value.shape == master.shape
            # A fused kernel wants its step count beside the weights, the other loops on the CPU.
            place = master.device if fused else value.device
            self._inner.state[master][key] = (
                fit(value, master) if whole else value.to(place, copy=True)
            )


def _master(parameter: nn.Parameter) -> Tensor:
    half = torch.finfo(parameter.dtype).bits < 32
    return parameter.detach().float() if half else parameter
