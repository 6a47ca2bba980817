"""`eva quickstart`: fetch, play, measure, report, and say what to try next."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.table import Table

from eva.app import play, templates
from eva.app.load import load_config
from eva.app.progress import Mode, watcher
from eva.app.results import alarms, comparisons
from eva.data.assets import PREFIX, resolve
from eva.evals.compare import table
from eva.runs.folder import RunFolder
from eva.types import Json
from eva.views import wording
from eva.views.differences import sorted_out
from eva.views.report import report


def quickstart(out: Path, *, mode: Mode = "live") -> None:
    """Play the packaged game into `out`, write its report, and print what came of it.

    Raises:
        EvaError: as `eva.app.play.run` does.
    """
    console = Console(quiet=mode == "quiet")
    began = time.monotonic()
    source = templates.folder() / "quickstart.toml"
    config = load_config(source)
    progress = watcher(mode)
    for asset in sorted(_packaged(config.model_dump())):
        resolve(asset, progress=progress)
    play.run(config, out, mode=mode)
    page = report(out, out / "report.html")
    print_outcome(console, out)
    minutes = (time.monotonic() - began) / 60
    console.print(
        f"  report          {page}\n"
        "  eva new NAME    a config of your own to start from\n"
        f"  eva run {source} rounds=4 --out runs/longer\n\n"
        f"{minutes:.1f} minutes, {peak_memory():.1f} GB at the peak.",
        highlight=False,
        soft_wrap=True,
    )


def peak_memory() -> float:
    """Return the most memory that this process has held, in GB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def print_outcome(console: Console, run: Path) -> None:
    """Print what a run changed, where it lies, and what to do with it."""
    with RunFolder.open_readonly(run) as folder:
        measured = comparisons(folder)
        print_comparisons(console, measured)
        for raised in alarms(folder):
            said = f"[yellow]alarm[/] {escape(wording.alarm(raised))}"
            console.print(said, highlight=False, soft_wrap=True)
    luck = "A difference whose interval holds 0 may be luck.\n" if measured else ""
    console.print(
        f"{luck}\n  run             {run}\n"
        f"  eva show        {run}\n"
        f"  eva report      {run}\n"
        f"  eva export      {run} model my-model",
        highlight=False,
        soft_wrap=True,
    )


def print_comparisons(console: Console, found: Mapping[str, Mapping[str, Json]]) -> None:
    """Print the main differences of before and after, a table per evaluator; the report has all."""
    # where there is no terminal, 80 columns are assumed, which is too few for a row
    wide = console
    if not console.is_terminal:
        wide = Console(file=console.file, width=110, quiet=console.quiet)
    for name, comparison in found.items():
        header, *rows = table({"differences": sorted_out(comparison["differences"]).main})
        shown = Table(title=f"{name}: before and after", title_justify="left", box=None)
        for column in header:
            side: JustifyMethod = "left" if column in {"metric", "verdict"} else "right"
            shown.add_column(column, justify=side, no_wrap=column == "metric")
        for row in rows:
            shown.add_row(*row)
        wide.print(shown)


def _packaged(value: Json) -> set[str]:
    """Return the packaged assets that a config names, wherever it does."""
    if isinstance(value, str):
        return {value} if value.startswith(PREFIX) else set()
    if isinstance(value, Mapping):
        return set().union(*map(_packaged, value.values()))
    if isinstance(value, list | tuple):
        return set().union(*map(_packaged, value))
    return set()
