"""Rollouts and prompts as Parquet that other trainers write and read.

Files of eva's own have nested columns and say so in their metadata; they come back exactly. Others
need `prompt` and `responses`, one row per prompt, and may have `rewards` and more: see
docs/stages.md. Text without token ids is tokenised by the policy's chat template, which need not
give the ids that were sampled.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eva.data.prompts import COLUMNS, load_prompts
from eva.data.rows import Row, Table, read
from eva.data.turns import BadCell, prompt_turns, text, turns
from eva.errors import DataError
from eva.runs import parquet, schemas
from eva.runs.durable import replace_bytes
from eva.types import Example, Group, Json, Prompt, Refusal, Response, Score, ScoredGroup

if TYPE_CHECKING:
    from eva.engines.policy import Policy

_RESPONSES = ("responses", "completions")
_IDS = ("token_ids", "completion_ids")


# ── prompts ───────────────────────────────────────────────────────────────────────────────────


def write_prompts(
    path: Path, prompts: Sequence[Prompt], informativeness: Mapping[str, float]
) -> None:
    """Write prompts as a table that trainers take: `prompt` holds chat messages.

    Further columns are lineage and checks, and `informativeness` by prompt id where it is known.
    """
    import pyarrow as pa

    fields = [pa.field("prompt", schemas.PROMPT.field("messages").type, nullable=False)]
    fields += [field for field in schemas.PROMPT if field.name != "messages"]
    fields.append(pa.field("informativeness", schemas.REAL))
    rows = []
    for prompt in prompts:
        row = parquet.flatten_prompt(prompt)
        row["prompt"] = row.pop("messages")
        rows.append(row | {"informativeness": informativeness.get(prompt.id)})
    schema = pa.schema(fields, metadata={"eva.rows": "Prompt"})
    replace_bytes(path, parquet.to_bytes(pa.Table.from_pylist(rows, schema=schema)))


def write_refusals(path: Path, refusals: Sequence[Refusal]) -> None:
    """Write refusals, a row each."""
    import pyarrow as pa

    names = schemas.REFUSAL.names
    rows = [{name: getattr(refusal, name) for name in names} for refusal in refusals]
    table = pa.Table.from_pylist(rows, schema=pa.schema(list(schemas.REFUSAL)))
    replace_bytes(path, parquet.to_bytes(table))


def read_prompts(source: str, *, max_characters: int | None = None) -> list[Prompt]:
    """Read prompts of any format; those that eva wrote keep their lineage.

    Raises:
        DataError: the source is broken as a whole, or no prompt is left.
    """
    if _written_by_eva(Path(source)) != "Prompt":
        return list(load_prompts(source, max_chars=max_characters).prompts)
    table = read(source)
    return [_prompt(row, "prompt", table) for row in table.select(table.columns)]


# ── rollouts ──────────────────────────────────────────────────────────────────────────────────


def read_groups(path: Path) -> list[Group]:
    """Read prompts with responses; rewards are left aside.

    Raises:
        DataError: naming file, row and column.
    """
    if _written_by_eva(path) in {"Group", "ScoredGroup"}:
        return parquet.read(path, kind=Group)
    return [scored.group for scored in _foreign(path, rewards=False)]


def read_scored(path: Path) -> list[ScoredGroup]:
    """Read prompts with responses and rewards.

    Raises:
        DataError: naming file, row and column.
    """
    if _written_by_eva(path) in {"Group", "ScoredGroup"}:
        return parquet.read(path, kind=ScoredGroup)
    return _foreign(path, rewards=True)


def _written_by_eva(path: Path) -> str:
    """Return which of eva's rows a Parquet file says that it holds, or an empty text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.suffix.lower() != ".parquet":
        return ""
    try:
        notes = pq.read_schema(path).metadata or {}
    except (pa.ArrowException, OSError):
        return ""  # whoever reads it says what is wrong
    return str(notes.get(b"eva.rows", b"").decode())


