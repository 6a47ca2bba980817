"""From `MODEL PROMPTS REWARD` to the config of a game that is never played."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from eva.app.config import Config
from eva.app.load import load_config, parse_config
from eva.app.paths import located
from eva.errors import ConfigError
from eva.types import Json

DEFAULTS = {"n": 8, "max_tokens": 256}
"""Answers, where neither an option nor a config says otherwise: halves of 4, and CPU-sized."""


def game_of(
    arguments: tuple[str, str, str],
    config: Path | None = None,
    *,
    constraints: int = 0,
    seed: int | None = None,
    answers: Mapping[str, Json] = MappingProxyType({}),
) -> Config:
    """Return the config of a model, prompts and a reward, or a config file's with these changes.

    Args:
        arguments: model, prompts, reward; all empty with a config. The model is as `policy.model`,
            the prompts as `prompts.source`; the reward is a TOML file with a `[reward]` table,
            `python:FILE.py:FUNCTION`, `classifier:MODEL`, or a name alone, such as `rules`.
        config: a config file.
        constraints: checkable constraints put on every prompt, as `prompts.constraints` does.
        seed: of prompts, constraints and answers.
        answers: keys of `[answers]`; None leaves one as it is.

    Raises:
        ConfigError: naming what is missing, one too many, or does not fit.
    """
    given = {key: value for key, value in answers.items() if value is not None}
    if config is not None:
        if any(arguments):
            raise ConfigError(
                f"probe: got --config {config} and {' '.join(filter(None, arguments))}: give either"
            )
        changes = [f"answers.{key}={value}" for key, value in given.items()]
        changes += [f"seed={seed}"] if seed is not None else []
        changes += [f"prompts.constraints.count=[{constraints}]"] if constraints else []
        return load_config(config, changes)
    missing = [
        name
        for name, value in zip(("MODEL", "PROMPTS", "REWARD"), arguments, strict=True)
        if not value
    ]
    if missing:
        raise ConfigError(
            f"probe: {' and '.join(missing)} missing; expected MODEL PROMPTS REWARD, or --config"
        )
    return _composed(arguments, constraints, {"answers": DEFAULTS | given} | _seed(seed))


def _seed(seed: int | None) -> dict[str, Json]:
    return {} if seed is None else {"seed": seed}


def _composed(
    arguments: tuple[str, str, str], constraints: int, more: Mapping[str, Json]
) -> Config:
    model, prompts, reward = arguments
    source: dict[str, Json] = {"source": prompts}
    if constraints:
        source["constraints"] = {"count": [constraints]}
    data = {
        "policy": {"model": model},
        "prompts": source,
        "reward": _reward(reward),
        # never reached; without them the defaults would ask for more of the rest
        "creator": {"name": "static"},
        "solver": {"objective": {"name": "dpo"}},
        "evaluation": {"when": "never"},
        **more,
    }
    return parse_config(located(data, Path()), where="probe")


def _reward(name: str) -> Any:
    if name.endswith(".toml"):
        return _from_file(Path(name))
    kind, colon, what = name.partition(":")
    keys = {"python": "function", "classifier": "model", "relevance": "model"}
    if colon and kind in keys:
        return {"name": kind, keys[kind]: what}
    if ".py:" in name:
        raise ConfigError(f"reward {name!r}: a function is named by python:{name}")
    return {"name": name}


def _from_file(path: Path) -> Any:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"reward {path}: cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"reward {path}: broken TOML: {error}") from None
    if "reward" not in data:
        raise ConfigError(
            f"reward {path}: has no [reward] table; got {', '.join(data) or 'an empty file'}"
        )
    found = located(data["reward"], path.parent)
    return {"name": found} if isinstance(found, str) else found
