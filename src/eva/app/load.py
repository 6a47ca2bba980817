"""Reading configs: TOML, overrides `key.path=value`, presets, and every fault in one message."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from eva.app import presets
from eva.app.config import Config
from eva.app.paths import located
from eva.errors import ConfigError, unknown_name
from eva.types import Json


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> Config:
    """Read a config file and apply overrides such as `solver.learning_rate=1e-4`.

    Relative paths become absolute, so that the run resumes from anywhere: those of the file are
    looked for beside it, then, as those of overrides, in the current directory.

    Raises:
        ConfigError: the file is missing or no TOML, or what it says cannot be played; the message
            names every fault with its key.
    """
    try:
        data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such config file; `eva new NAME` writes one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: broken TOML: {error}") from None
    data = _with_names(located(data, Path(path).parent))
    for override in overrides:
        data = _set(data, override)
    data = located(data, Path())
    return parse_config(data, where=str(path))


def parse_config(data: dict[str, Any], *, where: str = "config") -> Config:
    """Check plain data against the config tree, presets laid under it.

    Raises:
        ConfigError: as `load_config`.
    """
    data = _with_names(data)
    published = data.get("preset") == "paper"
    if data.get("schedule") == "online":
        data = presets.under(presets.paper_online() if published else presets.ONLINE, data)
    elif published:
        data = presets.under(presets.paper(_objective(data)), data)
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        faults = [_fault(fault) for fault in error.errors(include_url=False)]
        lines = "\n".join(f"  {fault}" for fault in faults)
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise ConfigError(f"{where}: {count}\n{lines}") from None


_NAMED = {"solver": ("objective", "pairs"), "creator": ("sampler", "evolver")}
"""Parts that may be given as a bare name: `objective = "dpo"` is what people type first."""


def _with_names(data: dict[str, Any]) -> dict[str, Any]:
    for table, keys in _NAMED.items():
        section = data.get(table)
        if isinstance(section, dict):
            bare = {k: {"name": section[k]} for k in keys if isinstance(section.get(k), str)}
            data = data | {table: section | bare}
    if isinstance(data.get("reward"), str):
        data = data | {"reward": {"name": data["reward"]}}
    return data


def _objective(data: dict[str, Any]) -> str:
    solver = data.get("solver")
    objective = solver.get("objective") if isinstance(solver, dict) else None
    return str(objective.get("name", "")) if isinstance(objective, dict) else ""


def _set(data: dict[str, Any], override: str) -> dict[str, Any]:
    path, equals, text = (part.strip() for part in override.partition("="))
    if not equals or not path:
        raise ConfigError(f"override {override!r}: expected key.path=value, as in rounds=3")
    try:
        value: Json = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word is a string: creator.name=static
    keys = path.split(".")
    data = inner = dict(data)
    for key in keys[:-1]:
        below = inner.get(key, {})
        if not isinstance(below, dict):
            raise ConfigError(f"override {override!r}: {key!r} is a value, not a table")
        inner[key] = dict(below)
        inner = inner[key]
    inner[keys[-1]] = value
    return data


def _fault(fault: Any) -> str:
    place = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        *above, name = fault["loc"]
        return f"{'.'.join(map(str, above)) or 'top level'}: " + unknown_name(
            "key", str(name), _keys_at(above)
        )
    if fault["type"] in {"literal_error", "union_tag_invalid"}:
        return f"{place}: {_wrong_name(fault)}"
    if fault["type"] == "missing":
        return f"{place}: is missing; this key has no default"
    message = fault["msg"].removeprefix("Value error, ")
    got = fault.get("input")
    shown = f" (got {got!r})" if isinstance(got, str | int | float | bool) else ""
    return f"{place}: {message}{shown}" if place else message


def _wrong_name(fault: Any) -> str:
    context = fault.get("ctx", {})
    known = str(context.get("expected") or context.get("expected_tags", ""))
    names = [part.strip().strip("'") for part in known.replace(" or ", ", ").split(",")]
    return unknown_name("name", str(context.get("tag", fault.get("input"))), names)


def _keys_at(path: Sequence[Any]) -> list[str]:
    models: list[type[BaseModel]] = [Config]
    for part in path:
        below = [m for model in models for m in _models_below(model, part)]
        models = below or models  # a tag of a union or an index of a list stays where it is
    if path:
        tagged = [m for m in models if str(path[-1]) in _names(m)]
        models = tagged or models
    return sorted({key for model in models for key in model.model_fields})


def _models_below(model: type[BaseModel], key: Any) -> Iterator[type[BaseModel]]:
    field = model.model_fields.get(str(key))
    if field is not None:
        yield from _models_in(field.annotation)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _names(model: type[BaseModel]) -> tuple[Any, ...]:
    field = model.model_fields.get("name")
    return get_args(field.annotation) if field is not None else ()
