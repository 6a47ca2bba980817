"""The updates of an online step: minibatches, their order, and the learning rate of each.

The rate follows from the step, the run's steps and the place in the step alone, so a resumed run
goes on with the rates it would have had.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from eva.errors import ConfigError, SolverError
from eva.protocols import Engine, Objective
from eva.rng import Streams
from eva.solver.schedules import Schedule, check_rates, learning_rate
from eva.types import Example

Work: TypeAlias = Sequence[tuple[Sequence[Example], float]]
"""For every update its examples and the divisor of their summed values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateSettings:
    """How a step's batch becomes updates."""

    epochs: int = 1
    """Passes over the batch."""
    minibatch: int | None = None
    """Responses (pairs, for OAIF) per update; None takes the whole batch."""
    lr: float = 1e-6
    """Peak learning rate."""
    schedule: Schedule = "constant"
    """How the rate falls after warm-up, over all steps of the run."""
    warmup: float = 0.0
    """Below 1 a share of the run's updates, rounded up, else a number of updates."""
    clip: float | None = 1.0
    """Greatest norm of the gradient; None clips nothing."""
    seed: int = 0
    """Seed of the order of minibatches and of pairs drawn at random."""

    def __post_init__(self) -> None:
        for name in ("epochs", "minibatch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} = {value}, expected at least 1")
        check_rates(self.lr, clip=self.clip, warmup=self.warmup, schedule=self.schedule)

    def plan(self, size: int, *, step: int) -> tuple[tuple[int, ...], ...]:
        """Return the minibatches of a step as indices into its batch of `size`.

        They are shuffled anew in every epoch, and none spans two; the last may be smaller.
        """
        width = size if self.minibatch is None else min(self.minibatch, size)
        streams = Streams(self.seed, step, "online/order")
        batches: list[tuple[int, ...]] = []
        for epoch in range(self.epochs if size else 0):
            order = [int(i) for i in streams.of(epoch).permutation(size)]
            batches += [tuple(order[i : i + width]) for i in range(0, size, width)]
        return tuple(batches)


def descend(
    engine: Engine,
    work: Work,
    objective: Objective,
    *,
    updates: UpdateSettings,
    step: int,
    total: int,
) -> dict[str, float]:
    """Make the updates of a step; return their figures, means but for sums of what was done.

    The learning rate counts every update of the plan, also those that have no examples and are not
    made.

    Raises:
        SolverError: the loss or the gradient is not finite.
        ConfigError: `step` is not one of `total`.
    """
    if not 0 <= step < total:
        raise ConfigError(f"step {step} of {total}: expected 0 to {total - 1}; play fewer steps")
    seen: dict[str, list[float]] = {}
    tokens = 0
    for k, (examples, normaliser) in enumerate(work):
        if not examples:
            continue
        rate = learning_rate(
            step * len(work) + k,
            total=total * len(work),
            peak=updates.lr,
            schedule=updates.schedule,
            warmup=updates.warmup,
        )
        try:
            sums = dict(engine.forward_backward(examples, objective, normaliser))
            norm = engine.step(rate, updates.clip)
        except SolverError as error:
            where = f"step {step} of {total}, update {k + 1} of {len(work)}"
            raise SolverError(f"{where}: {error}") from error
        loss = sums.pop("loss") / normaliser
        figures = {name: value / len(examples) for name, value in sums.items()}
        figures |= {"loss": loss, "grad_norm": norm, "lr": rate}
        for name, value in figures.items():
            seen.setdefault(name, []).append(value)
        tokens += sum(example.trained_tokens for example in examples)
    means = {name: float(np.mean(values)) for name, values in seen.items()}
    return means | {"updates": len(seen.get("lr", ())), "trained_tokens": tokens}
