"""Ways to say a constraint, and how its arguments are put into words."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from eva.types import Json

if TYPE_CHECKING:
    import numpy as np

Form = Literal["do", "say", "tail"]

NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
"""Numbers that people write out."""

_PLURAL = "s"


@dataclass(frozen=True, slots=True)
class Phrasing:
    """A way to say a constraint, with its arguments in braces and no full stop."""

    form: Form
    """`do`: a positive imperative ("use ..."), fit to follow "make sure to"; `say`: a sentence
    of its own ("your answer must ..."); `tail`: what can follow or open a request ("in ...")."""
    template: str
    """`{s}` is the plural ending of its number or list."""

    def fields(self) -> frozenset[str]:
        """Return the arguments that it mentions."""
        found = (name for _, name, _, _ in string.Formatter().parse(self.template) if name)
        return frozenset(found) - {_PLURAL}

    def render(self, args: Mapping[str, Json], rng: np.random.Generator) -> str:
        """Return the phrase with its arguments put into words."""
        quote = '"' if rng.random() < 0.85 else "'"
        spelt = bool(rng.random() < 0.5)
        shown = {name: _show(value, quote=quote, spelt=spelt) for name, value in args.items()}
        return self.template.format(**shown, **{_PLURAL: _plural(args)})


def shown(args: Mapping[str, Json]) -> dict[str, Json]:
    """Return the arguments that a text must mention: all but the level."""
    return {name: value for name, value in args.items() if name != "level"}


def _show(value: Json, *, quote: str, spelt: bool) -> str:
    if isinstance(value, int):
        return NUMBER_WORDS[value] if spelt and value < len(NUMBER_WORDS) else str(value)
    if isinstance(value, str):
        # A quotation mark inside would end the quotation.
        mark = '"' if quote in value else quote
        return f"{mark}{value}{mark}"
    return listed([_show(item, quote=quote, spelt=spelt) for item in value])


def listed(items: Sequence[str]) -> str:
    """Join as people do.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join(filter(None, [", ".join(items[:-1]), items[-1]]))


def _plural(args: Mapping[str, Json]) -> str:
    numbers = [v if isinstance(v, int) else len(v) for v in args.values() if not isinstance(v, str)]
    return "" if numbers == [1] else _PLURAL
