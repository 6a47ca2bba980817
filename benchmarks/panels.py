"""Charts side by side: values against generated tokens, mean and spread over seeds, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from eva.views.report_charts import ticks
from eva.views.report_page import Html, element, join

Curve: TypeAlias = tuple[np.ndarray, np.ndarray]
"""Tokens, (X,), and values by seed, (S, X)."""

COLOURS = ("#0b6e99", "#d9730d", "#7b5ea7", "#8a8a86", "#3d8b53", "#c4554d", "#b08900", "#444444")
"""One for each arm, in order."""

_WIDTH, _HEIGHT = 350, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 28, 42
_LEGEND = 28
_STYLE = "text{font:11px sans-serif;fill:#333}.t{font-weight:bold}.g{stroke:#ddd}.e{stroke:#999}"


@dataclass(frozen=True, slots=True)
class _Frame:
    """Maps tokens and values to places in a panel."""

    x: float
    """Tokens at the right edge; 0 is at the left."""
    y: tuple[float, float]

    def across(self, tokens: float) -> float:
        """Return the horizontal place of a number of tokens."""
        return round(_LEFT + tokens / self.x * (_WIDTH - _LEFT - _RIGHT), 1)

    def down(self, value: float) -> float:
        """Return the vertical place of a value, counted from the top."""
        low, high = self.y
        part = (min(max(value, low), high) - low) / (high - low)
        return round(_HEIGHT - _BOTTOM - part * (_HEIGHT - _TOP - _BOTTOM), 1)


def svg(panels: Mapping[str, Mapping[str, Curve]], *, mark: float) -> str:
    """Return a panel for each title, with a curve for each arm, and a legend.

    `mark` is where an upright line stands: the tokens at which tables compare the arms.
    """
    drawn = [
        element("g", _panel(curves, title=title, mark=mark), transform=f"translate({i * _WIDTH},0)")
        for i, (title, curves) in enumerate(panels.items())
    ]
    arms = list(dict.fromkeys(arm for curves in panels.values() for arm in curves))
    width, height = len(panels) * _WIDTH, _HEIGHT + _LEGEND
    background = element("rect", width=width, height=height, fill="white")
    return str(
        element(
            "svg",
            element("style", _STYLE),
            *(background, *drawn, _legend(arms, width=width)),
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {width} {height}",
            width=width,
            height=height,
        )
    )


def _panel(curves: Mapping[str, Curve], *, title: str, mark: float) -> Html:
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
    drawn = [element("text", title, x=_LEFT, y=_TOP - 12, class_="t")]
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
