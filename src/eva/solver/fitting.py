"""Training on the examples of one round: the updates, their order, and how they resume.

Order and number of the updates are fixed before the first one, from the examples, the settings
and the seed alone: so the schedule knows its end, and a resumed round does what is left of the
same plan.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from eva.errors import ConfigError, SolverError
from eva.protocols import Checkpoints, Engine, Objective, Progress
from eva.rng import Streams
from eva.solver.schedules import Schedule, check_rates, learning_rate
from eva.types import Example, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class FitSettings:
    """How a round trains; the defaults are the paper's for DPO (arXiv:2411.00062, App. A)."""

    epochs: int = 2
    """Passes over the examples."""
    batch_size: int = 8
    """Examples per update; how many fit the device at once is the engine's business."""
    lr: float = 5e-7
    """Peak learning rate."""
    schedule: Schedule = "cosine"
    """How the rate falls after warm-up."""
    warmup: float = 0.1
    """Below 1 a share of the round's updates, rounded up, else a number of updates."""
    clip: float | None = 1.0
    """Greatest norm of the gradient; None clips nothing."""
    max_tokens: int | None = None
    """Stop before the round has trained on more completion tokens, for arms of equal compute."""
    checkpoint_every: int | None = None
    """Updates between checkpoints to resume from; None keeps only the end of the round."""
    carry_optimiser: bool = False
    """Whether the round's last checkpoint holds the optimiser's state, for the next to use."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "max_tokens", "checkpoint_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} = {value}, expected at least 1")
        check_rates(self.lr, clip=self.clip, warmup=self.warmup, schedule=self.schedule)


@dataclass(frozen=True, slots=True)
class FitResult:
    """What a round's training did; the same whether or not it was interrupted."""

    updates: int
    """Optimiser steps of the round."""
    trained_tokens: int
    """Completion tokens that carried gradient, over all updates."""
    folder: Path
    """The committed policy."""


class Log(Protocol):
    """Records metrics of an update: `functools.partial(journal.log, stage)`."""

    def __call__(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Record the metrics of update `step`, counted from 1."""
        ...


Batches: TypeAlias = tuple[tuple[int, ...], ...]
"""Indices into the examples, one tuple per update."""


def plan_updates(
    examples: Sequence[Example], *, settings: FitSettings, streams: Streams
) -> Batches:
    """Return the batches of the round's updates, shuffled anew in every epoch.

    No batch spans two epochs; the last of an epoch may be smaller. With `max_tokens` the plan ends
    with the last example that still fits, so arms of equal budget differ by less than an example
    each; that budget is spent in full only if `epochs` allows for it.

    Raises:
        SolverError: there are no examples, or not one fits the token budget.
    """
    where = f"round {streams.round}, {streams.stage}"
    if not examples:
        raise SolverError(
            f"{where}: got no examples to train on, expected at least one: every prompt went "
            "without a pair; see the counts by cause (more responses per prompt or a higher "
            "temperature give contrast, a larger max_tokens fewer truncated responses)"
        )
    batches: list[tuple[int, ...]] = []
    budget = math.inf if settings.max_tokens is None else settings.max_tokens
    for epoch in range(settings.epochs):
        order = [int(i) for i in streams.of("order", epoch).permutation(len(examples))]
        kept = list(_within(order, examples, budget))
        budget -= sum(examples[i].trained_tokens for i in kept)
        size = settings.batch_size
        batches += [tuple(kept[i : i + size]) for i in range(0, len(kept), size)]
        if len(kept) < len(order):
            break
    if not batches:
        raise SolverError(
            f"{where}: max_tokens = {settings.max_tokens} is below the first example's tokens: "
            "raise it, or leave it out"
        )
    return tuple(batches)


def fit(
    engine: Engine,
    examples: Sequence[Example],
    *,
    objective: Objective,
    settings: FitSettings,
    checkpoints: Checkpoints,
    streams: Streams,
    log: Log,
    progress: Progress,
) -> FitResult:
    """Train the engine's policy on the examples and commit it.

    A batch's loss is the mean over its examples, also for the smaller last one of an epoch. The
    caller decides what the round starts from: `engine.load(folder, optimiser=...)` before this
    gives the weights, and the optimiser's state carried or fresh. If `checkpoints` holds a newer
    state of this stage, the round goes on from there, optimiser included. Afterwards the engine
    holds the trained policy.

    Raises:
        SolverError: no examples, a loss or gradient that is not finite, or checkpoints of another
            plan.
    """
    batches = plan_updates(examples, settings=settings, streams=streams)
    total = len(batches)
    where = f"round {streams.round}, {streams.stage}"
    done, folder = _resume(engine, checkpoints, total=total, settings=settings)
    progress.begin(Stage(streams.round, streams.stage), total, done=done, unit="updates")
    trained = 0.0
    for step in range(done + 1, total + 1):
        batch = [examples[i] for i in batches[step - 1]]
        rate = learning_rate(
            step - 1,
            total=total,
            peak=settings.lr,
            schedule=settings.schedule,
            warmup=settings.warmup,
        )
        try:
            metrics = _update(engine, batch, objective, lr=rate, clip=settings.clip)
        except SolverError as error:
            ids = ", ".join(example.prompt_id for example in batch)
            raise SolverError(
                f"{where}, update {step} of {total} (prompts {ids}): {error}"
            ) from error
        log({f"solver/{name}": value for name, value in metrics.items()}, step=step)
        trained += metrics["tokens"]
        progress.advance(step, **metrics | {"tokens": trained})
        folder = _commit(engine, checkpoints, step, total=total, settings=settings) or folder
    progress.end()
    assert folder is not None, "a plan has at least one update, and the last one is committed"
    tokens = sum(examples[i].trained_tokens for batch in batches for i in batch)
    return FitResult(total, tokens, folder)


def _within(order: Sequence[int], examples: Sequence[Example], budget: float) -> Iterator[int]:
    """Yield indices up to the first example that the token budget does not allow."""
    for i in order:
        budget -= examples[i].trained_tokens
        if budget < 0:
            return
        yield i


def _update(
    engine: Engine,
    batch: Sequence[Example],
    objective: Objective,
    *,
    lr: float,
    clip: float | None,
) -> dict[str, float]:
    """Make one optimiser step; return means over the batch and figures of the step."""
    sums = engine.forward_backward(batch, objective, len(batch))
    norm = engine.step(lr, clip)
    means = {name: value / len(batch) for name, value in sums.items()}
    tokens = sum(example.trained_tokens for example in batch)
    return means | {"grad_norm": norm, "lr": lr, "tokens": tokens}


def _resume(
    engine: Engine, checkpoints: Checkpoints, *, total: int, settings: FitSettings
) -> tuple[int, Path | None]:
    """Load the newest checkpoint, if there is one; return the updates behind it and its folder."""
    latest = checkpoints.latest()
    if latest is None:
        return 0, None
    step, folder = latest
    if step > total:
        raise SolverError(
            f"checkpoint {folder} is at update {step} of a plan of {total}: it belongs to other "
            "examples or settings; start a new run folder, or restore the config it was made with"
        )
    engine.load(folder, optimiser=step < total or settings.carry_optimiser)
    return step, folder


def _commit(
    engine: Engine, checkpoints: Checkpoints, step: int, *, total: int, settings: FitSettings
) -> Path | None:
    """Commit a checkpoint where one is due; the last one is the round's policy."""
    final = step == total
    if not final and (settings.checkpoint_every is None or step % settings.checkpoint_every):
        return None
    keep = not final or settings.carry_optimiser
    return checkpoints.commit(step, lambda path: engine.save(path, optimiser=keep), final=final)
