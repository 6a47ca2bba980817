"""eva in TRL: the prompts of an `RLOOTrainer` or `GRPOTrainer` evolve while it trains.

    from eva.integrations.trl import Creator

    trainer = RLOOTrainer(...)  # your script
    Creator().attach(trainer)
    trainer.train()

Only what TRL and transformers make public is used: `train_dataset`, `shuffle_dataset`,
`reward_funcs`, a callback with a state, `log_metric`. docs/trl.md says what happens when.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import datasets

from eva.creator.gates.duplicate import Duplicate
from eva.creator.gates.eval_overlap import EvalOverlap
from eva.creator.gates.length_band import LengthBand
from eva.creator.gates.meta_text import MetaText
from eva.creator.informativeness import informativeness as metric
from eva.creator.noise import Correction, correction
from eva.creator.online import BufferCreator, OnlineSizes
from eva.creator.rules import OPERATORS, RuleEvolver, Rules
from eva.creator.sampling import SAMPLERS
from eva.errors import ConfigError, unknown_name
from eva.integrations.trl_callback import EvaCallback
from eva.integrations.trl_limits import (
    Trainer,
    layout_of,
    refuse_unfit,
    steps_of,
    warn_of_saves,
    warn_of_warm_up,
)
from eva.integrations.trl_rewards import constraints_met
from eva.integrations.trl_rows import Constraints, Format, read, said
from eva.integrations.trl_schedule import Plan
from eva.integrations.trl_slots import Slots
from eva.protocols import Evolver, Gate, Informativeness, Sampler
from eva.rng import Streams
from eva.types import Json

__all__ = ["Constraints", "Creator", "constraints_met"]

POPULATION = "population.sqlite"
"""The file of prompts, scores, refusals and lineage, in the creator's folder."""


