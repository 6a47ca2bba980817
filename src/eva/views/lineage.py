"""Where prompts come from and what came of them: ancestors, descendants, scores, refusals."""

from __future__ import annotations

import difflib
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

from eva.errors import DataError
from eva.runs.population import Population
from eva.types import Json, Prompt
from eva.views import steps
from eva.views.steps import StepLine

Row: TypeAlias = Mapping[str, Json]
"""A row of a table of `population.sqlite`; docs/run-folder.md has the columns."""

NODES = 200
"""At most so many prompts are drawn in one tree."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A prompt in a drawn tree, with those of its children that are drawn."""

    prompt: Prompt
    children: tuple[Branch, ...]
    hidden: int
    """Children that are not drawn here."""


@dataclass(frozen=True)
class Lineage:
    """Every prompt of a run with what became of it, by prompt id."""

    prompts: Mapping[str, Prompt]
    scores: Mapping[str, Sequence[Row]]
    estimates: Mapping[str, Sequence[Row]]
    refusals: Mapping[str, Sequence[Row]]
    """By the id of the parent."""
    played: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Online: the steps that trained on a prompt; one for each of its scores and estimates."""
    entered: Mapping[str, int] = field(default_factory=dict)
    """Online: the step in which a prompt entered the buffer."""

    @classmethod
    def read(cls, population: Population, lines: Sequence[StepLine] = ()) -> Lineage:
        """Return the lineage of a population, and of the steps of an online run."""
        return cls(
            prompts={prompt.id: prompt for prompt in population.prompts()},
            scores=_grouped(population.table("scores"), "prompt_id"),
            estimates=_grouped(population.table("informativeness"), "prompt_id"),
            refusals=_grouped(population.table("refusals"), "parent_id"),
            played=steps.played(lines),
            entered=steps.entered(lines),
        )

    @cached_property
    def children(self) -> Mapping[str, Sequence[str]]:
        """Ids of the prompts made from a prompt, in order of entry."""
        found: dict[str, list[str]] = defaultdict(list)
        for prompt in self.prompts.values():
            for parent in dict.fromkeys(prompt.parents):
                found[parent].append(prompt.id)
        return found

    def find(self, start: str) -> Prompt:
        """Return the prompt whose id begins so.

        Raises:
            DataError: there is none, or more than one.
        """
        if start in self.prompts:
            return self.prompts[start]
        found = [id for id in self.prompts if id.startswith(start)]
        if len(found) == 1:
            return self.prompts[found[0]]
        if found:
            some = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
            raise DataError(
                f"prompt {start!r}: {len(found)} ids begin so ({some}); write more of it"
            )
        near = difflib.get_close_matches(start, self.prompts, n=3, cutoff=0.4)
        hint = f"; near ones are {', '.join(near)}" if near else ""
        raise DataError(
            f"prompt {start!r}: no id of this run's {len(self.prompts)} prompts begins so{hint}; "
            "`eva show RUN --round N` lists ids"
        )

    def ancestors(self, id: str) -> list[str]:
        """Return the ids from the human ancestor down to the prompt itself, by first parents."""
        path = [id]
        while True:
            parents = [p for p in self.prompts[path[0]].parents if p in self.prompts]
            if not parents or parents[0] in path:
                return path
            path.insert(0, parents[0])

    def birth(self, prompt: Prompt) -> str:
        """Say when an evolved prompt was written."""
        step = self.entered.get(prompt.id)
        return f"round {prompt.born}" if step is None else f"step {step}"

    def when(self, row: Row, place: int) -> str:
        """Say when a prompt's score or estimate is from, the `place`-th of them."""
        found = self.played.get(row["prompt_id"], ()) if self.played else ()
        return f"step {found[place]}" if place < len(found) else f"round {row['round']}"

    def descendants(self, id: str) -> Iterator[str]:
        """Yield the ids of all prompts that come from a prompt, nearest first."""
        seen, queue = {id}, deque([id])
        while queue:
            for child in self.children.get(queue.popleft(), ()):
                if child not in seen:
                    seen.add(child)
                    queue.append(child)
                    yield child

    def descent(self, id: str) -> Branch:
        """Return the tree from the human ancestor to a prompt, and all that came from it.

        Other children of its ancestors are counted, not drawn.
        """
        path = self.ancestors(id)
        kept = _first([*path, *self.descendants(id)], max(NODES, len(path)))
        return self._branch(path[0], kept)

    def family(self, id: str, *, limit: int) -> Branch:
        """Return the tree of all that came from a prompt's human ancestor, at most `limit`.

        The line down to the prompt itself is always drawn; of the others the nearest.
        """
        path = self.ancestors(id)
        kept = _first([*path, *self.descendants(path[0])], max(limit, len(path)))
        return self._branch(path[0], kept)

    def contrast(self, id: str) -> float | None:
        """Return the best minus the worst reward of a prompt's newest answers."""
        scored = [row for row in self.scores.get(id, ()) if row["max"] is not None]
        return float(scored[-1]["max"] - scored[-1]["min"]) if scored else None

    def interesting(self, n: int) -> list[tuple[Prompt, str]]:
        """Return at most n evolved prompts of different human ancestors, each with the reason.

        By turns the one with the longest line of ancestors, and the one whose answers differ in
        reward by so much more than its parent's.
        """
        evolved = [prompt.id for prompt in self.prompts.values() if prompt.evolved]
        depth = {id: len(self.ancestors(id)) - 1 for id in evolved}
        gain = {id: self._gain(id) for id in evolved}
        deepest = sorted(evolved, key=lambda id: (-depth[id], -gain[id]))
        growing = sorted((id for id in evolved if gain[id] > 0), key=lambda id: -gain[id])
        found: dict[str, tuple[Prompt, str]] = {}
        queues = [(iter(deepest), "long line"), (iter(growing), "gained contrast")]
        while queues and len(found) < n:
            queue, reason = queues.pop(0)
            for id in queue:
                root = self.ancestors(id)[0]
                if root not in found:
                    found[root] = (self.prompts[id], reason)
                    queues.append((queue, reason))
                    break
        return list(found.values())

    def _gain(self, id: str) -> float:
        own, before = self.contrast(id), self.contrast(self.prompts[id].parents[0])
        return 0.0 if own is None or before is None else own - before

    def _branch(self, root: str, kept: Collection[str]) -> Branch:
        # a child of two parents that are both drawn stands under the first that is reached
        seen = {root}

        def grow(id: str) -> Branch:
            every = self.children.get(id, ())
            mine = [child for child in every if child in kept and child not in seen]
            seen.update(mine)
            return Branch(self.prompts[id], tuple(map(grow, mine)), len(every) - len(mine))

        return grow(root)


def _first(ids: Iterable[str], limit: int) -> set[str]:
    return set(list(dict.fromkeys(ids))[:limit])


def _grouped(rows: Iterable[Row], column: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row[column]].append(row)
    return dict(found)
