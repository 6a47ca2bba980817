"""Reading files and data sets into rows that know where they stand.

A file that is broken as a whole raises; whether one row is any good is for the caller to say.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eva.errors import DataError, unknown_name
from eva.types import Json

FORMATS = ("jsonl", "json", "csv", "txt", "parquet", "dataset")
"""What `read` takes; `dataset` is a folder or hub id that the `datasets` library loads."""

_SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".txt": "txt",
    ".parquet": "parquet",
}
_SAVED = ("dataset_info.json", "dataset_dict.json")
"""What `datasets` leaves in a folder that it saved to disk."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table."""

    place: str
    """Where it stands: `line 3` of a text file (from 1), `row 3` of a table (from 0)."""
    fields: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows by name of column."""

    label: str
    """The source, as messages name it."""
    columns: tuple[str, ...]
    """Every column that occurs in some row, in order of first appearance."""
    size: int
    """Number of rows."""
    select: Callable[[Sequence[str]], Iterable[Row]]
    """Go through the rows; only the named columns are sure to be there."""

    def require(self, name: str) -> str:
        """Return the name of a column that must exist.

        Raises:
            DataError: it does not; the nearest one that does is suggested.
        """
        if name not in self.columns:
            raise DataError(f"{self.label}: {unknown_name('column', name, self.columns)}")
        return name


def read(source: str | Path, *, format: str | None = None, split: str | None = None) -> Table:
    """Open a file, a folder or a hub id.

    Args:
        source: a local path, or the id of a data set on a hub.
        format: one of `FORMATS`; by default the file's ending says.
        split: which part of a data set, as `datasets` writes it (`train`, `train[:10%]`); by
            default `train`, or the only one. A file has none.

    Raises:
        DataError: it is absent, unreadable, of an unknown format, or has no rows.
    """
    path = Path(source)
    form = format or _format_of(path)
    if form not in FORMATS:
        raise DataError(f"{source}: {unknown_name('format', form, FORMATS)}")
    if form == "dataset":
        return _dataset(str(source), split)
    if split is not None:
        raise DataError(f"{source}: split {split!r} was given, but a {form} file has no splits")
    if not path.is_file():
        raise DataError(f"{source}: no such file{_beside(path)}")
    table = _parquet(path) if form == "parquet" else _listed(str(path), _TEXT[form](path))
    if table.size == 0:
        raise DataError(f"{source}: no rows; expected at least one")
    return table


def _format_of(path: Path) -> str:
    if path.is_dir():
        return "dataset"
    if path.suffix.lower() in _SUFFIXES:
        return _SUFFIXES[path.suffix.lower()]
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: a pipe or device, expected a file: write it to one first")
    if path.is_file():
        raise DataError(
            f"{path}: cannot tell the format from the ending {path.suffix!r}; expected one of "
            f"{', '.join(sorted(_SUFFIXES))}, or say format = one of {', '.join(FORMATS)}"
        )
    if path.is_absolute() or path.parts[:1] in {("..",), ("~",)} or len(path.parts) > 2:
        raise DataError(f"{path}: no such file or folder{_beside(path)}")
    return "dataset"


def _beside(path: Path) -> str:
    """Return what is there instead of a file that is not."""
    if not path.parent.is_dir():
        return f"; the folder {path.parent} does not exist either"
    names = [other.name for other in path.parent.iterdir() if other.suffix in _SUFFIXES]
    # a folder of data may hold thousands
    near = difflib.get_close_matches(path.name, names, n=8, cutoff=0.0)
    return f": {unknown_name('name', path.name, near)}" if near else ""


def decoded(path: Path) -> str:
    """Return a file's text.

    Raises:
        DataError: it is not UTF-8, with the line where that shows, or cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    try:
        return content.decode("utf-8-sig")  # a byte order mark, as Windows writes, is no text
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: not UTF-8 (byte {error.object[error.start]:#04x}); expected "
            "UTF-8 text, save the file with that encoding"
        ) from error


def _listed(label: str, rows: Sequence[Row]) -> Table:
    columns = tuple(dict.fromkeys(name for row in rows for name in row.fields))
    return Table(label, columns, len(rows), lambda names: rows)


def _jsonl(path: Path) -> list[Row]:
    # Only \n ends a line: str.splitlines would also cut at U+2028 inside a JSON string.
    lines = enumerate(decoded(path).split("\n"), start=1)
    return [
        Row(f"line {number}", _object(path, line, number)) for number, line in lines if line.strip()
    ]


def _object(path: Path, line: str, number: int) -> dict[str, Json]:
    try:
        value = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path}, line {number}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}, line {number}: got {type_name(value)}, expected an object")
    return value


