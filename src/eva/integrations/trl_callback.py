"""Between a trainer's steps: judge what was answered, fill the slots that are read next."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from accelerate.utils import broadcast_object_list, gather_object
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from eva.creator.online import BufferCreator
from eva.errors import RunError
from eva.integrations.trl_limits import Trainer
from eva.integrations.trl_rewards import Observer, Reward
from eva.integrations.trl_rows import Row
from eva.integrations.trl_schedule import Plan, Schedule, open_population
from eva.integrations.trl_slots import Slots
from eva.types import Json


class EvaCallback(TrainerCallback, ExportableState):
    """Runs on all ranks; the first one owns the schedule, the others are told the rows.

    Its state is in `trainer_state.json` of every checkpoint, under the name of this class. So it
    is there exactly where the trainer's own is, and is found wherever a run is resumed from.
    """

    def __init__(
        self,
        trainer: Trainer,
        slots: Slots,
        plan: Plan,
        *,
        make: Callable[[], BufferCreator],
        population: Path,
        ensemble: bool = False,
    ) -> None:
        """Make a callback that is not yet one of the trainer's.

        Args:
            trainer: the trainer; nothing of it is changed.
            slots: the data set to fill.
            plan: what the run is.
            make: makes the creator; called where training begins, on the first rank.
            population: the population's file.
            ensemble: whether the reward functions are one.
        """
        self.slots = slots
        self._plan = plan
        self._make = make
        self._path = population
        self._first = trainer.accelerator.process_index == 0
        self._schedule: Schedule | None = None
        self._micro_step = 0
        self._functions = False
        rank, ends = trainer.accelerator.process_index, frozenset(trainer.eos_token_ids)
        self._observer = Observer(
            trainer.reward_weights.tolist(),
            slots=lambda rows: plan.layout.slots_of(self._micro_step, rank=rank, rows=rows),
            training=lambda: bool(trainer.model.training),
            truncated=lambda ids: len(ids) >= trainer.max_completion_length and ids[-1] not in ends,
            ensemble=ensemble,
        )

    def watched(self, rewards: Sequence[Reward]) -> list[Reward]:
        """Return what takes the place of the trainer's reward functions."""
        self._functions = not all(isinstance(reward, nn.Module) for reward in rewards)
        return [self._observer.watch(i, reward) for i, reward in enumerate(rewards)]

    # ── events ────────────────────────────────────────────────────────────────────────────────

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Begin, or go on from the checkpoint that the trainer goes on from.

        Raises:
            RunError: the checkpoint has no state of eva's, or another run's.
        """
        step = state.global_step
        stored = _stored(state) if step else None
        self.slots.clear()
        self._observer.take()
        rows: dict[int, list[Row]] = {}
        if self._first:
            self._schedule = schedule = self._begin(stored)
            schedule.draw(self._plan.layout.needed(step))
            rows = schedule.rows(0)
        self._fill(rows, step)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Note which micro-step begins."""
        self._micro_step = state.global_step * self._plan.layout.accumulation

    def on_substep_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Note which micro-step begins."""
        self._micro_step += 1

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Judge the answers of all ranks, and fill the slots that the next step reads."""
        # in the order of ranks, hence of rows: a group that straddles ranks is whole again
        answers = gather_object(self._observer.take())
        rows: dict[int, list[Row]] = {}
        step = state.global_step
        if self._schedule is not None:
            self._schedule.judge(answers, step=step)
            rows = self._schedule.draw(self._plan.layout.needed(step))
            self._observer.figures += self._schedule.figures
            self._schedule.figures.clear()
        self._fill(rows, step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        logs: dict[str, float] | None = None,
        **more: Any,
    ) -> None:
        """Log where only reward models score, which cannot do it: not seen by earlier callbacks."""
        if self._functions or not logs or "loss" not in logs:
            return
        figures = {f"eva/{name}": v for name, v in self._observer.take_figures().items()}
        logs.update(figures)
        state.log_history[-1].update(figures)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Close the population."""
        if self._schedule is not None:
            self._schedule.population.close()
            self._schedule = None

    def state(self) -> dict[str, Json]:
        """Return what a checkpoint keeps; the trainer calls it as it writes one."""
        kept = self._schedule.state() if self._schedule is not None else {}
        return {"args": {}, "attributes": kept}

    # ── the schedule ──────────────────────────────────────────────────────────────────────────

    def _begin(self, stored: Mapping[str, Json] | None) -> Schedule:
        population = open_population(self._path, new=stored is None)
        weakref.finalize(self, population.close)
        schedule = Schedule(self._plan, self._make(), population)
        if stored is None:
            schedule.begin()
        else:
            schedule.restore(stored)
        return schedule

    def _fill(self, rows: Mapping[int, list[Row]], step: int) -> None:
        """Give every rank the rows that the first one has."""
        told = broadcast_object_list([rows])[0]
        keep_from = self._plan.layout.first(step)
        self.slots.fill(told, keep_from=keep_from)
        if self._schedule is not None:
            self._schedule.forget(keep_from)


def _stored(state: TrainerState) -> Mapping[str, Json]:
    # declared as callbacks, they are what was loaded of them
    loaded = cast("Mapping[str, Json]", state.stateful_callbacks)
    found = loaded.get(EvaCallback.__name__) or {}
    if not found.get("attributes"):
        raise RunError(
            f"the checkpoint of step {state.global_step} has no state of eva's, so its prompts "
            "are not known: it was written without a Creator attached; resume from one that was "
            "written with it, or begin anew"
        )
    kept: Mapping[str, Json] = found["attributes"]
    return kept
