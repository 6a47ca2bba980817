"""The ladder's plot: success against generated tokens, mean and spread over seeds, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ladder_table import Run, budget, seeds_of, success_at

from eva.views.report_charts import ticks
from eva.views.report_page import Html, element, join

COLOURS = ("#0b6e99", "#d9730d", "#7b5ea7", "#8a8a86", "#3d8b53", "#c4554d", "#b08900", "#444444")
"""One for each arm, in order."""

_WIDTH, _HEIGHT = 350, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 28, 42
_LEGEND = 28
_STYLE = "text{font:11px sans-serif;fill:#333}.t{font-weight:bold}.g{stroke:#ddd}.e{stroke:#999}"


@dataclass(frozen=True, slots=True)
class _Frame:
    """Maps tokens and success to places in a panel."""

    x: float
    """Tokens at the right edge; 0 is at the left."""
    y: tuple[float, float]

    def across(self, tokens: float) -> float:
        """Return the horizontal place of a number of tokens."""
        return round(_LEFT + tokens / self.x * (_WIDTH - _LEFT - _RIGHT), 1)

    def down(self, success: float) -> float:
        """Return the vertical place of success, counted from the top."""
        low, high = self.y
        part = (min(max(success, low), high) - low) / (high - low)
        return round(_HEIGHT - _BOTTOM - part * (_HEIGHT - _TOP - _BOTTOM), 1)


def plot(found: Mapping[tuple[str, int], Run], arms: Sequence[str], *, points: int = 25) -> str:
    """Return a panel for all levels, one for each half of them, and a legend.

    Each arm goes as far as all its seeds do; the upright line is where the tables compare them.
    """
    count = len(next(iter(found.values()))[0]["success"])
    half = count // 2
    parts = {"all levels": (0, count)}
    parts |= {f"levels {a + 1} to {b}": (a, b) for a, b in ((0, half), (half, count))}
    xs = {arm: np.linspace(0, budget(found, [arm]), points) for arm in arms}
    panels = []
    for i, (title, part) in enumerate(parts.items()):
        curves = {arm: (xs[arm], _curves(found, arm, xs=xs[arm], part=part)) for arm in arms}
        panel = _panel(curves, title=title, mark=budget(found, arms))
        panels.append(element("g", panel, transform=f"translate({i * _WIDTH},0)"))
    width, height = len(panels) * _WIDTH, _HEIGHT + _LEGEND
    background = element("rect", width=width, height=height, fill="white")
    return str(
        element(
            "svg",
            element("style", _STYLE),
            *(background, *panels, _legend(arms, width=width)),
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {width} {height}",
            width=width,
            height=height,
        )
    )


def _curves(
    found: Mapping[tuple[str, int], Run], arm: str, *, xs: np.ndarray, part: tuple[int, int]
) -> np.ndarray:
    """Return mean success over some levels by seed and point, (S, X)."""
    some = [found[arm, seed] for seed in seeds_of(found, arm)]
    return np.array([[success_at(run, x)[slice(*part)].mean() for x in xs] for run in some])


def _panel(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], *, title: str, mark: float) -> Html:
    """Return one chart: a line with a band of one standard deviation over seeds for each arm."""
    levels = ticks(
        min(float(values.min()) for _, values in curves.values()),
        max(float(values.max()) for _, values in curves.values()),
    )
    frame = _Frame(max(xs[-1] for xs, _ in curves.values()), (levels[0], levels[-1]))
    at = frame.across(mark)
    end = element("line", x1=at, x2=at, y1=_TOP, y2=_HEIGHT - _BOTTOM, class_="e",
                  stroke_dasharray="3 3")  # fmt: skip
    drawn = [_axes(frame, title=title, levels=levels), end]
    for (xs, values), colour in zip(curves.values(), COLOURS, strict=False):
        mean, spread = values.mean(axis=0), values.std(axis=0, ddof=min(1, len(values) - 1))
        upper, lower, line = (
            [(frame.across(x), frame.down(y)) for x, y in zip(xs, ys, strict=True)]
            for ys in (mean + spread, mean - spread, mean)
        )
        edge = [*upper, *reversed(lower)]
        drawn += [
            element("polygon", points=_points(edge), fill=colour, opacity=0.13),
            element("polyline", points=_points(line), fill="none", stroke=colour, stroke_width=1.8),
        ]
    return join(drawn)


def _axes(frame: _Frame, *, title: str, levels: Sequence[float]) -> Html:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    drawn = [element("text", f"success, {title}", x=_LEFT, y=_TOP - 12, class_="t")]
    for level in levels:
        y = frame.down(level)
        drawn += [
            element("line", x1=_LEFT, x2=right, y1=y, y2=y, class_="g"),
            element("text", f"{level:g}", x=_LEFT - 6, y=y + 4, text_anchor="end"),
        ]
    drawn += [
        element("text", f"{x / 1000:g}", x=frame.across(x), y=bottom + 16, text_anchor="middle")
        for x in ticks(0.0, frame.x)
        if x <= frame.x
    ]
    middle = (_LEFT + right) / 2
    label = "generated tokens, thousands"
    return join([*drawn, element("text", label, x=middle, y=bottom + 33, text_anchor="middle")])


def _legend(arms: Sequence[str], *, width: int) -> Html:
    step = (width - _LEFT) / len(arms)
    drawn = []
    for i, (arm, colour) in enumerate(zip(arms, COLOURS, strict=False)):
        x, y = round(_LEFT + i * step, 1), _HEIGHT + 10
        drawn += [
            element("line", x1=x, x2=x + 20, y1=y, y2=y, stroke=colour, stroke_width=3),
            element("text", arm, x=x + 26, y=y + 4),
        ]
    return join(drawn)


def _points(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in places)
