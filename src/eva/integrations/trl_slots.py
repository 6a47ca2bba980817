"""The trainer's view of the schedule: a data set of numbered slots, and when each is read.

A trainer reads generation batches of prompts ahead of its steps; a slot is one prompt of one of
them, counted over the run. Slots are filled batch by batch, shortly before they are read:

    micro-step   one forward and backward; `accumulation` of them are a step
    repeats      micro-steps that a generation batch is trained on before the next is answered
    look-ahead   the loader holds one micro-step's batch more than it has handed out
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eva.errors import RunError
from eva.integrations.trl_rows import Row


@dataclass(frozen=True, slots=True)
class Layout:
    """How a trainer's steps, micro-steps and generation batches lie to each other."""

    prompts: int
    """Prompts of a generation batch, on all ranks together."""
    answers: int
    """Answers to each prompt."""
    repeats: int
    """Micro-steps that a generation batch is trained on."""
    accumulation: int
    """Micro-steps of a step."""

    def first(self, step: int) -> int:
        """Return the generation batch that a step, counted from 0, begins in."""
        return step * self.accumulation // self.repeats

    def needed(self, step: int) -> int:
        """Return the last generation batch that the loader reads for a step, counted from 0."""
        return (step + 1) * self.accumulation // self.repeats

    def batches(self, steps: int) -> int:
        """Return how many generation batches a run of so many steps trains on."""
        return math.ceil(steps * self.accumulation / self.repeats)

    def aligned(self, step: int) -> bool:
        """Whether a new generation batch begins after so many steps."""
        return step * self.accumulation % self.repeats == 0

    def lag(self, batch: int) -> int:
        """Return how many batches before it the newest one lies that a batch was drawn from.

        Batches that are drawn before any was answered have a lag of more than their own number.
        """
        step = -(-batch * self.repeats // self.accumulation) - 1
        known = (step * self.accumulation - 1) // self.repeats if step > 0 else -1
        return batch - known

    def slots_of(self, micro_step: int, *, rank: int, rows: int) -> list[int]:
        """Return the slots of the rows that a rank answers in a micro-step, in order."""
        first = micro_step // self.repeats * self.prompts
        return [first + (rank * rows + row) // self.answers for row in range(rows)]


class Slots:
    """A map-style data set whose rows are there while they are needed."""

    def __init__(self, layout: Layout, batches: int) -> None:
        self.layout = layout
        self.batches = batches
        """How many generation batches the run has."""
        self._rows: dict[int, Sequence[Row]] = {}

    def __len__(self) -> int:
        return self.batches * self.layout.prompts

    def __getitem__(self, slot: int) -> Row:
        batch, place = divmod(int(slot), self.layout.prompts)
        if batch not in self._rows:
            held = sorted(self._rows)
            raise RunError(
                f"slot {slot} (generation batch {batch}) has no prompt: batches {held} do; the "
                "loader read it at another time than eva expects. Call attach after the trainer "
                "is made and before train(), leave its loader, sampler and step counts alone, and "
                "remove callbacks that end steps early"
            )
        return dict(self._rows[batch][place])

    def fill(self, batches: Mapping[int, Sequence[Row]], *, keep_from: int) -> None:
        """Take rows of further batches; forget batches before `keep_from`."""
        merged = {**self._rows, **batches}
        self._rows = {batch: rows for batch, rows in merged.items() if batch >= keep_from}

    def clear(self) -> None:
        """Forget every row: training begins anew."""
        self._rows = {}
