"""The run folder: the truth about a run. Its layout is described in docs/run-folder.md."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

from eva import __version__
from eva.errors import RunError
from eva.protocols import Progress, Tracker
from eva.runs import lock, tracking
from eva.runs.checkpoints import KEEP, Retention
from eva.runs.durable import Files, make_folder
from eva.runs.journal import RunJournal
from eva.runs.ledger import Ledger
from eva.runs.population import Population
from eva.types import Json

FORMAT = 2
"""Version of the layout, kept in `run.json`."""

PACKAGES = (
    *("numpy", "torch", "transformers", "tokenizers", "safetensors", "accelerate", "peft"),
    *("datasets", "pyarrow", "datasketch", "trl", "vllm", "lm_eval"),
)
"""Packages whose versions are recorded, where they are installed."""

_REACHED = frozenset(
    {"url", "key_variable", "concurrency", "retries", "seconds"}
    | {"input_price", "output_price", "max_cost", "limit_field"}
)
"""Keys of a table `server` that say how it is reached and what it may cost, not what is played."""

_STARTED = "serve"
"""The table that says how the policy's own server is started and asked: what is played is the same
whatever it holds, and whoever finds the command wrong in round 3 has to be able to change it."""

# What a kill may leave of a folder before `run.json` says that it is one.
_BEGUN = frozenset({"lock", ".run.json.tmp", "population.sqlite", "population.sqlite-journal"})


class RunFolder:
    """An open run folder, made by `create`, `open` or `open_readonly`; a context manager."""

    def __init__(self, path: Path, *, locked: int | None) -> None:
        self.path = path
        """Where it lies."""
        self._locked = locked
        self.population = Population(path / "population.sqlite", readonly=locked is None)
        """Every prompt, score, refusal and metric, and the commits."""
        self.info: Mapping[str, Json] = {}
        """What `run.json` says."""

    @classmethod
    def create(
        cls, path: Path, config: Mapping[str, Json], info: Mapping[str, Json] | None = None
    ) -> Self:
        """Make a run folder, or open that of an interrupted run of the same config.

        How a server is started or reached, and what it may cost, can have changed.
        `config` is what is played, as JSON; `info` is kept beside it (a command line, a seed).

        Raises:
            RunError: the folder holds anything else, or another process uses it. Nothing is
                overwritten.
        """
        path = Path(path).absolute()
        _refuse_foreign(path)
        try:
            make_folder(path)
        except OSError as error:
            raise RunError(f"{path}: cannot make a run folder there: {error}") from error
        locked = lock.acquire(path / "lock")
        if not (path / "run.json").exists():
            return cls._opened(path, locked, new=_description(config, info or {}))
        folder = cls._opened(path, locked)
        try:
            folder._refuse_other(config)
            if folder.config != config:
                folder._describe({**folder.info, "config": dict(config)})
        except RunError:
            folder.close()
            raise
        return folder

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the folder of an interrupted or finished run, to go on with it.

        Raises:
            RunError: there is no run, it is damaged, or another process uses it.
        """
        path = Path(path).absolute()
        _read_description(path)
        return cls._opened(path, lock.acquire(path / "lock"))

    @classmethod
    def open_readonly(cls, path: Path) -> Self:
        """Open a run folder to look at it, whether or not a process plays the run.

        Raises:
            RunError: there is no run, or it is damaged.
        """
        path = Path(path).absolute()
        _read_description(path)
        return cls._opened(path, None)

    @classmethod
    def _opened(
        cls, path: Path, locked: int | None, *, new: Mapping[str, Json] | None = None
    ) -> Self:
        try:
            if new is not None:
                (path / "population.sqlite").touch()
            folder = cls(path, locked=locked)
        except BaseException:
            if locked is not None:
                lock.release(locked)
            raise
        try:
            if new is not None:
                folder.population.create()
                folder._describe(new)
            folder.info = _read_description(path)
            folder.population.check()
            if locked is not None:
                tracking.restore(path / "metrics.jsonl", folder.population.metrics())
        except BaseException:
            folder.close()
            raise
        return folder

    @property
    def config(self) -> Mapping[str, Json]:
        """The config as played."""
        config: Mapping[str, Json] = self.info["config"]
        return config

    def journal(
        self,
        *,
        progress: Progress | None = None,
        tracker: Tracker | None = None,
        keep: Retention = KEEP,
    ) -> RunJournal:
        """Return the journal of the run."""
        ledger = Ledger(self.population, lines=self.path / "metrics.jsonl", tracker=tracker)
        return RunJournal(ledger, Files(self.path), progress=progress, keep=keep)

    def policy(self, round: int) -> Path:
        """Return where the policy of a round lies once its training is done."""
        return self.path / f"rounds/{round:03d}/policy"

    def records(self) -> list[Json]:
        """Return the records of the rounds that are done, in order."""
        return [row["result"] for row in self.population.table("commits", stage="record")]

    @property
    def past_alarms(self) -> int:
        """The round up to which alarms stop the run no more."""
        return int(self.info.get("past_alarms", 0))

    def pass_alarms(self) -> None:
        """Say in `run.json` that alarms of the rounds that are done stop the run no more."""
        self._describe(dict(self.info) | {"past_alarms": len(self.records())})

    def finish(self, status: str = "finished") -> None:
        """Say in `run.json` how the run ended."""
        self._describe(dict(self.info) | {"status": status})

    def close(self) -> None:
        """Close the folder, and let other processes have it."""
        self.population.close()
        if self._locked is not None:
            lock.release(self._locked)
            self._locked = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _describe(self, info: Mapping[str, Json]) -> None:
        text = json.dumps(info, ensure_ascii=False, indent=2) + "\n"
        Files(self.path).write("run.json", text.encode(), stage="create")
        self.info = info

    def _refuse_other(self, config: Mapping[str, Json]) -> None:
        if self.info["config_hash"] != config_hash(config):
            changed = ", ".join(_changes(self.config, config))
            raise RunError(
                f"{self.path} holds a run of another config (they differ in {changed}): "
                "choose another folder"
            )
        if self.info["status"] == "finished":
            raise RunError(f"{self.path} holds a finished run: choose another folder")