def _json(path: Path) -> list[Row]:
    try:
        value = json.loads(decoded(path))
    except json.JSONDecodeError as error:
        lines = error.msg == "Extra data"
        hint = ' (one object per line? then say format = "jsonl")' if lines else ""
        raise DataError(f"{path}: not JSON: {error}{hint}") from error
    except RecursionError as error:
        raise DataError(f"{path}: JSON is nested too deeply") from error
    if not isinstance(value, list):
        raise DataError(f"{path}: got {type_name(value)}, expected a list of objects")
    for number, item in enumerate(value):
        if not isinstance(item, dict):
            raise DataError(f"{path}, row {number}: got {type_name(item)}, expected an object")
    return [Row(f"row {number}", item) for number, item in enumerate(value)]


def _csv(path: Path) -> list[Row]:
    reader = csv.reader(io.StringIO(decoded(path), newline=""), strict=True)
    rows: list[Row] = []
    try:
        header = next(reader, [])
        if len(set(header)) < len(header):
            raise DataError(f"{path}, line 1: a column is named twice: {', '.join(header)}")
        while True:
            place = f"line {reader.line_num + 1}"
            cells = next(reader, None)
            if cells is None:
                return rows
            if cells and len(cells) != len(header):
                raise DataError(f"{path}, {place}: got {len(cells)} cells, expected {len(header)}")
            if cells:
                rows.append(Row(place, dict(zip(header, cells, strict=True))))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not CSV: {error}") from error


def _txt(path: Path) -> list[Row]:
    lines = enumerate(decoded(path).split("\n"), start=1)
    return [Row(f"line {n}", {"text": line.rstrip("\r")}) for n, line in lines if line.strip()]


_TEXT: Mapping[str, Callable[[Path], list[Row]]] = {
    "jsonl": _jsonl,
    "json": _json,
    "csv": _csv,
    "txt": _txt,
}


def _parquet(path: Path) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
        size = pq.read_metadata(path).num_rows
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file: {error}") from error

    def select(names: Sequence[str]) -> Iterable[Row]:
        try:
            values = pq.read_table(path, columns=list(names)).to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path}: not a readable Parquet file: {error}") from error
        return (Row(f"row {number}", fields) for number, fields in enumerate(values))

    return Table(str(path), tuple(schema.names), size, select)


def _dataset(source: str, split: str | None) -> Table:
    data = _loaded(source, split)
    label = f"{source} ({data.split})" if data.split is not None else source
    if data.num_rows == 0:
        raise DataError(f"{label}: no rows; expected at least one")

    def select(names: Sequence[str]) -> Iterable[Row]:
        rows = data.select_columns(list(names))
        return (Row(f"row {number}", fields) for number, fields in enumerate(rows))

    return Table(label, tuple(data.column_names), data.num_rows, select)


def _loaded(source: str, split: str | None) -> Any:
    """Return a `datasets.Dataset`."""
    import datasets

    folder = Path(source)
    try:
        if any((folder / name).is_file() for name in _SAVED):
            data = datasets.load_from_disk(source)
        else:
            data = datasets.load_dataset(source, split=split)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"{source}: no file of that name, and the datasets library cannot load it: {error}. "
            "Expected a local file or folder, the id of a reachable data set, or packaged:..."
        ) from error
    if isinstance(data, datasets.Dataset):
        return data
    wanted = split or ("train" if "train" in data or len(data) != 1 else next(iter(data)))
    if wanted not in data:
        raise DataError(f"{source}: {unknown_name('split', wanted, map(str, data))}")
    return data[wanted]


def type_name(value: Json) -> str:
    """Return what a JSON value is, as messages call it.

    >>> type_name(["a"])
    'a list'
    """
    names: dict[type, str] = {
        type(None): "nothing",
        bool: "a boolean",
        int: "an integer",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), type(value).__name__)
