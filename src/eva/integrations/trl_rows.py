"""Rows of a trainer's data set as prompts, and prompts as rows of it.

A row keeps the columns of the data set. What changes with the prompt changes in the row: `prompt`,
`checks` and `topic`; a column that a child does not have is None.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast, get_args

from eva.constraints import HELD_OUT, dress, parse, partition
from eva.errors import DataError
from eva.rng import Streams
from eva.types import Check, Json, Message, Prompt, Role

SLOT = "eva_slot"
"""Column that says which place of the schedule a row is."""
ID = "eva_prompt"
"""Column of the prompt's id in the population."""
OWN = (SLOT, ID)

Row: TypeAlias = dict[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """Turns plain prompts into verifiable ones, for `constraints_met` to reward."""

    kinds: tuple[str, ...] = ()
    """Kinds to draw from; empty means all but `eva.constraints.HELD_OUT`."""
    count: tuple[int, ...] = (1,)
    """Constraints per prompt, drawn uniformly from these numbers."""
    level: int = 1
    """Highest difficulty level at the start."""
    max_checks: int = 3
    """Most constraints that evolving may reach."""
    max_words: int = 40
    """Longest answer, in words, that a constraint may ask for."""

    @property
    def pool(self) -> tuple[str, ...]:
        """The kinds, by name."""
        return self.kinds or partition(HELD_OUT).trained

    def dressed(self, prompts: Iterable[Prompt], streams: Streams) -> list[Prompt]:
        """Put constraints on prompts that have none.

        Raises:
            ConfigError: a kind is unknown, or too few go together.
        """
        return [prompt if prompt.checks else self._dress(prompt, streams) for prompt in prompts]

    def _dress(self, prompt: Prompt, streams: Streams) -> Prompt:
        rng = streams.of("constraints", prompt.id)
        count = int(rng.choice(self.count))
        level = int(rng.integers(1, self.level + 1))
        return dress(prompt, rng, kinds=self.pool, count=count, level=level, budget=self.max_words)


@dataclass(frozen=True, slots=True)
class Format:
    """The form of a data set's rows, which every row of the schedule has, too."""

    columns: tuple[str, ...] = ()
    """Columns beside the prompt, its checks and its topic."""
    chat: bool = False
    """Whether prompts are lists of messages, or plain texts."""
    listed: bool = False
    """Whether checks are lists of objects, or JSON texts."""
    topic: bool = False
    """Whether there is a column of topics."""

    @classmethod
    def of(cls, first: Mapping[str, Json]) -> Format:
        """Return the form of a row.

        Raises:
            DataError: there is no `prompt`, or a column has a name that eva needs.
        """
        if "prompt" not in first:
            raise DataError(f"train_dataset: columns {sorted(first)}, expected one named 'prompt'")
        taken = sorted(set(OWN) & set(first))
        if taken:
            raise DataError(f"train_dataset: column {taken[0]!r} is eva's own name: rename it")
        topic = "checks" in first and "topic" in first
        known = {"prompt", "checks"} | ({"topic"} if topic else set())
        return cls(
            columns=tuple(name for name in first if name not in known),
            chat=not isinstance(first["prompt"], str),
            listed=isinstance(first.get("checks"), list),
            topic=topic,
        )

    def prompt(self, row: Mapping[str, Json], *, where: str) -> Prompt:
        """Return the prompt of a row.

        Raises:
            DataError: it is no prompt, or a column holds what JSON cannot.
        """
        columns = {name: row[name] for name in self.columns}
        for name, value in columns.items():
            _refuse_foreign(value, f"{where}, column {name!r}")
        return Prompt(
            _messages(row["prompt"], f"{where}, prompt"),
            checks=checks_of(row.get("checks"), where=f"{where}, checks"),
            topic=(row["topic"] or "") if self.topic else "",
            columns=columns,
        )

    def row(self, prompt: Prompt, slot: int) -> Row:
        """Return a prompt as a row; the slot is its place in the schedule."""
        turns = [{"role": m.role, "content": m.content} for m in prompt.messages]
        checks = [{"kind": c.kind, "args": dict(c.args)} for c in prompt.checks]
        return {
            "prompt": turns if self.chat else prompt.text,
            **{name: prompt.columns.get(name) for name in self.columns},
            "checks": checks if self.listed else json.dumps(checks, ensure_ascii=False),
            **({"topic": prompt.topic} if self.topic else {}),
            SLOT: slot,
            ID: prompt.id,
        }


def read(rows: Iterable[Mapping[str, Json]]) -> tuple[list[Prompt], Format]:
    """Return the prompts of a data set, each once, in order, and the form of its rows.

    Raises:
        DataError: a row holds no prompt; the message says which.
    """
    found: dict[str, Prompt] = {}
    form: Format | None = None
    for number, row in enumerate(rows):
        form = form or Format.of(row)
        prompt = form.prompt(row, where=f"train_dataset, row {number}")
        found.setdefault(prompt.id, prompt)
    if form is None:
        raise DataError("train_dataset: no rows; expected at least one")
    return list(found.values()), form


def checks_of(value: Json, *, where: str = "checks") -> tuple[Check, ...]:
    """Return the checks that a column holds: a list of objects, the same as JSON text, or None.

    Raises:
        DataError: it holds something else, or an unknown kind of constraint.
    """
    listed = value
    if isinstance(value, str):
        try:
            listed = json.loads(value) if value else []
        except json.JSONDecodeError as error:
            raise DataError(f"{where}: not JSON: {error}; got {value!r}") from error
    if listed is None:
        return ()
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise DataError(
            f"{where}: got {value!r}, expected a list of objects such as "
            '{"kind": ..., "args": {...}}, or JSON text of one; rename a column of other meaning'
        )
    return tuple(parse(_without_none(one), where=where) for one in listed)


def said(prompt: Json) -> str:
    """Return the text of a prompt's or completion's last turn, whatever its format."""
    if isinstance(prompt, str):
        return prompt
    return str(prompt[-1]["content"]) if prompt else ""


def _without_none(check: Mapping[str, Json]) -> dict[str, Json]:
    # a table gives every check of a column the arguments of all of them, as None
    args = {name: value for name, value in (check.get("args") or {}).items() if value is not None}
    return {"kind": check.get("kind"), "args": args}


def _messages(value: Json, where: str) -> tuple[Message, ...]:
    turns = [{"role": "user", "content": value}] if isinstance(value, str) else value
    if not isinstance(turns, Sequence) or not turns:
        raise DataError(f"{where}: got {value!r}, expected text or a list of messages")
    messages = tuple(_message(turn, f"{where}, message {i}") for i, turn in enumerate(turns))
    if messages[-1].role != "user":
        raise DataError(
            f"{where}: ends with a turn of the {messages[-1].role}, expected the user's: "
            "the last turn is the one that evolves"
        )
    return messages


def _message(turn: Any, where: str) -> Message:
    if not isinstance(turn, Mapping):
        raise DataError(f"{where}: got {turn!r}, expected an object with role and content")
    known = {name: value for name, value in turn.items() if value is not None}
    role, content = known.get("role"), known.get("content")
    if role not in get_args(Role) or not isinstance(content, str) or len(known) > 2:
        raise DataError(
            f"{where}: got {dict(known)!r}, expected a role of {', '.join(get_args(Role))} and "
            "text as content, nothing else: tool calls and images are not evolved"
        )
    return Message(cast("Role", role), content)


def _refuse_foreign(value: Json, where: str) -> None:
    try:
        json.dumps(value)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{where}: {error}; the population keeps columns as JSON: remove the column, or "
            "store a path or a number instead"
        ) from error
