"""Evolves puzzles by level: a harder one, an easier one, or another of the same level.

A puzzle is made to order, so its answer is known and the reward of a child is as exact as its
parent's. No model is asked. An addition: the paper's rewrites are of open prompts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np

from eva.errors import ConfigError, DataError, unknown_name
from eva.rng import Streams
from eva.types import Json, Prompt, Proposal

OPERATORS: Mapping[str, int] = MappingProxyType({"harder": 1, "easier": -1, "another": 0})
"""How far each operator moves the level."""


class Maker(Protocol):
    """Makes puzzles, such as `eva.gym`."""

    def top_level(self, task: str) -> int:
        """Return the highest level of a task; the lowest is 0."""
        ...

    def puzzle(self, task: str, level: int, seed: int, **lineage: Json) -> Prompt:
        """Return a puzzle, with columns `task` and `level`.

        Raises:
            DataError: there is none of that level.
        """
        ...


@dataclass(frozen=True, slots=True)
class LevelEvolver:
    """Writes children of puzzles by operators drawn at random.

    An operator that does not apply gives way to the next; all draws for a parent come from
    `streams.of(parent.id, step)`.

    Raises:
        ConfigError: an operator is unknown, or there is none.
    """

    maker: Maker
    operators: tuple[str, ...] = tuple(OPERATORS)
    avoid: Collection[str] = ()
    """Ids of prompts that no child may be: those held out."""
    chain: bool = False
    """Whether an accepted child is the next parent; by default all children are siblings."""

    def __post_init__(self) -> None:
        for name in self.operators:
            if name not in OPERATORS:
                raise ConfigError(unknown_name("operator of levels", name, OPERATORS))
        if not self.operators:
            raise ConfigError("evolver of levels: no operators; give one at least")

    def propose(self, parents: Sequence[Prompt], step: int, streams: Streams) -> list[Proposal]:
        """Return one proposal per parent, in order."""
        return [self._child(p, rng=streams.of(p.id, step), born=streams.round) for p in parents]

    def _child(self, parent: Prompt, *, rng: np.random.Generator, born: int) -> Proposal:
        task, level = parent.columns.get("task"), parent.columns.get("level")
        if not isinstance(task, str) or not isinstance(level, int):
            return Proposal(parent, "levels", None, reason="it is no puzzle: no task and level")
        reasons: list[str] = []
        for i in rng.permutation(len(self.operators)):
            name = self.operators[i]
            wanted, seed = level + OPERATORS[name], int(rng.integers(2**31))
            if not 0 <= wanted <= self.maker.top_level(task):
                reasons.append(f"{name}: there is no level {wanted}")
                continue
            lineage = {"parents": (parent.id,), "operator": name, "born": born}
            try:
                child = self.maker.puzzle(task, wanted, seed, **lineage)
            except DataError as error:
                reasons.append(f"{name}: {error}")
                continue
            if child.id not in self.avoid:
                return Proposal(parent, name, child)
            reasons.append(f"{name}: a puzzle that is held out")
        return Proposal(parent, "levels", None, reason="; ".join(reasons))
