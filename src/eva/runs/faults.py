"""Named crash points: a test arms one by name, and the run dies there.

Every name is `stage:step`, for instance `creator/answer:before_commit`. Production pays one
comparison per point.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from eva.errors import unknown_name

STAGES = (
    "creator/answer",
    "creator/score",
    "creator/sample",
    "creator/evolve",
    "solver/answer",
    "solver/score",
    "solver/new_pairs",
    "solver/pairs",
    "solver/train",
    "evaluate",
    "record",
    "alarms",
)
"""The stages of a round, in order."""

STEPS = (
    "before_work",
    "before_write",
    "half_written",
    "before_rename",
    "before_commit",
    "mid_commit",
    "after_commit",
)
"""The steps of one commit, in order; every chunk, result and checkpoint passes all of them."""

POINTS: tuple[str, ...] = (
    *(f"create:{step}" for step in STEPS[1:4]),
    *(f"{stage}:{step}" for stage in STAGES for step in STEPS),
)
"""Every point of a round, after those of making the run folder itself."""


class Crash(BaseException):
    """Stands for a kill: nothing that catches errors catches it."""


@dataclass
class Fault:
    """An armed point."""

    name: str
    at: int
    """The passage at which it raises, counted from 1."""
    passages: int = 0
    """How often the point was passed, the fatal time included."""


_armed: Fault | None = None


def reach(name: str) -> None:
    """Say that the run has come to point `name`.

    Raises:
        Crash: a test armed this point, and this is the passage it asked for.
    """
    if _armed is None or _armed.name != name:
        return
    _armed.passages += 1
    if _armed.passages == _armed.at:
        raise Crash(name)


@contextmanager
def armed(name: str, at: int = 1) -> Iterator[Fault]:
    """Raise `Crash` at passage number `at` of point `name`, within the block.

    Raises:
        ValueError: the name does not end in a step, so it can never be passed.
    """
    step = name.rpartition(":")[2]
    if step not in STEPS:
        raise ValueError(unknown_name("crash point", step, STEPS))
    global _armed
    before, _armed = _armed, Fault(name, at)
    try:
        yield _armed
    finally:
        _armed = before
