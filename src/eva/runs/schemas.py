"""The columns of eva's Parquet files, and whether a file has them.

A column that is not nullable must be there and have no nulls. A nullable one may be missing or
null, and reads as its default; a reward alone must be there, since its null means "unscored".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pyarrow as pa
import pyarrow.types as kinds

from eva.errors import DataError

VERSION = 1
"""Version of the columns, kept in the files' metadata."""


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


def _optional(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind)


def _list(kind: pa.DataType) -> pa.DataType:
    return pa.list_(pa.field("item", kind, nullable=False))


TEXT, INT, REAL = pa.string(), pa.int64(), pa.float64()
NUMBERS = pa.map_(TEXT, pa.field("value", REAL, nullable=False))

PROMPT = pa.struct(
    [
        _optional("id", TEXT),
        _required(
            "messages", _list(pa.struct([_required("role", TEXT), _required("content", TEXT)]))
        ),
        _optional("checks", _list(pa.struct([_required("kind", TEXT), _required("args", TEXT)]))),
        _optional("topic", TEXT),
        _optional("parents", _list(TEXT)),
        _optional("operator", TEXT),
        _optional("born", INT),
        _optional("columns", TEXT),
    ]
)
RESPONSE = pa.struct(
    [
        _required("text", TEXT),
        _required("token_ids", _list(INT)),
        _optional("logprobs", _list(REAL)),
        _required("finish", TEXT),
        _optional("counted", INT),
    ]
)
SCORE = pa.struct(
    [
        _optional("reward", REAL),
        _optional("cause", TEXT),
        _optional("detail", TEXT),
        _optional("parts", NUMBERS),
        _optional("members", _list(REAL)),
    ]
)
REFUSAL = pa.struct(
    [
        *(_required(name, TEXT) for name in ("parent_id", "operator", "gate", "reason", "text")),
        _required("round", INT),
    ]
)

GROUP = pa.schema(
    [
        _required("prompt", PROMPT),
        _required("prompt_ids", _list(INT)),
        _required("responses", _list(RESPONSE)),
        _required("policy", TEXT),
    ]
)
COMPARISONS = pa.struct([_optional("first", _list(pa.list_(REAL))), _optional("failures", NUMBERS)])
SCORED_GROUP = GROUP.append(_required("scores", _list(SCORE))).append(
    _optional("compared", COMPARISONS)
)
EVOLUTION = pa.schema(
    [
        _required("parent_id", TEXT),
        _required("children", _list(PROMPT)),
        _required("refusals", _list(REFUSAL)),
        _required("generated_tokens", INT),
        _optional("spent", NUMBERS),
        _optional("grades", NUMBERS),
    ]
)
EXAMPLE = pa.schema(
    [
        _required("prompt_id", TEXT),
        _required("prompt_ids", _list(INT)),
        _required("completions", _list(_list(INT))),
        _optional("columns", NUMBERS),
        _optional("reference", _list(_list(REAL))),
    ]
)
STEP = pa.schema(
    [
        _required("number", INT),
        _required("phase", TEXT),
        _required("draws", _list(INT)),
        _required("replayed", INT),
        _required("recycled", INT),
        _required("dropped_tokens", INT),
        _required("scored", _list(pa.struct(list(SCORED_GROUP)))),
        _required("info", pa.list_(REAL)),
        _required("errors", pa.list_(REAL)),
        _required("seeds", _list(INT)),
        _required("evolutions", _list(pa.struct(list(EVOLUTION)))),
        _required("worth", _list(REAL)),
        _required("delays", _list(INT)),
        _optional("figures", NUMBERS),
    ]
)
ROW = pa.schema([_optional("id", TEXT), _required("json", TEXT)])

_MUST_BE_THERE = frozenset({"reward"})
_TEXTS = (kinds.is_string, kinds.is_large_string, kinds.is_string_view)
_LISTS = (kinds.is_list, kinds.is_large_list, kinds.is_fixed_size_list)


def check_table(table: pa.Table, schema: pa.Schema, *, file: str) -> None:
    """Check that a table has the columns of `schema`; further ones are left alone.

    Integers and floats of any width do, and lists and texts of any layout.

    Raises:
        DataError: naming file, column, what was got and what was expected.
    """
    for field in schema:
        if field.name in table.column_names:
            _check(table.column(field.name).combine_chunks(), field, f"{file}: column {field.name}")
        elif _needed(field):
            got = ", ".join(table.column_names) or "no columns"
            raise DataError(
                f"{file}: column {field.name}: missing, expected {field.type}; got {got}"
            )


def _needed(field: pa.Field) -> bool:
    return not field.nullable or field.name in _MUST_BE_THERE


def _check(array: pa.Array, field: pa.Field, where: str) -> None:
    if array.null_count and not field.nullable:
        raise DataError(f"{where}: got {array.null_count} nulls, expected {field.type}")
    if array.null_count == len(array):
        # An empty or wholly null column: writers cannot know the type of its items.
        return
    if not _fits(array.type, field.type):
        raise DataError(f"{where}: got {array.type}, expected {field.type}")
    if kinds.is_struct(field.type):
        _check_struct(array, field.type, where)
    elif kinds.is_list(field.type):
        _check(array.flatten(), field.type.value_field, f"{where}[]")


def _check_struct(array: pa.StructArray, kind: pa.StructType, where: str) -> None:
    there = {field.name for field in array.type}
    for field in kind:
        if field.name in there:
            _check(array.field(field.name), field, f"{where}.{field.name}")
        elif _needed(field):
            raise DataError(f"{where}.{field.name}: missing, expected {field.type}")


def _fits(got: pa.DataType, want: pa.DataType) -> bool:
    accepted: Mapping[Callable[[pa.DataType], bool], tuple[Callable[[pa.DataType], bool], ...]] = {
        kinds.is_string: _TEXTS,
        kinds.is_integer: (kinds.is_integer,),
        kinds.is_floating: (kinds.is_floating, kinds.is_integer),
        kinds.is_struct: (kinds.is_struct,),
        kinds.is_list: _LISTS,
    }
    for wanted, takes in accepted.items():
        if wanted(want):
            return any(take(got) for take in takes)
    numbers = kinds.is_map(got) and _fits(got.key_type, TEXT) and _fits(got.item_type, REAL)
    return kinds.is_map(want) and numbers
