"""A kind of constraint: data and small pure functions, nothing else.

`eva.constraints.KINDS` holds the kinds by name. To add one, make a `Kind` and register it:

>>> from eva.constraints import Kind, KINDS, draws, register
>>> from eva.constraints.phrasing import Phrasing
>>> hashtags = Kind(
...     name="hashtags",
...     args={"count": int},
...     phrasings=(
...         Phrasing("do", "add {count} hashtag{s}"),
...         Phrasing("say", "there must be {count} hashtag{s} in your answer"),
...     ),
...     levels=(draws(count=(1, 2)), draws(count=(3, 5))),
...     check=lambda text, args: text.count("#") >= args["count"],
... )
>>> register(hashtags)
>>> KINDS.pop("hashtags").check("#rain and #sun", {"count": 2})
True
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from eva.constraints.phrasing import Phrasing
from eva.types import Check, Json

if TYPE_CHECKING:
    import numpy as np

Args: TypeAlias = Mapping[str, Json]
"""The arguments of a check, with or without its `level`."""

Draw: TypeAlias = "Callable[[np.random.Generator, int], dict[str, Json]]"
"""Draws arguments, given how many words an answer may have."""


def _no_words(args: Args) -> int:
    return 0


def _any_words(args: Args) -> float:
    return math.inf


def _no_texts(args: Args) -> tuple[str, ...]:
    return ()


def _bars_nothing(args: Args, text: str) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of instruction-following constraint."""

    name: str
    """How checks, configs and reports name it."""
    args: Mapping[str, type]
    """Names and types (int, str, list of str) of all arguments that a check of it may have."""
    phrasings: tuple[Phrasing, ...]
    """Ways to say it. For any arguments at least one `do` and one `say` must fit."""
    levels: tuple[Draw, ...]
    """Samplers of arguments, the easiest first: level 1 is `levels[0]`."""
    check: Callable[[str, Args], bool]
    """Whether an answer, never an empty one, meets the constraint."""
    clashes: frozenset[str] = frozenset()
    """Kinds that cannot hold together with it; one side naming the other is enough."""
    least_words: Callable[[Args], int] = _no_words
    """The fewest words that an answer which meets it can sensibly have."""
    most_words: Callable[[Args], float] = _any_words
    """The most words that it allows."""
    texts: Callable[[Args], tuple[str, ...]] = _no_texts
    """What the answer must contain word for word."""
    bars: Callable[[Args, str], bool] = _bars_nothing
    """Whether a text that another constraint asks for would break this one."""

    def draw(self, level: int, rng: np.random.Generator, *, budget: int) -> Check:
        """Return a check of the given level for answers of at most about `budget` words.

        Raises:
            ValueError: the kind has no such level.
        """
        if not 1 <= level <= len(self.levels):
            raise ValueError(f"{self.name} has levels 1 to {len(self.levels)}, not {level}")
        return Check(self.name, {"level": level, **self.levels[level - 1](rng, budget)})


def level_of(check: Check) -> int:
    """Return the level of a check, 1 where it states none."""
    return int(check.args.get("level", 1))


def draws(**ranges: tuple[int, int]) -> Draw:
    """Return a sampler of integers, each uniform in its range, both ends included.

    >>> import numpy as np
    >>> draws(count=(3, 3))(np.random.default_rng(0), 40)
    {'count': 3}
    """

    def draw(rng: np.random.Generator, budget: int) -> dict[str, Json]:
        return {name: int(rng.integers(a, b + 1)) for name, (a, b) in ranges.items()}

    return draw


def choices(name: str, pool: tuple[str, ...], *, count: int | None = None) -> Draw:
    """Return a sampler of one text of a pool, or of a list of `count` distinct ones."""

    def draw(rng: np.random.Generator, budget: int) -> dict[str, Json]:
        if count is None:
            return {name: pool[rng.integers(len(pool))]}
        return {name: [pool[i] for i in rng.choice(len(pool), count, replace=False)]}

    return draw


def share(name: str, low: float, high: float) -> Draw:
    """Return a sampler of a whole share of the word budget, in steps of 5 words, at least 5."""

    def draw(rng: np.random.Generator, budget: int) -> dict[str, Json]:
        words = budget * rng.uniform(low, high)
        # People ask for round numbers of words.
        return {name: max(5, 5 * round(words / 5))}

    return draw


def nothing(rng: np.random.Generator, budget: int) -> dict[str, Json]:
    """Draw no arguments."""
    return {}


def both(*parts: Draw) -> Draw:
    """Return a sampler of the arguments of several."""

    def draw(rng: np.random.Generator, budget: int) -> dict[str, Json]:
        return {name: value for part in parts for name, value in part(rng, budget).items()}

    return draw
