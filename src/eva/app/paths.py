"""Relative paths in a config: made absolute, so that they hold wherever a later command runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from eva.types import Json

KEYS = frozenset({"source", "model", "function", "relevance", "match", "definition", "file"})
"""Keys whose values may name a file or folder."""


def located(data: Json, base: Path) -> Json:
    """Return a config's data with the relative paths that exist under `base` made absolute.

    Anything else that such a key holds (a hub id, `packaged:...`, a path from elsewhere) is left
    as it is.
    """
    if isinstance(data, list):
        return [located(item, base) for item in data]
    if not isinstance(data, Mapping):
        return data
    return {
        key: _absolute(value, base)
        if key in KEYS and isinstance(value, str)
        else located(value, base)
        for key, value in data.items()
    }


def _absolute(value: str, base: Path) -> str:
    # a reward function stands in a file: path/to/file.py:function
    path, colon, name = value.partition(":") if ".py:" in value else (value, "", "")
    there = base / path
    if not path or Path(path).is_absolute() or not there.exists():
        return value
    return f"{there.resolve()}{colon}{name}"
