"""Puts a request and its constraints into words, in no fixed frame.

The request may carry a constraint itself ("in at most 30 words", before or after it, or joined by
"and"); the others stand in sentences of their own, before or after, alone or joined, or in a list.
A request of several sentences is left as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from eva.constraints.frames import (
    ASKS,
    CONNECTIVES,
    HEADERS,
    LEADS,
    OPENERS,
    QUESTION_WORDS,
    REPLIES,
    VERBS,
)
from eva.constraints.phrasing import Form, Phrasing, shown
from eva.constraints.registry import find
from eva.types import Check

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")

_LONGEST_REQUEST = 30
"""Words; a longer request is left alone, a constraint inside it would be lost."""


@dataclass(frozen=True, slots=True)
class _Request:
    """What can be done with the words of a request."""

    text: str
    core: str
    """Without its full stop or question mark."""
    imperative: bool
    question: bool

    @classmethod
    def of(cls, topic: str) -> _Request:
        """Return the request that a topic is."""
        text = topic.strip()
        core = re.sub(r"[.?!]$", "", text)
        plain = not re.search(r"[\n:;\"]|[.!?]\s", core) and len(core.split()) <= _LONGEST_REQUEST
        first = core.split(maxsplit=1)[0].lower() if core else ""
        return cls(
            text,
            core,
            imperative=plain and not text.endswith("?") and first in VERBS,
            question=plain and text.endswith("?") and first in QUESTION_WORDS,
        )

    @property
    def gap(self) -> str:
        """What separates it from other sentences."""
        if self.imperative or self.question:
            return " "
        long = "\n" in self.text or len(self.text) > 240
        return "\n\n" if long or not re.search(r"[.!?][\"']?$", self.text) else " "


def compose(topic: str, checks: Sequence[Check], rng: np.random.Generator) -> str:
    """Return a prompt that asks for `topic` and states every check.

    >>> import numpy as np
    >>> compose("Name a fruit.", [Check("lowercase")], np.random.default_rng(4))
    'Name a fruit without using any capital letters.'
    """
    request = _Request.of(topic)
    order = [checks[i] for i in rng.permutation(len(checks))]
    opening, rest = _opening(request, order, rng)
    if len(rest) > 1 and rng.random() < 0.12:
        items = "\n".join(f"- {_capital(_say(check, 'do', rng))}" for check in rest)
        return f"{opening}\n\n{_pick(HEADERS, rng)}\n{items}"
    told = _sentences(rest, rng)
    # A constraint before a request that already carries one would be read as part of the answer.
    if len(rest) == len(order) == 1 and rng.random() < 0.15:
        return f"{told}{request.gap}{opening}"
    return f"{opening}{request.gap}{told}" if told else opening


def _opening(
    request: _Request, checks: list[Check], rng: np.random.Generator
) -> tuple[str, list[Check]]:
    """Return the request, perhaps with the first check in it, and the checks still to be told."""
    plain, mark = request.core, "?" if request.question else "."
    if not (request.imperative or request.question):
        return request.text, checks
    if request.imperative and rng.random() < 0.3:
        ask, mark = _pick(ASKS, rng)
        plain = ask.format(_lower(request.core))
    if not checks or rng.random() < 0.4:
        return _closed(_capital(plain), mark), checks
    first, rest = checks[0], checks[1:]
    way = rng.random()
    has_tail = bool(_fitting(first, "tail"))
    if request.imperative and (way < 0.2 or not has_tail):
        return _closed(f"{_capital(plain)} and {_say(first, 'do', rng)}", mark), rest
    if not has_tail:
        return request.text, checks
    tail = _say(first, "tail", rng)
    if request.question:
        if rng.random() < 0.4:
            return _capital(_pick(LEADS, rng).format(tail)) + request.text, rest
        reply = _pick(REPLIES, rng).format(tail)
        return f"{request.text} {_closed(_capital(reply), '.')}", rest
    if way < 0.4 and plain == request.core:
        return _closed(f"{_capital(tail)}, {_lower(plain)}", mark), rest
    return _closed(f"{_capital(plain)} {tail}", mark), rest


def _sentences(checks: Sequence[Check], rng: np.random.Generator) -> str:
    """Return sentences that state the checks, one or two in each."""
    told: list[str] = []
    left = list(checks)
    while left:
        form: Form = "do" if rng.random() < 0.5 else "say"
        parts = [_say(left.pop(0), form, rng)]
        if left and rng.random() < 0.4:
            parts.append(_say(left.pop(0), form, rng))
        link = _pick(CONNECTIVES, rng) if told else ""
        start = link or _pick(OPENERS[form], rng)
        text = start + (" and " if form == "do" else ", and ").join(parts)
        told.append(_closed(_capital(text), "."))
    return " ".join(told)


def _fitting(check: Check, form: Form) -> list[Phrasing]:
    args = shown(check.args).keys()
    phrasings = find(check.kind).phrasings
    return [p for p in phrasings if p.form == form and p.fields() == args]


def _say(check: Check, form: Form, rng: np.random.Generator) -> str:
    """Return the check in words, in a form that it has."""
    return _pick(_fitting(check, form), rng).render(shown(check.args), rng)


def _pick(pool: Sequence[T], rng: np.random.Generator) -> T:
    return pool[int(rng.integers(len(pool)))]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _closed(text: str, mark: str) -> str:
    """Return a sentence with its end mark, unless it ends with one, perhaps in quotes."""
    if re.search(r"[.!?][\"']?$", text) and mark == ".":
        return text
    return text + mark
