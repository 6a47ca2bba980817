"""The kinds by name, which of them are trained, and what may stand together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from eva.constraints import division, layout, length, lettering, wording
from eva.constraints.kind import Kind
from eva.constraints.phrasing import shown
from eva.errors import ConfigError, DataError, unknown_name
from eva.types import Check, Json

KINDS: dict[str, Kind] = {
    "min_words": length.MIN_WORDS,
    "max_words": length.MAX_WORDS,
    "word_range": length.WORD_RANGE,
    "sentences": length.SENTENCES,
    "paragraphs": length.PARAGRAPHS,
    "questions": length.QUESTIONS,
    "keywords": wording.KEYWORDS,
    "forbidden": wording.FORBIDDEN,
    "repeat": wording.REPEAT,
    "starts_with": wording.STARTS_WITH,
    "ends_with": wording.ENDS_WITH,
    "lowercase": lettering.LOWERCASE,
    "uppercase": lettering.UPPERCASE,
    "capitals": lettering.CAPITALS,
    "commas": lettering.COMMAS,
    "letter": lettering.LETTER,
    "bullets": layout.BULLETS,
    "numbered": layout.NUMBERED,
    "title": layout.TITLE,
    "highlights": layout.HIGHLIGHTS,
    "placeholders": layout.PLACEHOLDERS,
    "quoted": layout.QUOTED,
    "postscript": layout.POSTSCRIPT,
    "json": layout.JSON,
    "sections": division.SECTIONS,
    "answers": division.ANSWERS,
    "short_words": wording.SHORT_WORDS,
    "numbers": wording.NUMBERS,
}
"""Every kind of constraint that a config or a prompt can name."""

HELD_OUT = ("numbered", "repeat", "capitals", "postscript", "placeholders")
"""Kinds that by default no prompt of a training set has: progress on them is transfer."""

IF_NAMED = ("sections", "answers", "short_words", "numbers")
"""Kinds that are trained on only where they are named.

They joined later, and a config that names no kinds has to draw what it always drew.
"""


class Partition(NamedTuple):
    """Kinds to train on, and kinds kept for evaluation only."""

    trained: tuple[str, ...]
    held_out: tuple[str, ...]


def find(name: str) -> Kind:
    """Return a kind by name.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in KINDS:
        raise ConfigError(unknown_name("kind of constraint", name, KINDS))
    return KINDS[name]


def register(kind: Kind) -> None:
    """Add a kind of your own; `eva.constraints.kind` shows one.

    Raises:
        ConfigError: the name is taken, or the kind lacks levels or a `do` and a `say` phrasing.
    """
    if kind.name in KINDS:
        raise ConfigError(f"constraint kind {kind.name!r} exists already: choose another name")
    forms = {phrasing.form for phrasing in kind.phrasings}
    if not kind.levels or not {"do", "say"} <= forms:
        raise ConfigError(
            f"constraint kind {kind.name!r} has {len(kind.levels)} levels and phrasings of form "
            f"{sorted(forms)}: it needs a level, and phrasings of form 'do' and 'say'"
        )
    KINDS[kind.name] = kind


def partition(held_out: Sequence[str] = HELD_OUT) -> Partition:
    """Return the kinds to train on by default, all but those of `IF_NAMED`, and those held out.

    Raises:
        ConfigError: a name is unknown, or no kind is left to train on.
    """
    for name in held_out:
        find(name)
    trained = tuple(name for name in KINDS if name not in {*held_out, *IF_NAMED})
    if not trained:
        raise ConfigError("every kind of constraint is held out: leave some to train on")
    return Partition(trained, tuple(held_out))


def conflict(first: Check, second: Check) -> str | None:
    """Return why no answer can sensibly meet both checks, or None.

    >>> conflict(Check("min_words", {"words": 200}), Check("max_words", {"words": 50}))
    'min_words needs at least 200 words, max_words allows 50'
    """
    if first.kind == second.kind:
        return f"two constraints of kind {first.kind}"
    for a, b in ((first, second), (second, first)):
        one, other = find(a.kind), find(b.kind)
        if b.kind in one.clashes:
            return f"{a.kind} and {b.kind} exclude each other"
        needs, allows = one.least_words(a.args), other.most_words(b.args)
        if needs > allows:
            return f"{a.kind} needs at least {needs} words, {b.kind} allows {allows:g}"
        for text in one.texts(a.args):
            if other.bars(b.args, text):
                return f"{a.kind} asks for {text!r}, {b.kind} rules it out"
    return None


def compatible(check: Check, others: Iterable[Check]) -> bool:
    """Whether a check conflicts with none of the others."""
    return all(conflict(check, other) is None for other in others)


def meets(text: str, check: Check) -> bool:
    """Whether an answer meets a check; an empty one meets none.

    Raises:
        ConfigError: the check is of an unknown kind.
    """
    kind = find(check.kind)
    return bool(text.strip()) and kind.check(text, check.args)


def parse(row: Mapping[str, Json], *, where: str = "checks") -> Check:
    """Return the check that `{"kind": ..., "args": {...}}` of a data set describes.

    Raises:
        DataError: kind or arguments are missing, unknown or of the wrong type.
    """
    name, args = row.get("kind"), row.get("args", {})
    if not isinstance(name, str) or name not in KINDS:
        raise DataError(f"{where}.kind: {unknown_name('kind of constraint', str(name), KINDS)}")
    if not isinstance(args, Mapping):
        raise DataError(f"{where}.args: got {args!r}, expected an object")
    kind = KINDS[name]
    for key, value in args.items():
        wanted = {"level": int, **kind.args}.get(key)
        if wanted is None:
            raise DataError(f"{where}.args: {unknown_name(f'argument of {name}', key, kind.args)}")
        if not _is(value, wanted):
            raise DataError(f"{where}.args.{key}: got {value!r}, expected {wanted.__name__}")
    if frozenset(shown(args)) not in {phrasing.fields() for phrasing in kind.phrasings}:
        raise DataError(f"{where}.args: {name} needs {sorted(kind.args)}, got {sorted(args)}")
    return Check(name, dict(args))


def _is(value: Json, wanted: type) -> bool:
    if wanted is list:
        return isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)
    return isinstance(value, wanted) and not isinstance(value, bool)
