"""Mixing: the solver's prompts are 80 % evolved and 20 % original (arXiv:2411.00062, sec. 4).

Departures from the paper
- With 25 % of X_t as seeds and 4 children each, there are as many children as X_t has prompts, and
  80 % of that size are wanted; which ones go is not said there. Here seeds give as equally many as
  they can: a child's turn among those of its seed is drawn, then the turns are taken in order, and
  within a turn the seeds in an order that is drawn. Generations are treated alike.
- Where gates left too few children, originals fill the set, so that rounds stay equally large and
  comparable in cost; where originals are too few, children do; where both are, the set is smaller.
  The counts say which it was.
- A prompt that occurs twice is taken once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from eva.types import Prompt


@dataclass(frozen=True, slots=True)
class Mixture:
    """The prompts of a solver's round, in random order, and how they came about."""

    prompts: tuple[Prompt, ...]
    evolved: int
    """Evolved prompts in it."""
    originals: int
    """Original prompts in it."""
    wanted: int
    """Evolved prompts that the share asks for; `evolved` is less where gates left too few."""
    dropped: int
    """Evolved prompts that were accepted and left out."""


def mix(
    families: Sequence[Sequence[Prompt]],
    originals: Sequence[Prompt],
    *,
    size: int,
    rng: np.random.Generator,
    share: float = 0.8,
) -> Mixture:
    """Return `size` prompts, a `share` of them evolved.

    Args:
        families: the children of each seed.
        originals: the prompts that the rest is drawn from, evenly and without replacement.
        size: prompts wanted.
        rng: draws which prompts and their order.
        share: evolved prompts among all.

    Raises:
        ValueError: size is negative, or share outside [0, 1].
    """
    if size < 0 or not 0 <= share <= 1:
        raise ValueError(f"size {size} and share {share}: expected 0 or more, and 0 to 1")
    wanted = round(size * share)
    children = _by_turns(families, rng)
    new = {child.id for child in children}
    others = _distinct(originals[i] for i in rng.permutation(len(originals)))
    others = [prompt for prompt in others if prompt.id not in new]
    evolved = min(len(children), max(wanted, size - len(others)))
    kept = min(len(others), size - evolved)
    taken = [*children[:evolved], *others[:kept]]
    prompts = tuple(taken[i] for i in rng.permutation(len(taken)))
    return Mixture(prompts, evolved, kept, wanted, len(children) - evolved)


def _by_turns(families: Sequence[Sequence[Prompt]], rng: np.random.Generator) -> list[Prompt]:
    """Return all children, the first of every family, then the second: both in a drawn order."""
    families = [_distinct(family) for family in families]
    order = rng.permutation(len(families))
    shuffled = [[families[f][i] for i in rng.permutation(len(families[f]))] for f in order]
    turns = range(max(map(len, shuffled), default=0))
    return _distinct(family[turn] for turn in turns for family in shuffled if turn < len(family))


def _distinct(prompts: Iterable[Prompt]) -> list[Prompt]:
    return list({prompt.id: prompt for prompt in prompts}.values())