class Creator:
    """Chooses and evolves a trainer's prompts: online eva (arXiv:2411.00062, sec. 3.3.2)."""

    def __init__(
        self,
        *,
        informativeness: str | Informativeness = "a_avg",
        sampler: str | Sampler = "greedy",
        evolver: Evolver | Literal["rules"] | None = "rules",
        gates: Sequence[Gate] | None = None,
        sizes: OnlineSizes | None = None,
        constraints: Constraints | None = None,
        ensemble: bool = False,
        seed: int | None = None,
        folder: Path | str | None = None,
    ) -> None:
        """Make a creator for one trainer; the defaults are the paper's.

        Args:
            informativeness: a metric's name, or your own.
            sampler: picks the seeds by it; a name of `eva.creator.sampling.SAMPLERS`, or your own.
            evolver: writes children. `rules` changes constraints and text together, and asks no
                model; None replays the informative prompts themselves.
            gates: judge children; by default for meta-text, length, duplicates, and overlap with
                the trainer's evaluation set.
            sizes: how many prompts go where; `batch` follows from the trainer.
            constraints: put on the data set's prompts before training, for `constraints_met`.
            ensemble: whether the trainer's reward functions judge the same thing. Then what they
                disagree about is logged, and taken out of the informativeness.
            seed: of every draw; by default the trainer's.
            folder: where the population is kept; by default `eva` in the trainer's output folder.

        Raises:
            ConfigError: there is no metric, sampler or evolver of that name, or, for an ensemble,
                the metric is no spread of rewards.
        """
        if isinstance(sampler, str) and sampler not in SAMPLERS:
            raise ConfigError(unknown_name("sampler", sampler, SAMPLERS))
        if isinstance(evolver, str) and evolver != "rules":
            raise ConfigError(unknown_name("evolver", evolver, ["rules"]))
        self._informativeness = (
            metric(informativeness) if isinstance(informativeness, str) else informativeness
        )
        self._correction = _correction(informativeness) if ensemble else None
        self._sampler = SAMPLERS[sampler] if isinstance(sampler, str) else sampler
        self._evolver = evolver
        self._gates = gates
        self._sizes = sizes
        self._constraints = constraints
        self._seed = seed
        self._folder = folder

    def attach(self, trainer: Trainer) -> None:
        """Let the prompts of a trainer evolve; call it before `train()`, on every rank.

        Its data set becomes one of slots that are filled as it trains, its order the schedule's,
        `max_steps` what it would have been, and its reward functions are watched.

        Raises:
            ConfigError: the trainer cannot be served; the message says what to change.
            DataError: a row of its data set holds no prompt.
        """
        refuse_unfit(trainer)
        if self._correction and len(trainer.reward_funcs) < 2:
            raise ConfigError(
                "ensemble: the trainer has one reward function, expected two or more that judge "
                "the same thing: leave ensemble out"
            )
        args = trainer.args
        layout = layout_of(trainer)
        steps = steps_of(trainer, layout)
        sizes = self._sizes_for(layout.prompts)
        prompts, form = read(trainer.train_dataset)
        if len(prompts) < layout.prompts:
            raise ConfigError(
                f"train_dataset: {len(prompts)} different prompts, expected at least the "
                f"{layout.prompts} of a generation batch: add prompts, or lower "
                "generation_batch_size"
            )
        seed = args.seed if self._seed is None else self._seed
        streams = Streams(seed, 0, "trl")
        if self._constraints:
            prompts = self._constraints.dressed(prompts, streams)
        if trainer.shuffle_dataset:
            prompts = [prompts[i] for i in streams.of("order").permutation(len(prompts))]
        plan = Plan(tuple(prompts), layout, layout.batches(steps), form, seed)
        if trainer.accelerator.is_main_process:
            warn_of_saves(args, layout)
            warn_of_warm_up(plan, sizes)
        folder = Path(self._folder) if self._folder else Path(args.output_dir) / "eva"
        callback = EvaCallback(
            trainer,
            Slots(layout, plan.batches),
            plan,
            make=partial(self._creator, plan, sizes, trainer.eval_dataset),
            population=folder / POPULATION,
            ensemble=self._correction is not None,
        )
        trainer.train_dataset = callback.slots
        trainer.shuffle_dataset = False
        args.max_steps = steps
        trainer.reward_funcs = callback.watched(trainer.reward_funcs)
        trainer.add_callback(callback)

    def _sizes_for(self, batch: int) -> OnlineSizes:
        own = self._sizes or OnlineSizes()
        if own.batch not in (batch, OnlineSizes().batch):
            raise ConfigError(
                f"sizes.batch = {own.batch}, but a generation batch of the trainer has {batch} "
                "prompts: leave it out, or set generation_batch_size"
            )
        return replace(own, batch=batch)

    def _creator(self, plan: Plan, sizes: OnlineSizes, measured: Json) -> BufferCreator:
        # gates remember: the default ones are new for every call of train()
        gates = _gates(measured) if self._gates is None else self._gates
        return BufferCreator(
            plan.human,
            informativeness=self._informativeness,
            sampler=self._sampler,
            evolver=self._rules(plan.format) if isinstance(self._evolver, str) else self._evolver,
            gates=gates,
            sizes=sizes,
            correction=self._correction,
        )

    def _rules(self, form: Format) -> RuleEvolver:
        own = self._constraints or Constraints()
        rules = Rules(own.pool, max_checks=own.max_checks, budget=own.max_words)
        # on another topic a reference answer is wrong: with such columns the topic stays
        names = ("add", "harden", "swap") if form.columns else tuple(OPERATORS)
        return RuleEvolver(rules, weights=dict.fromkeys(names, 1.0))


def _correction(informativeness: str | Informativeness) -> Correction:
    if not isinstance(informativeness, str):
        raise ConfigError(
            "ensemble: informativeness is a function, whose noise is not known: name a metric, or "
            "leave ensemble out"
        )
    return correction(informativeness)


def _gates(measured: Json) -> list[Gate]:
    """Return the default gates; `measured` is the trainer's evaluation set, or several by name."""
    sets = measured.values() if isinstance(measured, dict) else [measured]
    texts = [
        said(prompt)
        for one in sets
        # a stream is not read: it may have no end
        if isinstance(one, datasets.Dataset) and "prompt" in one.column_names
        for prompt in one["prompt"]
    ]
    overlap = [EvalOverlap(texts)] if texts else []
    return [MetaText(), LengthBand(), Duplicate(), *overlap]
