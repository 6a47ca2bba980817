"""Rollouts and prompts as Parquet that other trainers write and read.

Files of eva's own have nested columns and say so in their metadata; they come back exactly. Others
need `prompt` and `responses`, one row per prompt, and may have `rewards` and more: see
docs/stages.md. Text without token ids is tokenised by the policy's chat template, which need not
give the ids that were sampled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from eva.constraints import KINDS
from eva.data.prompts import COLUMNS, LoadedPrompts, load_prompts, prompt_of
from eva.data.rows import Row, Table, read, type_name
from eva.data.turns import BadCell, text, turns
from eva.errors import DataError, unknown_name
from eva.protocols import R
from eva.runs import parquet, schemas
from eva.runs.durable import replace_bytes
from eva.types import Example, Group, Json, Prompt, Refusal, Response, Score, ScoredGroup

if TYPE_CHECKING:
    from eva.engines.policy import Policy

T = TypeVar("T")

_RESPONSES = ("responses", "completions")
_IDS = ("token_ids", "completion_ids")
_ANSWERED = frozenset({"Group", "ScoredGroup"})
"""What files of eva's own say of their rows, where these are prompts with responses."""


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


def read_prompts(source: str, *, max_characters: int | None = None) -> LoadedPrompts:
    """Read prompts of any format; those that eva wrote, answered or not, keep their lineage.

    Raises:
        DataError: the source is broken as a whole, or no prompt is left.
    """
    written = _written_by_eva(Path(source))
    if written in _ANSWERED:
        answered = tuple(group.prompt for group in read_groups(Path(source)))
        return LoadedPrompts(source, "prompt", answered)
    if written != "Prompt":
        return load_prompts(source, max_chars=max_characters)
    table = read(source)
    rows = table.select(table.columns)
    return LoadedPrompts(source, "prompt", tuple(_prompt(row, "prompt", table) for row in rows))


# ── rollouts ──────────────────────────────────────────────────────────────────────────────────


def read_groups(path: Path) -> list[Group]:
    """Read prompts with responses; rewards are left aside.

    Raises:
        DataError: naming file, row and column.
    """
    if _written_by_eva(path) in _ANSWERED:
        return _own(path, Group)
    return [scored.group for scored in _foreign(path, rewards=False)]


def read_scored(path: Path) -> list[ScoredGroup]:
    """Read prompts with responses and rewards.

    Raises:
        DataError: naming file, row and column.
    """
    if _written_by_eva(path) in _ANSWERED:
        return _own(path, ScoredGroup)
    return _foreign(path, rewards=True)


def _own(path: Path, kind: type[R]) -> list[R]:
    rows = parquet.read(path, kind=kind)
    if not rows:
        raise DataError(f"{path}: no rows; expected at least one")
    return rows


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
        if row.fields.get(column) is None:
            raise BadCell("got nothing, expected text or chat messages")
        parents = _listed(row.fields.get("parents"), "parents")
        prompt = prompt_of(row, [column])
        for check in prompt.checks:
            if check.kind not in KINDS:
                raise BadCell(f"checks: {unknown_name('kind of constraint', check.kind, KINDS)}")
        return replace(
            prompt,
            parents=tuple(_typed(parent, str, "parents") for parent in parents),
            operator=_typed(row.fields.get("operator") or "human", str, "operator"),
            born=_whole(row.fields.get("born") or 0, "born"),
        )
    except BadCell as bad:
        raise DataError(f"{table.label}, {row.place}: no prompt: {bad}") from bad


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
            _ids(columns["token_ids"][i], "token_ids"),
            tuple(_number(v, "logprobs") for v in _listed(columns["logprobs"][i], "logprobs")),
            "length" if columns["finish"][i] == "length" else "stop",
        )
        for i, item in enumerate(said)
    )
    for i, response in enumerate(responses):
        if response.logprobs and len(response.logprobs) != len(response.token_ids):
            raise BadCell(
                f"column logprobs: got {len(response.logprobs)} values for the "
                f"{len(response.token_ids)} token ids of response {i}"
            )
    prompt_ids = _ids(fields.get("prompt_ids"), "prompt_ids")
    return Group(prompt, prompt_ids, responses, str(fields.get("policy") or "elsewhere"))


