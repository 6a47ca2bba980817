"""Prompts from outside: files and data sets in, `Prompt`s out, with a list of those set aside."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from eva.data.assets import PREFIX, packaged, resolve
from eva.data.rows import Row, Table, read, type_name
from eva.data.turns import BadCell, prompt_turns, text
from eva.errors import ConfigError, DataError
from eva.rng import Streams
from eva.types import Check, Json, Prompt

COLUMNS = (
    "prompt",
    "messages",
    "instruction",
    "question",
    "query",
    "conversations",
    "conversation",
    "problem",
    "input",
    "text",
)
"""Where prompts are looked for when no column is named, in this order."""


@dataclass(frozen=True, slots=True)
class SetAside:
    """A row that is no prompt, and why."""

    place: str
    """`line 3` of a text file (from 1), `row 3` of a table (from 0)."""
    reason: str


def by_reason(set_aside: Sequence[SetAside]) -> Mapping[str, int]:
    """Count rows by reason, without the particulars that follow a colon; most frequent first."""
    return dict(Counter(row.reason.partition(":")[0] for row in set_aside).most_common())


@dataclass(frozen=True, slots=True)
class LoadedPrompts:
    """The prompts of one source."""

    source: str
    """What it was read from."""
    column: str
    """Where the prompts stood; `instruction + input` if two columns were joined."""
    prompts: tuple[Prompt, ...]
    set_aside: tuple[SetAside, ...] = ()
    """Every row that is no prompt, in order; a limit does not shorten it."""

    @property
    def reasons(self) -> Mapping[str, int]:
        """Number of rows set aside, by reason."""
        return by_reason(self.set_aside)


@dataclass(slots=True)
class _Reading:
    """What has been read so far."""

    prompts: dict[str, Prompt] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    set_aside: list[SetAside] = field(default_factory=list)
    wrong_types: Counter[str] = field(default_factory=Counter)


def load_prompts(
    source: str,
    *,
    column: str | None = None,
    keep: Sequence[str] = (),
    topic: str | None = None,
    format: str | None = None,
    split: str | None = None,
    max_chars: int | None = None,
    limit: int | None = None,
    shuffle: Streams | None = None,
) -> LoadedPrompts:
    """Read prompts from a file, a folder, a hub id or `packaged:<name>`.

    A row is set aside, counted and listed when its prompt is missing, empty, of the wrong type, too
    long, or the same as an earlier one (messages and checks). Of chat messages the last user turn
    is what evolves: what stands before it is kept, what follows it is dropped. Columns `checks`,
    `topic` and `columns`, as `write_prompts` writes them, are read where they are; lineage is not,
    since the parents belong to another run.

    Args:
        source: where to read from.
        column: text, or chat messages; by default the first of `COLUMNS` that is there, and for
            rows with `instruction` and `input` both joined, a blank line between.
        keep: further columns to keep in `Prompt.columns`; of a packaged set its own by default.
        topic: column of topic labels; by default `topic`, where it is there.
        format: one of `eva.data.rows.FORMATS`; by default the file's ending says.
        split: the part of a data set to read; by default `train`.
        max_chars: longest last user turn, in characters.
        limit: at most so many prompts, counted after shuffling.
        shuffle: streams to shuffle with (`of("shuffle")`); by default the order of the source.

    Raises:
        ConfigError: there is no packaged set of that name.
        DataError: the source is broken as a whole, or no prompt is left.
    """
    if source.startswith(PREFIX) and not keep:
        keep = packaged(source).keep
    table = open_table(source, format=format, split=split)
    found = _cells(table, column)
    extra = [table.require(name) for name in keep]
    label = "topic" if topic is None else table.require(topic)
    own = [name for name in ("checks", label, "columns") if name in table.columns]
    reading = _Reading()
    for row in table.select([*dict.fromkeys([*found, *extra, *own])]):
        try:
            prompt = prompt_of(row, found, extra, label=label)
            _take(reading, row, prompt, max_chars=max_chars)
        except BadCell as bad:
            reading.set_aside.append(SetAside(row.place, str(bad)))
            reading.wrong_types[str(bad)] += bad.wrong_type
    shown = " + ".join(found)
    _refuse_none(table, shown, reading)
    prompts = list(reading.prompts.values())
    if shuffle is not None:
        prompts = [prompts[i] for i in shuffle.of("shuffle").permutation(len(prompts))]
    return LoadedPrompts(source, shown, tuple(prompts[:limit]), tuple(reading.set_aside))


def open_table(source: str, *, format: str | None = None, split: str | None = None) -> Table:
    """Open what holds prompts or preferences: as `read`, and `packaged:<name>` too.

    Raises:
        ConfigError: there is no packaged data set of that name.
        DataError: the source is broken as a whole.
    """
    if source.startswith(PREFIX) and (role := packaged(source).role) in {"model", "encoder"}:
        raise ConfigError(f"{source} is packaged as a {role}; expected prompts or preferences")
    table = read(resolve(source), format=format, split=split)
    return replace(table, label=source) if source.startswith(PREFIX) else table


def _cells(table: Table, column: str | None) -> list[str]:
    """Return the column that holds the prompts, or the two that are joined."""
    if column is not None:
        return [table.require(column)]
    found = next((name for name in COLUMNS if name in table.columns), None)
    if found is None:
        raise DataError(
            f"{table.label}: no column of prompts; got {', '.join(table.columns)}, expected one of "
            f"{', '.join(COLUMNS)}, or name it (column = ...)"
        )
    return [found, "input"] if found == "instruction" and "input" in table.columns else [found]


def prompt_of(
    row: Row, found: Sequence[str], extra: Sequence[str] = (), *, label: str = "topic"
) -> Prompt:
    """Return the prompt in a row, without lineage; `found` are the columns that hold its text.

    Raises:
        BadCell: a cell of it cannot be read.
    """
    value = row.fields.get(found[0])
    if value is None:
        raise BadCell(f"no {found[0]}")
    further = [row.fields.get(name) for name in found[1:]]
    if further and isinstance(value, str):
        value = "\n\n".join([value, *(text(more) for more in further if more)])
    return Prompt(
        prompt_turns(value),
        checks=tuple(map(_check, _list(row.fields.get("checks"), "checks"))),
        topic=_topic(row.fields.get(label)),
        columns=_columns(row.fields.get("columns")) | {n: row.fields.get(n) for n in extra},
    )


def _list(value: Json, name: str) -> list[Json]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadCell(f"{name}: got {type_name(value)}, expected a list", wrong_type=True)
    return value


def _check(value: Json) -> Check:
    args = _parsed(value.get("args", {}), "checks: args") if isinstance(value, dict) else None
    if not isinstance(args, dict) or not isinstance(value.get("kind"), str):
        raise BadCell('checks: expected {"kind": text, "args": object}', wrong_type=True)
    return Check(value["kind"], args)


def _topic(value: Json) -> str:
    # classes are often numbered
    numbered = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if numbered or isinstance(value, str) else ""


def _columns(value: Json) -> dict[str, Json]:
    columns = {} if value is None else _parsed(value, "columns")
    if not isinstance(columns, dict):
        raise BadCell(f"columns: got {type_name(columns)}, expected an object", wrong_type=True)
    return columns


def _parsed(value: Json, name: str) -> Json:
    """Return a free object; Parquet has none, and holds it as JSON in a text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise BadCell(f"{name} is not JSON, {error}") from error


