"""What a trainer must be like to be served, and how its steps and batches lie."""

from __future__ import annotations

import logging
import math
from typing import Any, Protocol

import datasets

from eva.creator.online import OnlineSizes
from eva.errors import ConfigError
from eva.integrations.trl_schedule import Plan
from eva.integrations.trl_slots import Layout, Slots

log = logging.getLogger(__name__)


class Trainer(Protocol):
    """What eva uses of an `RLOOTrainer` or `GRPOTrainer`: nothing beyond it, all of it public."""

    args: Any
    """An `RLOOConfig` or `GRPOConfig`; `max_steps` is set."""
    model: Any
    accelerator: Any
    state: Any
    train_dataset: Any
    """Replaced."""
    eval_dataset: Any
    shuffle_dataset: Any
    """Set to False."""
    reward_funcs: Any
    """Replaced by functions that call them."""
    reward_weights: Any
    max_completion_length: Any
    eos_token_ids: Any

    def add_callback(self, callback: Any) -> None:
        """Let a callback take part."""
        ...


def refuse_unfit(trainer: Trainer) -> None:
    """Raise where a trainer cannot be served, or would be served wrongly without a word.

    Raises:
        ConfigError: the message says what to change.
    """
    from trl.trainer.grpo_trainer import GRPOTrainer
    from trl.trainer.rloo_trainer import RLOOTrainer

    if not isinstance(trainer, RLOOTrainer | GRPOTrainer):
        raise ConfigError(
            f"got a {type(trainer).__name__}, expected an RLOOTrainer or GRPOTrainer of TRL"
        )
    data = trainer.train_dataset
    if isinstance(data, Slots):
        raise ConfigError("a creator is attached to this trainer already: make a new trainer")
    if not isinstance(data, datasets.Dataset):
        raise ConfigError(
            f"train_dataset: got a {type(data).__name__}, expected a datasets.Dataset: prompts "
            "are taken in the schedule's order; make one, say by "
            "Dataset.from_list(list(stream.take(10_000)))"
        )
    if isinstance(trainer, GRPOTrainer) and trainer.environment_factories is not None:
        raise ConfigError(
            "environment_factory: its environments own prompts or rewards, expected prompts of "
            "train_dataset: leave it out"
        )
    _refuse_settings(trainer.args)


def _refuse_settings(args: Any) -> None:
    accelerator = args.accelerator_config
    for name, got, expected, why in (
        (
            "dataloader_num_workers",
            args.dataloader_num_workers,
            0,
            "a worker process would read a copy of the slots that is never filled",
        ),
        (
            "remove_unused_columns",
            bool(args.remove_unused_columns),
            False,
            "rewards could not be told apart without the rows' columns",
        ),
        (
            "ignore_data_skip",
            bool(args.ignore_data_skip),
            False,
            "a resumed run would begin with the first slots again",
        ),
        (
            "restore_callback_states_from_checkpoint",
            bool(args.restore_callback_states_from_checkpoint),
            False,
            "callbacks would be replaced by new ones; eva restores its own state without it",
        ),
        (
            "accelerator_config.split_batches",
            bool(accelerator.split_batches),
            False,
            "batches would not be those that the trainer reckons with",
        ),
        (
            "accelerator_config.dispatch_batches",
            bool(accelerator.dispatch_batches),
            False,
            "one rank would read for all, and texts cannot be dispatched",
        ),
    ):
        if got != expected:
            raise ConfigError(f"{name} = {got}, expected {expected}: {why}")
    for name, strategy in (
        ("eval", args.eval_strategy),
        ("save", args.save_strategy),
        ("logging", args.logging_strategy),
    ):
        if strategy == "epoch":
            raise ConfigError(
                f"{name}_strategy = 'epoch', expected 'steps' or 'no': the prompts have no end, "
                f"so a run is one epoch; set {name}_steps"
            )


def layout_of(trainer: Trainer) -> Layout:
    """Return how a trainer's steps and generation batches lie to each other."""
    args = trainer.args
    return Layout(
        prompts=args.generation_batch_size // args.num_generations,
        answers=args.num_generations,
        repeats=args.steps_per_generation * args.num_iterations,
        accumulation=args.gradient_accumulation_steps,
    )


def steps_of(trainer: Trainer, layout: Layout) -> int:
    """Return how many steps a trainer would take on its own data set."""
    args = trainer.args
    if args.max_steps > 0:
        return int(args.max_steps)
    micro_steps = len(trainer.train_dataset) // layout.prompts * layout.repeats
    of_an_epoch = max(1, math.ceil(micro_steps / layout.accumulation))
    return math.ceil(float(args.num_train_epochs) * of_an_epoch)


def warn_of_warm_up(plan: Plan, sizes: OnlineSizes) -> None:
    """Warn of a run that ends before an evolved prompt is trained on."""
    seeds = math.ceil(sizes.evolved * plan.layout.prompts)
    written, human = plan.batches * seeds * sizes.children, plan.batches * plan.layout.prompts
    if 0 < written < sizes.buffer and human <= len(plan.human):
        log.warning(
            "no evolved prompt is trained on in this run: it writes at most %d, the buffer of %d "
            "must be full before they are mixed in, and there are human prompts for all of its "
            "%d batches. Set a smaller buffer by Creator(sizes=OnlineSizes(buffer=...)).",
            written,
            sizes.buffer,
            plan.batches,
        )


def warn_of_saves(args: Any, layout: Layout) -> None:
    """Warn of checkpoints in the middle of a generation batch, which trainers answer again."""
    every = args.save_steps
    if args.save_strategy == "steps" and every >= 1 and not layout.aligned(int(every)):
        whole = layout.repeats // math.gcd(layout.repeats, layout.accumulation)
        log.warning(
            "save_steps = %g falls in the middle of a generation batch: TRL answers that batch "
            "anew where it resumes, so the run goes on differently. Choose a multiple of %d.",
            every,
            whole,
        )
