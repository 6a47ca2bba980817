"""Which differences between two evaluations are shown first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from eva.types import Json

Difference: TypeAlias = Mapping[str, Json]
"""One of the `differences` of `eva.evals.compare.compare`."""

MAIN = ("reward", "prompt_strict", "instruction_strict", "relevance", "tokens", "truncated")
"""Values that are shown first, in this order."""

BY_LABEL = ("reward", "prompt_strict")
"""Those of them that are shown for subsets of the prompts, too."""

_HEADLINES = (
    ("reward", ""),
    ("reward", "unseen"),
    ("prompt_strict", ""),
    ("relevance", ""),
    ("tokens", ""),
)


class Sorted(NamedTuple):
    """All differences of a comparison."""

    main: list[Difference]
    kinds: list[Difference]
    """Parts of the reward, such as kinds of constraints."""
    rest: list[Difference]


def sorted_out(differences: Sequence[Difference]) -> Sorted:
    """Sort differences by what they are; an evaluation that has none of `MAIN` shows all first."""
    main = [
        d
        for value in MAIN
        for d in differences
        if d["value"] == value and (not d["label"] or value in BY_LABEL)
    ] or [d for d in differences if not d["label"]]
    kinds = [d for d in differences if d["value"].startswith("reward_") and not d["label"]]
    shown = {id(d) for d in (*main, *kinds)}
    return Sorted(main, kinds, [d for d in differences if id(d) not in shown])


def headlines(differences: Iterable[Difference]) -> list[Difference]:
    """Return the few differences that a summary speaks of."""
    by_key = {(d["value"], d["label"]): d for d in differences}
    return [by_key[key] for key in _HEADLINES if key in by_key]
