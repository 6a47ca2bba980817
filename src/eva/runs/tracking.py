"""Where metrics go: always `metrics.jsonl`, and by name TensorBoard, Weights & Biases, Trackio.

The database is the truth; `metrics.jsonl` is derived from it, and made again where it differs.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from eva.errors import ConfigError, unknown_name
from eva.protocols import Tracker
from eva.runs.durable import replace_bytes
from eva.runs.tables import Logged
from eva.types import Json


class TensorBoard:
    """Writes event files to `folder`, one chart per metric against the optimiser step."""

    def __init__(self, folder: Path, config: Mapping[str, Json]) -> None:
        _needed("tensorboard", "tensorboard")
        writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter
        self._writer = writer(log_dir=str(folder))
        self._writer.add_text("config", f"```json\n{json.dumps(dict(config), indent=2)}\n```")

    def log(self, metrics: Mapping[str, float], *, round: int, step: int) -> None:
        """Record metrics."""
        for name, value in {**metrics, "round": round}.items():
            self._writer.add_scalar(name, value, global_step=step)

    def close(self) -> None:
        """Flush and end."""
        self._writer.close()


class Hosted:
    """Logs to Weights & Biases, or to Trackio, which has the same interface.

    Rounds and steps are metrics of their own: these services drop what comes with a step that is
    lower than one they have seen, as a resumed run's may be.
    """

    def __init__(self, module: ModuleType, options: Mapping[str, Any]) -> None:
        self._module = module
        module.init(**options)

    def log(self, metrics: Mapping[str, float], *, round: int, step: int) -> None:
        """Record metrics."""
        self._module.log({**metrics, "round": round, "optimiser_step": step})

    def close(self) -> None:
        """Flush and end."""
        self._module.finish()


class Several:
    """Hands on to several trackers."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = trackers

    def log(self, metrics: Mapping[str, float], *, round: int, step: int) -> None:
        """Record metrics."""
        for tracker in self._trackers:
            tracker.log(metrics, round=round, step=step)

    def close(self) -> None:
        """Flush and end."""
        for tracker in self._trackers:
            tracker.close()


def make_tracker(names: Sequence[str], *, folder: Path, config: Mapping[str, Json]) -> Tracker:
    """Return a tracker that hands on to those of the names, each one of `TRACKERS`.

    `folder` is the run folder: its name is the run's name, and local files go below it.

    Raises:
        ConfigError: there is no such tracker, or its package is not installed.
    """
    for name in names:
        if name not in TRACKERS:
            raise ConfigError(unknown_name("tracker", name, TRACKERS))
    return Several([TRACKERS[name](folder, config) for name in names])


def restore(path: Path, rows: Sequence[Logged]) -> None:
    """Make `metrics.jsonl` again if it does not hold exactly these rows."""
    wanted = "".join(map(_line, rows)).encode()
    if not path.exists() or path.read_bytes() != wanted:
        replace_bytes(path, wanted)


def append(path: Path, rows: Sequence[Logged]) -> None:
    """Add rows to `metrics.jsonl`."""
    with open(path, "ab") as file:
        file.write("".join(map(_line, rows)).encode())


def strict(value: Json) -> Json:
    """Return JSON that every reader takes: numbers that are not finite become null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(name): strict(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict(item) for item in value]
    return value


def _line(row: Logged) -> str:
    where = {"round": row.round, "stage": row.stage, "step": row.step, "time": row.time}
    return json.dumps(strict(where | dict(row.metrics)), ensure_ascii=False) + "\n"


def _needed(module: str, package: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"tracking: {module} cannot be imported ({error}); install it: pip install {package}"
        ) from error


def _wandb(folder: Path, config: Mapping[str, Json]) -> Tracker:
    module = _needed("wandb", "wandb")
    options = {"project": "eva", "name": folder.name, "dir": str(folder), "config": dict(config)}
    # The same id takes a resumed run up where it stopped.
    return Hosted(module, {**options, "id": _run_id(folder), "resume": "allow"})


def _trackio(folder: Path, config: Mapping[str, Json]) -> Tracker:
    module = _needed("trackio", "trackio")
    options = {"project": "eva", "name": folder.name, "config": dict(config), "resume": "allow"}
    return Hosted(module, options)


def _run_id(folder: Path) -> str:
    return hashlib.blake2b(str(folder.absolute()).encode(), digest_size=6).hexdigest()


TRACKERS: Mapping[str, Callable[[Path, Mapping[str, Json]], Tracker]] = {
    "tensorboard": lambda folder, config: TensorBoard(folder / "tensorboard", config),
    "wandb": _wandb,
    "trackio": _trackio,
}
"""Trackers by name."""
