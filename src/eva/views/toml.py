"""A config as TOML: the text from which the same game is played again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from eva.types import Json


def dumps(config: Mapping[str, Json]) -> str:
    """Return a config as TOML; keys that are None are left out, as TOML has no such value.

    >>> print(dumps({"seed": 1, "policy": {"model": "m", "lora": None}}), end="")
    seed = 1
    <BLANKLINE>
    [policy]
    model = "m"
    """
    return "\n".join(_table(config, ())).lstrip("\n") + "\n"


def _table(table: Mapping[str, Json], path: tuple[str, ...]) -> Iterator[str]:
    present = {key: value for key, value in table.items() if value is not None}
    if path:
        yield ""
        yield f"[{'.'.join(map(_key, path))}]"
    for key, value in present.items():
        if not isinstance(value, Mapping):
            yield f"{_key(key)} = {inline(value)}"
    for key, value in present.items():
        if isinstance(value, Mapping):
            yield from _table(value, (*path, key))


def inline(value: Json) -> str:
    """Return a value as it stands behind its key.

    >>> inline({"a": [True, "b"]})
    '{ a = [true, "b"] }'
    """
    if isinstance(value, Mapping):
        inner = (f"{_key(k)} = {inline(v)}" for k, v in value.items() if v is not None)
        return f"{{ {', '.join(inner)} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(inline, value))}]"
    if isinstance(value, str):
        # TOML's basic strings are JSON's, but for the character DEL
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)


def _key(key: str) -> str:
    bare = key.isascii() and key.replace("_", "").replace("-", "").isalnum()
    return key if bare else json.dumps(key)