def config_hash(config: Mapping[str, Json]) -> str:
    """Return a hash of what a config plays, whatever the order of its keys."""
    text = json.dumps(_played(config), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _played(config: Json, table: str = "") -> Json:
    if isinstance(config, list):
        return [_played(item) for item in config]
    if not isinstance(config, Mapping):
        return config
    if table == _STARTED:
        return {}
    left = _REACHED if table == "server" else frozenset()
    return {key: _played(value, key) for key, value in config.items() if key not in left}


def versions() -> dict[str, str]:
    """Return the versions of eva, Python and the packages in use."""
    found = {"eva": __version__, "python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _description(config: Mapping[str, Json], info: Mapping[str, Json]) -> dict[str, Json]:
    # No environment: it may hold keys.
    return {
        "format": FORMAT,
        "status": "running",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "config_hash": config_hash(config),
        "versions": versions(),
        "info": dict(info),
        "config": dict(config),
    }


def _read_description(path: Path) -> Mapping[str, Json]:
    file = path / "run.json"
    try:
        info: Any = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise RunError(f"{path} is not a run folder: it has no run.json") from error
    except (OSError, ValueError) as error:
        raise RunError(f"{file} is damaged: {error}; put back a copy of it") from error
    written = info.get("format") if isinstance(info, dict) else None
    if written != FORMAT:
        raise RunError(
            f"{file}: got format {written}, expected {FORMAT}: use the eva that wrote it"
        )
    return info  # type: ignore[no-any-return]


def _refuse_foreign(path: Path) -> None:
    if not path.exists() or (path / "run.json").exists():
        return
    if not path.is_dir():
        raise RunError(f"{path} is a file, expected a folder or nothing: choose another folder")
    foreign = sorted(entry.name for entry in path.iterdir() if entry.name not in _BEGUN)
    if foreign:
        raise RunError(
            f"{path} is not empty and holds no run (found {foreign[0]}): choose another folder"
        )


def _changes(before: Mapping[str, Json], after: Mapping[str, Json], at: str = "") -> list[str]:
    changed = []
    for key in sorted({*before, *after}):
        old, new = before.get(key), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            changed += _changes(old, new, f"{at}{key}.")
        elif old != new:
            changed.append(f"{at}{key}")
    return changed
