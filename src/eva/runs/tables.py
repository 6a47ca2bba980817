"""The tables of `population.sqlite`, and the rows that are not prompts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eva.types import Check, Json, Message, Prompt, ScoredGroup

VERSION = 1
"""Version of the tables, kept in the database's `user_version`."""

TABLES: Mapping[str, str] = {
    "prompts": "entry INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, messages TEXT, checks TEXT,"
    " topic TEXT, parents TEXT, operator TEXT, born INTEGER, columns TEXT",
    "scores": "seq INTEGER PRIMARY KEY, prompt_id TEXT, round INTEGER, stage TEXT, policy TEXT,"
    " n INTEGER, n_scored INTEGER, mean REAL, max REAL, min REAL, truncated INTEGER, causes TEXT",
    "informativeness": "seq INTEGER PRIMARY KEY, prompt_id TEXT, round INTEGER, value REAL,"
    " error REAL, drawn INTEGER",
    "refusals": "seq INTEGER PRIMARY KEY, parent_id TEXT, operator TEXT, gate TEXT, reason TEXT,"
    " text TEXT, round INTEGER, stage TEXT",
    "set_aside": "seq INTEGER PRIMARY KEY, source TEXT, place TEXT, reason TEXT,"
    " UNIQUE (source, place, reason)",
    "metrics": "seq INTEGER PRIMARY KEY, round INTEGER, stage TEXT, step INTEGER, time REAL,"
    " metrics TEXT",
    "commits": "seq INTEGER PRIMARY KEY, round INTEGER, stage TEXT, kind TEXT, part INTEGER,"
    " rows INTEGER, file TEXT, size INTEGER, digest TEXT, result TEXT, time REAL,"
    " UNIQUE (round, stage, kind, part)",
}
"""The columns of every table; docs/run-folder.md says what they mean."""

INDEXES = (
    *("scores (prompt_id)", "informativeness (prompt_id)", "refusals (parent_id)"),
    "metrics (round, step)",
)

_JSON = frozenset({"messages", "checks", "parents", "columns", "causes", "metrics", "result"})


@dataclass(frozen=True, slots=True)
class Commit:
    """One unit of work that is done."""

    round: int
    stage: str
    kind: str
    """`chunk` of a map, `once`, `step` (a checkpoint) or `policy` (a stage's final checkpoint)."""
    part: int
    """Index of the chunk, optimiser step of a checkpoint, else 0."""
    rows: int
    """Rows of a chunk, else 0."""
    file: str
    """The file or folder it wrote, relative to the run folder."""
    size: int
    """Bytes."""
    digest: str = ""
    """BLAKE2b of the file; empty for a folder, whose files' digests are in `result`."""
    result: Json = None
    """What `once` returned; for a checkpoint size and digest of each file, or None once it is
    removed."""
    seq: int | None = None
    """Its place among the commits, given by the database."""


@dataclass(frozen=True, slots=True)
class Logged:
    """Metrics as they were logged."""

    round: int
    stage: str
    step: int | None
    """Optimiser step within the stage, where there is one."""
    time: float
    """Seconds since the epoch."""
    metrics: Mapping[str, float]


def stored(row: Mapping[str, Json]) -> dict[str, Json]:
    """Return a row as it is stored: JSON columns as text."""
    return {
        name: json.dumps(value, ensure_ascii=False) if name in _JSON else value
        for name, value in row.items()
    }


def loaded(row: Mapping[str, Json]) -> dict[str, Json]:
    """Return a row as it was before `stored`."""
    return {name: json.loads(value) if name in _JSON else value for name, value in row.items()}


def prompt_row(prompt: Prompt) -> dict[str, Json]:
    """Return a prompt's row."""
    return {
        "id": prompt.id,
        "messages": [{"role": m.role, "content": m.content} for m in prompt.messages],
        "checks": [{"kind": c.kind, "args": dict(c.args)} for c in prompt.checks],
        "topic": prompt.topic,
        "parents": list(prompt.parents),
        "operator": prompt.operator,
        "born": prompt.born,
        "columns": dict(prompt.columns),
    }


def build_prompt(row: Mapping[str, Any]) -> Prompt:
    """Return the prompt of a row."""
    return Prompt(
        tuple(Message(**message) for message in row["messages"]),
        checks=tuple(Check(**check) for check in row["checks"]),
        topic=row["topic"],
        parents=tuple(row["parents"]),
        operator=row["operator"],
        born=row["born"],
        columns=row["columns"],
        id=row["id"],
    )


def score_row(scored: ScoredGroup) -> dict[str, Json]:
    """Return what the table of scores says of one group, but for round and stage."""
    rewards = [reward for reward in scored.rewards if reward is not None]
    causes: dict[str, int] = {}
    for score in scored.scores:
        if score.reward is None:
            causes[score.cause] = causes.get(score.cause, 0) + 1
    return {
        "prompt_id": scored.prompt.id,
        "policy": scored.group.policy,
        "n": len(scored.scores),
        "n_scored": len(rewards),
        "mean": sum(rewards) / len(rewards) if rewards else None,
        "max": max(rewards, default=None),
        "min": min(rewards, default=None),
        "truncated": sum(response.truncated for response in scored.group.responses),
        "causes": causes,
    }
