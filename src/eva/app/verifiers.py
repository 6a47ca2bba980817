"""From a config's section to a verifier or a penalty."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

from eva.app.config_verifiers import (
    JsonSchema,
    Length,
    Mathematics,
    Pattern,
    Penalty,
    Puzzle,
    Repetition,
    Verifier,
)
from eva.errors import ConfigError
from eva.protocols import RewardModel
from eva.rewards.penalties import PenaltyReward, length, profanity, repetition
from eva.rewards.verifier import VerifierReward
from eva.types import Json, Response


def verifier(section: Verifier) -> VerifierReward:
    """Return the verifier of a section, its worker running.

    Raises:
        ConfigError: a package is missing, or a schema cannot be read.
    """
    if isinstance(section, Mathematics):
        return VerifierReward(
            "eva.rewards.mathematics:agrees",
            name=section.name,
            columns={"reference": section.column},
            seconds=section.seconds,
        )
    if isinstance(section, Puzzle):
        from eva import gym

        gym.library()
        return VerifierReward(
            "eva.gym:solved",
            name=section.name,
            columns={name: name for name in ("task", "level", "entry")},
            seconds=section.seconds,
        )
    if isinstance(section, Pattern):
        columns = {"pattern": section.column} if section.column else {}
        settings: dict[str, Json] = {"whole": section.whole, "group": section.group}
        return VerifierReward(
            "eva.rewards.pattern:matched",
            name=section.name,
            columns=columns | ({"answer": section.answer} if section.answer else {}),
            settings=settings | ({"pattern": section.pattern} if section.pattern else {}),
            seconds=section.seconds,
        )
    return VerifierReward(
        "eva.rewards.json_schema:fits",
        name=section.name,
        columns={"schema": section.column} if section.column else {},
        settings={} if section.column else {"schema": schema(section)},
        seconds=section.seconds,
    )


def schema(section: JsonSchema) -> Json:
    """Return the schema that a section gives, from its file or itself.

    Raises:
        ConfigError: it is neither JSON nor a file with JSON.
    """
    given = section.definition
    try:
        text = given if given.lstrip().startswith("{") else Path(given).read_text("utf-8")
        return json.loads(text)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"reward 'json_schema': definition {given[:80]!r}: {error}; expected a JSON file, or"
            " a JSON object"
        ) from error


def penalty(section: Penalty) -> RewardModel:
    """Return the penalty of a section.

    Raises:
        ConfigError: a list of words cannot be read, or has none.
    """
    measured: Callable[[Response], float]
    if isinstance(section, Length):
        tokens = section.unit == "tokens"
        measured = partial(length, limit=section.limit, ramp=section.ramp, tokens=tokens)
    elif isinstance(section, Repetition):
        measured = partial(repetition, ngram=section.ngram, allowed=section.allowed)
    else:
        measured = profanity([*section.words, *_listed(section.file)], full=section.full)
    return PenaltyReward(section.name, measured)


def _listed(file: str) -> list[str]:
    if not file:
        return []
    try:
        lines = Path(file).read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise ConfigError(f"reward 'profanity': file {file!r}: {error}") from error
    return [line for line in lines if not line.startswith("#")]
