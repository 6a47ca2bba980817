"""Verifiable constraints: the language of prompts whose answers a program can check.

Read `kind` first: a kind is data and small pure functions, and its page shows how to add one.
`length`, `wording`, `lettering` and `layout` hold the kinds, `registry` names them, `composition`
puts them into words, `dressing` makes verifiable prompts of plain ones.
"""

from __future__ import annotations

from eva.constraints.composition import compose
from eva.constraints.dressing import dress, fitting, request
from eva.constraints.kind import Kind, both, choices, draws, level_of, nothing, share
from eva.constraints.phrasing import Phrasing
from eva.constraints.registry import (
    HELD_OUT,
    IF_NAMED,
    KINDS,
    Partition,
    compatible,
    conflict,
    find,
    meets,
    parse,
    partition,
    register,
)
from eva.constraints.topics import TOPICS

__all__ = [
    "HELD_OUT",
    "IF_NAMED",
    "KINDS",
    "TOPICS",
    "Kind",
    "Partition",
    "Phrasing",
    "both",
    "choices",
    "compatible",
    "compose",
    "conflict",
    "draws",
    "dress",
    "find",
    "fitting",
    "level_of",
    "meets",
    "nothing",
    "parse",
    "partition",
    "register",
    "request",
    "share",
]
