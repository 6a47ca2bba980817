"""Rows to Parquet and back, exactly: what is read equals, bit for bit, what was in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from eva.comparisons import Comparisons
from eva.errors import DataError
from eva.protocols import R
from eva.runs import schemas
from eva.runs.durable import replace_bytes
from eva.types import (
    Check,
    Evolution,
    Example,
    Finish,
    Group,
    Json,
    Message,
    Prompt,
    Refusal,
    Response,
    Role,
    Score,
    ScoredGroup,
    Step,
)


def encode(rows: Sequence[R], kind: type[R]) -> pa.Table:
    """Return rows as a table with the columns of their kind."""
    codec = _codec(kind)
    notes = {"eva.rows": codec.name, "eva.schema": str(schemas.VERSION)}
    flat = [codec.flatten(row) for row in rows]
    return pa.Table.from_pylist(flat, schema=codec.schema.with_metadata(notes))


def decode(table: pa.Table, kind: type[R], *, file: str = "table") -> list[R]:
    """Return the rows of a table; `file` is how errors name it.

    Raises:
        DataError: naming file and column, or file and row, what was got and what was expected.
    """
    codec = _codec(kind)
    written = int((table.schema.metadata or {}).get(b"eva.schema", schemas.VERSION))
    if written > schemas.VERSION:
        raise DataError(
            f"{file}: written with version {written} of the columns, "
            f"this eva knows up to {schemas.VERSION}; update eva"
        )
    schemas.check_table(table, codec.schema, file=file)
    rows: list[R] = []
    for index, flat in enumerate(table.to_pylist()):
        try:
            rows.append(codec.build(flat))
        except ValueError as error:
            raise DataError(f"{file}: row {index}: {error}") from error
    return rows


def to_bytes(table: pa.Table) -> bytes:
    """Return a table as the content of a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def from_bytes(data: bytes) -> pa.Table:
    """Return the table of a Parquet file's content."""
    # threads of Arrow's may hold the data beyond the call, and let go of it as the process exits:
    # they need the interpreter for that, and where it is gone they abort the process
    return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)


def write(path: Path, rows: Sequence[R], *, kind: type[R]) -> None:
    """Write rows to a Parquet file, which appears whole or not at all."""
    replace_bytes(path, to_bytes(encode(rows, kind)))


def read(path: Path, *, kind: type[R]) -> list[R]:
    """Return the rows of a Parquet file, or of the Parquet files of a folder in order of name.

    Raises:
        DataError: nothing is there, it is not Parquet, or lacks a column of its kind.
    """
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path}: got a folder without Parquet files, expected *.parquet")
    rows: list[R] = []
    for file in files:
        try:
            table = from_bytes(file.read_bytes())
        except FileNotFoundError as error:
            raise DataError(f"{file}: no such file, expected Parquet") from error
        except pa.ArrowInvalid as error:
            raise DataError(f"{file}: not a whole Parquet file: {error}") from error
        rows += decode(table, kind, file=str(file))
    return rows


class _Codec(NamedTuple):
    name: str
    schema: pa.Schema
    flatten: Callable[[Any], dict[str, Any]]
    build: Callable[[dict[str, Any]], Any]


def _codec(kind: type) -> _Codec:
    return _CODECS[Mapping if issubclass(kind, Mapping) else kind]


def _text(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)


def _one_of(names: Sequence[str], name: str) -> Any:
    if name not in names:
        raise ValueError(f"got {name!r}, expected one of {', '.join(names)}")
    return name


def _present(flat: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in flat.items() if value is not None}


def flatten_prompt(prompt: Prompt) -> dict[str, Any]:
    """Return a prompt's columns; free-form ones as JSON text."""
    return {
        "id": prompt.id,
        "messages": [{"role": m.role, "content": m.content} for m in prompt.messages],
        "checks": [{"kind": c.kind, "args": _text(dict(c.args))} for c in prompt.checks],
        "topic": prompt.topic,
        "parents": list(prompt.parents),
        "operator": prompt.operator,
        "born": prompt.born,
        "columns": _text(dict(prompt.columns)),
    }


def build_prompt(flat: Mapping[str, Any]) -> Prompt:
    """Return the prompt of such columns.

    Raises:
        ValueError: they are not a prompt's.
    """
    known = _present(flat)
    roles = get_args(Role)
    return Prompt(
        tuple(Message(_one_of(roles, m["role"]), m["content"]) for m in known["messages"]),
        checks=tuple(Check(c["kind"], json.loads(c["args"])) for c in known.get("checks", ())),
        topic=known.get("topic", ""),
        parents=tuple(known.get("parents", ())),
        operator=known.get("operator", "human"),
        born=known.get("born", 0),
        columns=json.loads(known.get("columns", "{}")),
        id=known.get("id", ""),
    )


def _flatten_response(response: Response) -> dict[str, Any]:
    return {
        "text": response.text,
        "token_ids": response.token_ids,
        "logprobs": response.logprobs,
        "finish": response.finish,
        "counted": response.counted,
    }


def _build_response(flat: Mapping[str, Any]) -> Response:
    finish = _one_of(get_args(Finish), flat["finish"])
    logprobs = tuple(map(float, flat.get("logprobs") or ()))
    return Response(flat["text"], tuple(flat["token_ids"]), logprobs, finish, flat.get("counted"))


def _flatten_group(group: Group) -> dict[str, Any]:
    return {
        "prompt": flatten_prompt(group.prompt),
        "prompt_ids": group.prompt_ids,
        "responses": [_flatten_response(response) for response in group.responses],
        "policy": group.policy,
    }