def _aligned(values: Json, count: int, name: str) -> list[Any]:
    listed = [None] * count if values is None else _listed(values, name)
    if len(listed) != count:
        raise BadCell(f"column {name}: got {len(listed)} values for {count} responses")
    return listed


def _listed(values: Json, name: str) -> list[Any]:
    return [] if values is None else _typed(values, list, name)


def _typed(value: Json, kind: type[T], name: str) -> T:
    if not isinstance(value, kind):
        raise BadCell(f"column {name}: got {type_name(value)}, expected {_EXPECTED[kind]}")
    return value


_EXPECTED: Mapping[type, str] = {str: "text", list: "a list"}


def _whole(value: Json, name: str) -> int:
    # tables that mix numbers with nothing hold them as floats
    if isinstance(value, bool) or not isinstance(value, int | float) or value % 1 != 0:
        raise BadCell(f"column {name}: got {value!r}, expected an integer")
    return int(value)


def _ids(values: Json, name: str) -> tuple[int, ...]:
    return tuple(_whole(value, name) for value in _listed(values, name))


def _number(value: Json, name: str) -> float:
    if not isinstance(value, int | float):
        raise BadCell(f"column {name}: got {type_name(value)}, expected a number")
    return float(value)


def _answer(item: Json) -> str:
    if isinstance(item, str):
        return item  # an empty answer is an answer
    if isinstance(item, dict) and "text" in item:
        return text(item["text"])
    return turns(item)[-1].content


def _scores(rewards: Json, group: Group) -> tuple[Score, ...]:
    return tuple(map(_score, _aligned(rewards, len(group.responses), "rewards")))


def _score(reward: Json) -> Score:
    if reward is None:
        return Score(None, "none")
    value = _number(reward, "rewards")
    return Score(value) if math.isfinite(value) else Score(None, "nan")


# ── token ids ─────────────────────────────────────────────────────────────────────────────────


def untokenised(group: Group) -> int:
    """Return how many responses (or, without its own ids, all) lack token ids."""
    if not group.prompt_ids:
        return len(group.responses)
    return sum(not response.token_ids for response in group.responses)


@dataclass(frozen=True, slots=True)
class Pairs:
    """What training takes of a file."""

    examples: list[Example]
    retokenised: bool = False
    """Whether it is a preference data set, whose texts were tokenised here."""
    set_aside: Mapping[str, int] = field(default_factory=dict)
    """Rows that are no preference, by reason."""


def read_pairs(path: Path, policy: Policy) -> Pairs:
    """Read training examples, or a foreign preference set.

    Raises:
        DataError: it is neither.
    """
    from eva.data.preferences import load_preferences
    from eva.engines.chat import encode_answer, encode_prompt

    written = _written_by_eva(path)
    if written in _ANSWERED:
        raise DataError(f"{path}: got answers, expected pairs: `eva stage pair` makes them")
    if written == "Example":
        return Pairs(parquet.read(path, kind=Example))
    examples, loaded = [], load_preferences(str(path))
    for pair in loaded.pairs:
        prompt = Prompt(pair.messages)
        answers = (pair.chosen, pair.rejected)
        ids = tuple(encode_answer(policy, answer, ended=True) for answer in answers)
        examples.append(Example(prompt.id, encode_prompt(policy, prompt), ids))
    return Pairs(examples, True, loaded.reasons)


def refuse_unknown_ids(path: Path, examples: Sequence[Example], policy: Policy) -> None:
    """Raise where examples hold token ids that are not the policy's.

    Raises:
        DataError: an id is none of its vocabulary.
    """
    size: int = policy.model.config.get_text_config(decoder=True).vocab_size
    for example in examples:
        for id in (*example.prompt_ids, *(i for ids in example.completions for i in ids)):
            if not 0 <= id < size:
                raise DataError(
                    f"{path}: token id {id}, expected 0 to {size - 1}, as {policy.source} has: "
                    "give the ids that this policy sampled, or the texts alone"
                )
