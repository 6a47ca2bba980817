"""The ladder's prompts: text tasks whose level is the length of their input, and what evolves them.

    sort dbca -> abcd     reverse dbca -> acbd     shift dbca -> ecdb

A prompt carries task, level and answer in its columns, so that a child is checked as its parent is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from eva.rng import Streams
from eva.types import Group, Prompt, Proposal, Score, ScoredGroup

LETTERS = "abcdefghijklmnop"
LEVELS = 8
"""Levels are 1 to this."""
EASY = 3
"""The human prompts are of levels 1 to this."""

Rng = np.random.Generator


def reverse(level: int, rng: Rng) -> tuple[str, str]:
    """Return letters, one more than the level, and their reverse."""
    given = _word(level + 1, rng)
    return given, given[::-1]


def sort(level: int, rng: Rng) -> tuple[str, str]:
    """Return letters, one more than the level, and the same in order."""
    given = _word(level + 1, rng)
    return given, "".join(sorted(given))


def shift(level: int, rng: Rng) -> tuple[str, str]:
    """Return letters, one more than the level, and for each the next one; after p comes a."""
    given = _word(level + 1, rng)
    return given, "".join(LETTERS[(LETTERS.index(c) + 1) % len(LETTERS)] for c in given)


TASKS: Mapping[str, Callable[[int, Rng], tuple[str, str]]] = MappingProxyType(
    {"reverse": reverse, "sort": sort, "shift": shift}
)
"""What a level's instance and its answer are, by the word that the prompt begins with."""


def instance(task: str, level: int, rng: Rng) -> tuple[str, dict[str, str | int]]:
    """Return the text of a prompt and its columns."""
    given, answer = TASKS[task](level, rng)
    return f"{task} {given}", {"task": task, "level": level, "answer": answer}


def prompts(
    count: int, levels: Iterable[int], rng: Rng, *, without: Iterable[Prompt] = ()
) -> tuple[Prompt, ...]:
    """Return so many different prompts, tasks and levels in equal numbers, in a random order."""
    kinds = [(task, level) for level in levels for task in TASKS]
    known = {prompt.id for prompt in without}
    made: list[Prompt] = []
    while len(made) < count:
        text, columns = instance(*kinds[len(made) % len(kinds)], rng)
        prompt = Prompt.of(text, columns=columns)
        if prompt.id not in known:
            known.add(prompt.id)
            made.append(prompt)
    return tuple(made[i] for i in rng.permutation(count))


def heldout(per_kind: int) -> tuple[Prompt, ...]:
    """Return the held-out prompts, the same for every arm and seed."""
    count = per_kind * len(TASKS) * LEVELS
    return prompts(count, range(1, LEVELS + 1), Streams(0, 0, "ladder/heldout").of())


class Exact:
    """Scores an answer 1 if it is the prompt's, to the letter, else 0."""

    def score(self, groups: Sequence[Group]) -> list[ScoredGroup]:
        """Return the groups with their scores, in order."""
        return [
            ScoredGroup(
                group,
                tuple(
                    Score(float(response.text == group.prompt.columns["answer"]))
                    for response in group.responses
                ),
            )
            for group in groups
        ]


MOVES: Mapping[str, int] = MappingProxyType({"harder": 1, "easier": -1, "again": 0, "switch": 0})
"""What an operator does to the level; `switch` changes the task, all make a new instance."""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Makes a child by one of the operators, drawn anew for every child."""

    operators: tuple[str, ...] = tuple(MOVES)
    chain: bool = False

    def propose(self, parents: Sequence[Prompt], step: int, streams: Streams) -> list[Proposal]:
        """Return one proposal per parent, in order; see `eva.protocols.Evolver`."""
        return [self._propose(p, streams.of(p.id, step), streams.round) for p in parents]

    def _propose(self, parent: Prompt, rng: Rng, born: int) -> Proposal:
        operator = self.operators[rng.integers(len(self.operators))]
        task, level = parent.columns["task"], parent.columns["level"] + MOVES[operator]
        if not 1 <= level <= LEVELS:
            return Proposal(parent, operator, None, reason=f"there is no level {level}")
        if operator == "switch":
            others = [name for name in TASKS if name != task]
            task = others[rng.integers(len(others))]
        text, columns = instance(task, level, rng)
        child = parent.rewritten(text, operator=operator, born=born, columns=columns)
        return Proposal(parent, operator, child)


class Repeated:
    """Refuses a prompt that is there already or held out.

    The near copies of `eva.creator.gates.duplicate` are no matter here: one letter makes another
    problem.
    """

    name = "duplicate"

    def __init__(self, heldout: Iterable[Prompt]) -> None:
        self._known = {prompt.id for prompt in heldout}

    def __call__(self, child: Prompt, lineage: Sequence[Prompt]) -> str | None:
        """Return why the child is refused, or None."""
        return "it is there already, or held out" if child.id in self._known else None

    def remember(self, prompt: Prompt) -> None:
        """Refuse the prompt from now on."""
        self._known.add(prompt.id)


def _word(length: int, rng: Rng) -> str:
    return "".join(LETTERS[i] for i in rng.integers(len(LETTERS), size=length))