def _foreign(path: Path, *, rewards: bool) -> list[ScoredGroup]:
    table = read(path)
    prompt = _first(table, COLUMNS)
    responses = _first(table, _RESPONSES)
    if rewards:
        table.require("rewards")
    groups = []
    for row in table.select(table.columns):
        try:
            group = _group(row.fields, _prompt(row, prompt, table), responses)
            scores = _scores(row.fields.get("rewards"), group) if rewards else ()
        except BadCell as bad:
            raise DataError(f"{table.label}, {row.place}: {bad}") from bad
        unscored = tuple(Score(None, "none") for _ in group.responses)
        groups.append(ScoredGroup(group, scores or unscored))
    return groups


def _first(table: Table, names: Sequence[str]) -> str:
    found = next((name for name in names if name in table.columns), None)
    if found is None:
        raise DataError(
            f"{table.label}: no column {names[0]}; got {', '.join(table.columns)}, expected one "
            f"of {', '.join(names)}"
        )
    return found


def _prompt(row: Row, column: str, table: Table) -> Prompt:
    """Return a row's prompt with what it says of checks and lineage; its id follows from it."""
    try:
        messages = prompt_turns(row.fields.get(column))
        known = {name: row.fields.get(name) for name in _LINEAGE}
        known["columns"] = _as_text(known["columns"] or {})
        known["checks"] = [
            {"kind": check["kind"], "args": _as_text(check["args"])}
            for check in known["checks"] or ()
        ]
        said = [{"role": m.role, "content": m.content} for m in messages]
        return parquet.build_prompt(known | {"messages": said})
    except (BadCell, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{table.label}, {row.place}: no prompt: {error}") from error


_LINEAGE = ("checks", "topic", "parents", "operator", "born", "columns")


def _as_text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _group(fields: Mapping[str, Json], prompt: Prompt, column: str) -> Group:
    said = fields.get(column)
    if not isinstance(said, list):
        raise BadCell(f"column {column}: expected a list of responses, one row per prompt")
    count = len(said)
    ids = next((fields[name] for name in _IDS if fields.get(name)), None)
    columns = {
        "token_ids": _aligned(ids, count, "token_ids"),
        "logprobs": _aligned(fields.get("logprobs"), count, "logprobs"),
        "finish": _aligned(fields.get("finish"), count, "finish"),
    }
    responses = tuple(
        Response(
            _answer(item),
            tuple(map(int, columns["token_ids"][i] or ())),
            tuple(map(float, columns["logprobs"][i] or ())),
            "length" if columns["finish"][i] == "length" else "stop",
        )
        for i, item in enumerate(said)
    )
    prompt_ids = tuple(map(int, fields.get("prompt_ids") or ()))
    return Group(prompt, prompt_ids, responses, str(fields.get("policy") or "elsewhere"))


def _aligned(values: Json, count: int, name: str) -> list[Any]:
    listed = [None] * count if values is None else list(values)
    if len(listed) != count:
        raise BadCell(f"column {name}: got {len(listed)} values for {count} responses")
    return listed


def _answer(item: Json) -> str:
    if isinstance(item, str):
        return item  # an empty answer is an answer
    if isinstance(item, dict) and "text" in item:
        return text(item["text"])
    return turns(item)[-1].content


def _scores(rewards: Json, group: Group) -> tuple[Score, ...]:
    listed = _aligned(rewards, len(group.responses), "rewards")
    return tuple(
        Score(None, "none" if reward is None else "nan")
        if reward is None or math.isnan(reward)
        else Score(float(reward))
        for reward in listed
    )


# ── token ids ─────────────────────────────────────────────────────────────────────────────────


def untokenised(group: Group) -> int:
    """Return how many responses (or, without its own ids, all) lack token ids."""
    if not group.prompt_ids:
        return len(group.responses)
    return sum(not response.token_ids for response in group.responses)


def read_pairs(path: Path, policy: Policy) -> tuple[list[Example], bool]:
    """Read training examples; a foreign preference set is tokenised, and the second item is true.

    Raises:
        DataError: it is neither.
    """
    from eva.data.preferences import load_preferences
    from eva.engines.chat import encode_answer, encode_prompt

    if _written_by_eva(path) == "Example":
        return parquet.read(path, kind=Example), False
    examples = []
    for pair in load_preferences(str(path)).pairs:
        prompt = Prompt(pair.messages)
        answers = (pair.chosen, pair.rejected)
        ids = tuple(encode_answer(policy, answer, ended=True) for answer in answers)
        examples.append(Example(prompt.id, encode_prompt(policy, prompt), ids))
    return examples, True
