"""Pairs of a chosen and a rejected answer, to train a reward model on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from eva.data.prompts import SetAside, by_reason, open_table
from eva.data.rows import Row, Table
from eva.data.turns import BadCell, prompt_turns, text, turns
from eva.errors import DataError
from eva.rng import Streams
from eva.types import Json, Message

PROMPT_COLUMNS = ("prompt", "messages", "conversations", "instruction", "question")
"""Where the prompt is looked for, in this order; without one it stands before both answers."""


@dataclass(frozen=True, slots=True)
class Preference:
    """A prompt and two answers to it."""

    messages: tuple[Message, ...]
    """The prompt; its last turn is a user's."""
    chosen: str
    rejected: str


@dataclass(frozen=True, slots=True)
class LoadedPreferences:
    """The preferences of one source."""

    source: str
    """What it was read from."""
    pairs: tuple[Preference, ...]
    set_aside: tuple[SetAside, ...] = ()
    """Every row that is no preference, in order."""

    @property
    def reasons(self) -> Mapping[str, int]:
        """Number of rows set aside, by reason."""
        return by_reason(self.set_aside)


def load_preferences(
    source: str,
    *,
    format: str | None = None,
    split: str | None = None,
    limit: int | None = None,
    shuffle: Streams | None = None,
) -> LoadedPreferences:
    """Read preferences from a file, a folder, a hub id or `packaged:preferences`.

    `chosen` and `rejected` are text, a turn, or a whole chat whose last turn is the answer. The
    prompt stands in a column of its own, or is what the two chats have in common.

    Args:
        source: where to read from.
        format: one of `eva.data.rows.FORMATS`; by default the file's ending says.
        split: the part of a data set to read; by default `train`.
        limit: at most so many pairs, counted after shuffling.
        shuffle: streams to shuffle with (`of("shuffle")`); by default the order of the source.

    Raises:
        ConfigError: there is no packaged set of that name.
        DataError: the source is broken as a whole, or no pair is left.
    """
    table = open_table(source, format=format, split=split)
    answers = [table.require(name) for name in ("chosen", "rejected")]
    prompt = next((name for name in PROMPT_COLUMNS if name in table.columns), None)
    pairs, set_aside = [], []
    for row in table.select(answers if prompt is None else [prompt, *answers]):
        try:
            pairs.append(_preference(row, prompt))
        except BadCell as bad:
            set_aside.append(SetAside(row.place, str(bad)))
    if not pairs:
        raise _none_left(table, set_aside)
    if shuffle is not None:
        pairs = [pairs[i] for i in shuffle.of("shuffle").permutation(len(pairs))]
    return LoadedPreferences(source, tuple(pairs[:limit]), tuple(set_aside))


def _preference(row: Row, column: str | None) -> Preference:
    before, chosen = _answer(row.fields.get("chosen"), "chosen")
    other, rejected = _answer(row.fields.get("rejected"), "rejected")
    if column is not None:
        messages = prompt_turns(row.fields.get(column))
    elif before and before == other and before[-1].role == "user":
        messages = before
    else:
        raise BadCell("no prompt: neither a column of its own nor shared by both answers")
    if chosen == rejected:
        raise BadCell("the chosen and the rejected answer are the same")
    return Preference(messages, chosen, rejected)


def _answer(value: Json, name: str) -> tuple[tuple[Message, ...], str]:
    """Return the turns before an answer, if they are there, and the answer."""
    try:
        if isinstance(value, str) or value is None:
            return (), text(value)
        *before, last = turns(value)
    except BadCell as bad:
        raise BadCell(f"{name} answer: {bad}") from bad
    if last.role != "assistant":
        raise BadCell(f"{name} answer ends with a turn of the {last.role}")
    return tuple(before), last.content


def _none_left(table: Table, set_aside: list[SetAside]) -> DataError:
    first = set_aside[0]
    return DataError(
        f"{table.label}: no preference left of {table.size} rows; the first: {first.place}: "
        f"{first.reason}. Expected a prompt column ({', '.join(PROMPT_COLUMNS)}) with chosen and "
        "rejected answers"
    )
