"""The steps of an online run, but for their answers: which prompts each had, and from where."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from eva.errors import RunError
from eva.online import STEPS
from eva.types import Json

PHASES = ("warm-up", "mix-up", "bootstrap")
"""In the order in which they follow one another."""

_COLUMNS = (
    *("number", "phase", "draws", "replayed", "recycled"),
    *("scored.list.element.prompt.id", "evolutions.list.element.children.list.element.id"),
)
"""Answers and log-probs are nearly all of a file, and are not read."""


@dataclass(frozen=True, slots=True)
class StepLine:
    """A step of online eva."""

    round: int
    number: int
    """Counted over the run from 1."""
    phase: str
    drawn: int
    """Prompts drawn, with those that replaced prompts without contrast."""
    replayed: int
    """Of them, from the buffer."""
    recycled: int
    """Of them, human prompts that were taken before."""
    prompts: tuple[str, ...]
    """Ids of the prompts that it was trained on."""
    children: tuple[str, ...]
    """Ids of the prompts that entered the buffer in it."""


def read(run: Path, commits: Iterable[Mapping[str, Json]]) -> list[StepLine]:
    """Return the committed steps of a run in order; none of an offline one.

    Raises:
        RunError: a file of them is gone or damaged.
    """
    chunks = [row for row in commits if row["stage"] == STEPS and row["kind"] == "chunk"]
    return [line for row in chunks for line in _lines(run / row["file"], row["round"])]


def _lines(file: Path, round: int) -> list[StepLine]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as parquet:
            rows = parquet.read(columns=list(_COLUMNS)).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise RunError(f"{file}: the steps of round {round} cannot be read: {error}") from error
    return [
        StepLine(
            round,
            number=row["number"],
            phase=row["phase"],
            drawn=sum(row["draws"]),
            replayed=row["replayed"],
            recycled=row["recycled"],
            prompts=tuple(group["prompt"]["id"] for group in row["scored"]),
            children=tuple(c["id"] for e in row["evolutions"] for c in e["children"]),
        )
        for row in rows
    ]


def played(steps: Iterable[StepLine]) -> dict[str, list[int]]:
    """Return by prompt id the numbers of the steps whose batch it was in, in order."""
    found: dict[str, list[int]] = defaultdict(list)
    for step in steps:
        for id in step.prompts:
            found[id].append(step.number)
    return dict(found)


def entered(steps: Iterable[StepLine]) -> dict[str, int]:
    """Return by prompt id the number of the step in which it first entered the buffer."""
    found: dict[str, int] = {}
    for step in steps:
        for id in step.children:
            found.setdefault(id, step.number)
    return found


def by_phase(steps: Iterable[StepLine]) -> dict[str, list[StepLine]]:
    """Return the steps of each phase that occurs."""
    found: dict[str, list[StepLine]] = defaultdict(list)
    for step in steps:
        found[step.phase].append(step)
    return {phase: found[phase] for phase in PHASES if phase in found}


def beginnings(steps: Sequence[StepLine]) -> list[int]:
    """Return the numbers of the steps with which a phase begins, but for the first."""
    return [step.number for before, step in pairwise(steps) if step.phase != before.phase]
