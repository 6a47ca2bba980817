"""Watching a run: a live bar on a terminal, a line per stage in a log, JSON lines, or nothing."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Literal, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from eva import protocols
from eva.types import Stage

Mode = Literal["live", "plain", "json", "quiet"]

_SHOWN = {
    "reward": "reward {:.3f}",
    "info": "info {:.3f}",
    "loss": "loss {:.3f}",
    "refused": "refused {:.0f}",
}


def watcher(mode: Mode, console: Console | None = None) -> protocols.Progress:
    """Return the progress of a mode; `live` falls back to `plain` where there is no terminal."""
    console = console or Console(stderr=True)
    if mode == "quiet":
        return Silent()
    if mode == "json":
        return Lines(as_json(sys.stdout))
    if mode == "live" and console.is_terminal:
        return Live(console)
    return Lines(as_text(console))


class Silent:
    """Shows nothing."""

    def begin(self, stage: Stage, total: int, *, done: int = 0, unit: str = "prompts") -> None:
        """Show nothing."""

    def advance(self, done: int, **figures: float) -> None:
        """Show nothing."""

    def end(self) -> None:
        """Show nothing."""


def speed(figures: dict[str, float], seconds: float) -> str:
    """Return what the newest figures say, rates over the stage so far."""
    parts = []
    if figures.get("tokens") and seconds > 0:
        parts.append(f"{figures['tokens'] / seconds:,.0f} tok/s")
    parts += [form.format(figures[key]) for key, form in _SHOWN.items() if key in figures]
    return " · ".join(parts)


def title(stage: Stage) -> str:
    """Return a stage as people read it."""
    if stage.name.startswith("evaluate/"):
        return stage.name.replace("evaluate/", "measure · ")
    if stage.name.startswith("probe/"):
        return stage.name.replace("/", " · ")
    return f"round {stage.round} · {stage.name}" if stage.round else f"before · {stage.name}"


class Live(Silent):
    """A bar per stage, redrawn in place; finished stages stay as lines above it."""

    def __init__(self, console: Console) -> None:
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", style="bold"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(),
            TextColumn("eta"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}", style="cyan"),
            console=console,
        )
        self._task: TaskID | None = None
        self._began = 0.0

    def begin(self, stage: Stage, total: int, *, done: int = 0, unit: str = "prompts") -> None:
        """Add a bar."""
        self._began = time.monotonic()
        self._bars.start()
        self._task = self._bars.add_task(
            f"{title(stage):<28}", total=total, completed=done, unit=unit, figures=""
        )

    def advance(self, done: int, **figures: float) -> None:
        """Move the bar."""
        if self._task is not None:
            shown = speed(figures, time.monotonic() - self._began)
            self._bars.update(self._task, completed=done, figures=shown)

    def end(self) -> None:
        """Leave the finished bar where it is."""
        self._bars.stop()
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None


Event = dict[str, object]


class Lines(Silent):
    """One event when a stage begins and one when it ends, for logs and programs."""

    def __init__(self, write: Callable[[Event], None]) -> None:
        self._write = write
        self._event: Event = {}
        self._figures: dict[str, float] = {}
        self._began = 0.0

    def begin(self, stage: Stage, total: int, *, done: int = 0, unit: str = "prompts") -> None:
        """Note the stage."""
        self._began = time.monotonic()
        self._figures = {}
        self._event = {"round": stage.round, "stage": stage.name, "unit": unit}
        self._event |= {"done": done, "total": total}

    def advance(self, done: int, **figures: float) -> None:
        """Note how far it is."""
        self._event["done"] = done
        self._figures = figures

    def end(self) -> None:
        """Write the event."""
        seconds = round(time.monotonic() - self._began, 3)
        self._write(self._event | self._figures | {"seconds": seconds})


def as_json(stream: TextIO) -> Callable[[Event], None]:
    """Return a writer of JSON lines."""
    return lambda event: print(json.dumps(event), file=stream, flush=True)


def as_text(console: Console) -> Callable[[Event], None]:
    """Return a writer of one readable line per stage."""

    def write(event: Event) -> None:
        stage = Stage(int(str(event["round"])), str(event["stage"]))
        seconds = float(str(event["seconds"]))
        figures = {k: float(v) for k, v in event.items() if isinstance(v, int | float)}
        done = f"{event['done']}/{event['total']} {event['unit']}"
        console.print(
            f"{title(stage):<28} {done:>16} {seconds:8.1f} s  {speed(figures, seconds)}".rstrip(),
            highlight=False,
            markup=False,
            soft_wrap=True,
        )

    return write
