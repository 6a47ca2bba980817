"""A probe as people read it."""

from __future__ import annotations

import json
import math
import sys
import textwrap

import numpy as np
from rich.console import Console
from rich.table import Table

from eva.evals.statistics import Interval
from eva.probing.findings import percent
from eva.probing.probe import Probe
from eva.probing.reliability import ENOUGH, MOST

_COLOURS = {"likely": "green", "doubtful": "yellow", "unlikely": "red", "cannot tell": "magenta"}
_WIDTH = 96


def show(probe: Probe, *, as_json: bool = False, console: Console | None = None) -> None:
    """Print a probe: the measures, the metrics compared, and the verdict last."""
    if as_json:
        sys.stdout.write(json.dumps(probe.json()) + "\n")
        return
    console = console or Console(highlight=False)
    if not console.is_terminal:
        # 80 columns are assumed there, which is too few for a row
        console = Console(file=console.file, width=110, highlight=False)
    console.print(_measures(probe), _metrics(probe), sep="\n")
    width = min(_WIDTH, console.width)
    for caution in probe.verdict.cautions:
        console.print(textwrap.fill(f"note: {caution}", width), markup=False, style="yellow")
    said = textwrap.fill(probe.verdict.sentence, width)
    console.print()
    console.print(said, markup=False, style=f"bold {_COLOURS[probe.verdict.help]}")


def _measures(probe: Probe) -> Table:
    found, table = probe.found, Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    params = probe.answers
    rows = {
        "model": probe.model,
        "prompts": f"{found.prompts} of {probe.prompts}" + _too_long(found.unanswered),
        "reward": probe.reward,
        "answers": f"{params.n} per prompt at temperature {params.temperature:g}; {found.k} "
        f"scored ones of {found.measured} prompt{'' if found.measured == 1 else 's'} are compared",
        "unscored": ", ".join(f"{n} {cause}" for cause, n in found.unscored.items()) or "none",
        "lengths": _lengths(probe),
        "repeats": f"{found.repeats.equal:,} equal, {found.repeats.near:,} nearly, of "
        f"{found.repeats.prompts:,} prompts of the set",
        "": "",
        "no contrast": _contrast(probe),
        "headroom": _headroom(probe),
        "best of k": _curve(found.headroom.best_of),
        "noise": _noise(probe),
    }
    for name, said in rows.items():
        table.add_row(name, said.replace("[", r"\["))
    return table


def _too_long(count: int) -> str:
    return f", {count} of them too long for it" if count else ""


def _lengths(probe: Probe) -> str:
    found = probe.found.lengths
    if not found.answers:
        return "no answers"
    return (
        f"{found.mean:.0f} tokens on average, {found.median:.0f} in the median, {found.longest:.0f}"
        f" at most; {percent(found.truncated)} cut off at {probe.answers.max_tokens}, "
        f"{percent(found.empty)} empty"
    )


def _contrast(probe: Probe) -> str:
    found = probe.found.contrast
    said = f"{interval(found.without, share=True)} of the prompts"
    if math.isfinite(found.highest):
        said += f"; all highest {percent(found.highest)}, all lowest {percent(found.lowest)}"
    return said


def _headroom(probe: Probe) -> str:
    found = probe.found.headroom
    if not math.isfinite(found.mean):
        return "not measured: no prompt has two scored answers"
    return (
        f"{interval(found.gain)}: the best of {probe.found.k} against a mean of {found.mean:.3g}; "
        f"all rewards spread by {found.spread:.3g}"
    )


def _curve(best_of: tuple[float, ...]) -> str:
    shown = sorted({1, 2, 3, 4, 6, *(8 * 2**i for i in range(6)), len(best_of)})
    return "  ".join(f"{k}: {best_of[k - 1]:.3g}" for k in shown if k <= len(best_of))


def _noise(probe: Probe) -> str:
    found = probe.found
    if found.repeatability == "exact by construction":
        return "none: rules give the same score every time"
    if found.repeatability == "same score again":
        return "not measured: the same scores came back, deterministic or cached"
    if found.noise is None:
        return "not measured: no answer was scored twice"
    return (
        f"{found.noise.sd:.3g} per score, {found.noise.difference:.3g} between two of "
        f"{found.noise.answers} answers; alone it would make headroom of {found.noise.gain:.3g}"
    )


def _metrics(probe: Probe) -> Table:
    reliability = probe.found.reliability
    table = Table(box=None, pad_edge=False, title_justify="left", title_style="bold")
    if not reliability.metrics:
        return table
    table.title = f"\nreliability of the metrics, and the answers that reach {ENOUGH}"
    for title in ("metric", "halves", f"all {probe.found.k}", "95 % interval", "answers needed"):
        table.add_column(title, justify="left" if title == "metric" else "right")
    for row in sorted(reliability.metrics, key=lambda row: -np.nan_to_num(row.full, nan=-2.0)):
        taken = row is reliability.recommended
        needed = str(row.n) if row.n else f"over {MOST}"
        numbers = (
            (f"{row.half:.2f}", f"{row.full:.2f}", f"{row.low:.2f} to {row.high:.2f}", needed)
            if math.isfinite(row.half)
            else ("", "", "ranks nothing", "")
        )
        table.add_row(row.metric, *numbers, style="green" if taken else "")
    return table


def interval(found: Interval, *, share: bool = False) -> str:
    """Return an estimate with its interval as people read it.

    >>> interval(Interval(0.25, 0.1, 0.1, 0.4, 20), share=True)
    '25 % (10 to 40)'
    """
    if not math.isfinite(found.estimate):
        return "not measured"
    if not math.isfinite(found.low):
        return f"{found.estimate:.3g} (of one prompt, which has no interval)"
    if share:
        return f"{100 * found.estimate:.0f} % ({100 * found.low:.0f} to {100 * found.high:.0f})"
    return f"{found.estimate:.3g} ({found.low:.3g} to {found.high:.3g})"
