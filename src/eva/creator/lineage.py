"""The ancestors of prompts, found in the population."""

from __future__ import annotations

from collections.abc import Sequence

from eva.protocols import Population
from eva.types import Prompt

_GENERATIONS = 64
"""Ancestors that are followed; more generations than any run plays."""


def ancestors(seeds: Sequence[Prompt], population: Population) -> dict[str, list[Prompt]]:
    """Return the known ancestors of each seed by its id, the newest last, itself not among them.

    One look-up per generation, for all seeds together; the size of the population does not matter.
    """
    known: dict[str, Prompt] = {}
    young = list(seeds)
    for _ in range(_GENERATIONS):
        wanted = {id for prompt in young for id in prompt.parents} - known.keys()
        if not wanted:
            break
        young = population.prompts(sorted(wanted))
        known |= {prompt.id: prompt for prompt in young}
    return {seed.id: _line(seed, known) for seed in seeds}


def _line(seed: Prompt, known: dict[str, Prompt]) -> list[Prompt]:
    line: dict[str, Prompt] = {}
    young = [seed]
    while young:
        parents = dict.fromkeys(id for prompt in young for id in prompt.parents)
        # who is an ancestor by several ways counts once: else, with prompts that combine two, the
        # line would double with every generation
        young = [known[id] for id in parents if id in known and id not in line]
        line |= {prompt.id: prompt for prompt in young}
    return [*reversed(line.values())]