def _build_group(flat: Mapping[str, Any]) -> Group:
    responses = tuple(_build_response(response) for response in flat["responses"])
    prompt = build_prompt(flat["prompt"])
    return Group(prompt, tuple(flat["prompt_ids"]), responses, flat["policy"])


def _flatten_score(score: Score) -> dict[str, Any]:
    # An error's words may hold what no encoding takes; they are for the eye only.
    detail = score.detail.encode("utf-8", "replace").decode("utf-8")
    return {
        "reward": score.reward,
        "cause": score.cause,
        "detail": detail,
        "parts": list(score.parts.items()),
        "members": score.members,
    }


def _build_score(flat: Mapping[str, Any]) -> Score:
    reward = None if flat["reward"] is None else float(flat["reward"])
    parts = {name: float(value) for name, value in flat.get("parts") or ()}
    members = tuple(map(float, flat.get("members") or ()))
    return Score(reward, flat.get("cause") or "", flat.get("detail") or "", parts, members)


def _flatten_scored(scored: ScoredGroup) -> dict[str, Any]:
    scores, compared = [_flatten_score(score) for score in scored.scores], scored.compared
    return {
        **_flatten_group(scored.group),
        "scores": scores,
        "compared": None
        if compared is None
        else {"first": compared.first, "failures": list(compared.failures.items())},
    }


def _build_scored(flat: Mapping[str, Any]) -> ScoredGroup:
    scores = tuple(_build_score(score) for score in flat["scores"])
    return ScoredGroup(_build_group(flat), scores, _build_comparisons(flat.get("compared")))


def _build_comparisons(flat: Mapping[str, Any] | None) -> Comparisons | None:
    if flat is None:
        return None
    first = tuple(tuple(None if p is None else float(p) for p in row) for row in flat["first"])
    return Comparisons(first, {cause: int(n) for cause, n in flat.get("failures") or ()})


def _flatten_evolution(evolution: Evolution) -> dict[str, Any]:
    return {
        "parent_id": evolution.parent_id,
        "children": [flatten_prompt(child) for child in evolution.children],
        "refusals": [
            {name: getattr(refusal, name) for name in schemas.REFUSAL.names}
            for refusal in evolution.refusals
        ],
        "generated_tokens": evolution.generated_tokens,
        "spent": dict(evolution.spent),
        "grades": dict(evolution.grades),
    }


def _build_evolution(flat: Mapping[str, Any]) -> Evolution:
    return Evolution(
        flat["parent_id"],
        tuple(build_prompt(child) for child in flat["children"]),
        tuple(
            Refusal(**{n: refusal[n] for n in schemas.REFUSAL.names})
            for refusal in flat["refusals"]
        ),
        flat["generated_tokens"],
        spent={name: int(tokens) for name, tokens in flat.get("spent") or ()},
        grades=dict(flat.get("grades") or ()),
    )


def _flatten_example(example: Example) -> dict[str, Any]:
    return {
        "prompt_id": example.prompt_id,
        "prompt_ids": example.prompt_ids,
        "completions": example.completions,
        "columns": list(example.columns.items()),
        "reference": example.reference,
    }


def _build_example(flat: Mapping[str, Any]) -> Example:
    reference = flat.get("reference")
    return Example(
        flat["prompt_id"],
        tuple(flat["prompt_ids"]),
        tuple(tuple(completion) for completion in flat["completions"]),
        {name: float(value) for name, value in flat.get("columns") or ()},
        None if reference is None else tuple(tuple(map(float, row)) for row in reference),
    )


def _flatten_step(step: Step) -> dict[str, Any]:
    plain = {name: getattr(step, name) for name in schemas.STEP.names}
    nested = {
        "scored": [_flatten_scored(group) for group in step.scored],
        "evolutions": [_flatten_evolution(evolution) for evolution in step.evolutions],
        "figures": list(step.figures.items()),
    }
    return plain | nested


def _build_step(flat: Mapping[str, Any]) -> Step:
    lists: Mapping[str, Any] = {
        name: tuple(flat[name]) for name in ("draws", "info", "errors", "seeds", "worth", "delays")
    }
    return Step(
        flat["number"],
        flat["phase"],
        replayed=flat["replayed"],
        recycled=flat["recycled"],
        dropped_tokens=flat["dropped_tokens"],
        **lists,
        scored=tuple(_build_scored(group) for group in flat["scored"]),
        evolutions=tuple(_build_evolution(evolution) for evolution in flat["evolutions"]),
        figures={name: float(value) for name, value in flat.get("figures") or ()},
    )


def _flatten_row(row: Mapping[str, Json]) -> dict[str, Any]:
    name = row.get("id")
    return {"id": name if isinstance(name, str) else None, "json": _text(dict(row))}


def _build_row(flat: Mapping[str, Any]) -> dict[str, Json]:
    row = json.loads(flat["json"])
    if not isinstance(row, dict):
        raise ValueError(f"column json: got {type(row).__name__}, expected an object")
    return row


_CODECS: Mapping[type, _Codec] = {
    Group: _Codec("Group", schemas.GROUP, _flatten_group, _build_group),
    ScoredGroup: _Codec("ScoredGroup", schemas.SCORED_GROUP, _flatten_scored, _build_scored),
    Evolution: _Codec("Evolution", schemas.EVOLUTION, _flatten_evolution, _build_evolution),
    Example: _Codec("Example", schemas.EXAMPLE, _flatten_example, _build_example),
    Step: _Codec("Step", schemas.STEP, _flatten_step, _build_step),
    Mapping: _Codec("Mapping", schemas.ROW, _flatten_row, _build_row),
}