def _take(reading: _Reading, row: Row, prompt: Prompt, *, max_chars: int | None) -> None:
    if max_chars is not None and len(prompt.text) > max_chars:
        raise BadCell(f"too long: {len(prompt.text)} characters, at most {max_chars}")
    if prompt.id in reading.prompts:
        raise BadCell(f"duplicate: the same as {reading.places[prompt.id]}")
    reading.prompts[prompt.id] = prompt
    reading.places[prompt.id] = row.place


def _refuse_none(table: Table, column: str, reading: _Reading) -> None:
    """Raise if no prompt is left, saying what stood there instead."""
    if reading.prompts:
        return
    if reading.wrong_types.total() == table.size:
        got, _ = reading.wrong_types.most_common(1)[0]
        raise DataError(f"{table.label}, column {column!r}: {got} (so in all {table.size} rows)")
    first = reading.set_aside[0]
    reasons = by_reason(reading.set_aside)
    counts = ", ".join(f"{count} x {reason}" for reason, count in reasons.items())
    raise DataError(
        f"{table.label}, column {column!r}: no prompt left of {table.size} rows ({counts}); "
        f"the first: {first.place}: {first.reason}"
    )


def as_row(prompt: Prompt) -> dict[str, Json]:
    """Return a prompt as a row of JSONL, lineage included; empty fields are left out.

    >>> as_row(Prompt.of("Name a colour."))["prompt"]
    'Name a colour.'
    """
    single = len(prompt.messages) == 1
    chat = [{"role": m.role, "content": m.content} for m in prompt.messages]
    row: dict[str, Json] = {
        "prompt": prompt.text if single else chat,
        "checks": [{"kind": check.kind, "args": dict(check.args)} for check in prompt.checks],
        "topic": prompt.topic,
        "id": prompt.id,
        "parents": list(prompt.parents),
        "operator": prompt.operator,
        "born": prompt.born,
        "columns": dict(prompt.columns),
    }
    return {name: value for name, value in row.items() if value not in ([], "", {})}


def write_prompts(path: Path, prompts: Iterable[Prompt]) -> None:
    """Write prompts as JSONL, one `as_row` a line."""
    dump: Callable[[Json], str] = json.JSONEncoder(ensure_ascii=False).encode
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(dump(as_row(prompt)) + "\n" for prompt in prompts)
