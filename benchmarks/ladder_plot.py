"""The ladder's plot: success against generated tokens, mean and spread over seeds, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from ladder_table import Run, budget, seeds_of, success_at

from eva.views.report_charts import ticks
from eva.views.report_page import Html, element, join

COLOURS = ("#0b6e99", "#d9730d", "#7b5ea7", "#8a8a86", "#3d8b53", "#c4554d", "#b08900", "#444444")
"""One for each arm, in order."""

_WIDTH, _HEIGHT = 350, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 28, 42
_LEGEND = 28
_STYLE = "text{font:11px sans-serif;fill:#333}.t{font-weight:bold}.g{stroke:#ddd}"


def plot(found: Mapping[tuple[str, int], Run], arms: Sequence[str], *, points: int = 25) -> str:
    """Return a panel for all levels, one for each half of them, and a legend."""
    xs = np.linspace(0, budget(found, arms), points)
    count = len(next(iter(found.values()))[0]["success"])
    half = count // 2
    parts = {"all levels": (0, count)}
    parts |= {f"levels {a + 1} to {b}": (a, b) for a, b in ((0, half), (half, count))}
    panels = [
        element("g", _panel(found, arms, xs=xs, title=title, part=part),
                transform=f"translate({i * _WIDTH},0)")
        for i, (title, part) in enumerate(parts.items())
    ]  # fmt: skip
    width, height = len(panels) * _WIDTH, _HEIGHT + _LEGEND
    return str(
        element(
            "svg",
            element("style", _STYLE),
            element("rect", width=width, height=height, fill="white"),
            *panels,
            _legend(arms, width=width),
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {width} {height}",
            width=width,
            height=height,
        )
    )


def _panel(
    found: Mapping[tuple[str, int], Run],
    arms: Sequence[str],
    *,
    xs: np.ndarray,
    title: str,
    part: tuple[int, int],
) -> Html:
    """Return one chart: a line with a band of one standard deviation over seeds for each arm."""
    curves = {}
    for arm in arms:
        some = [found[arm, seed] for seed in seeds_of(found, arm)]
        curves[arm] = np.array(
            [[success_at(run, x)[slice(*part)].mean() for x in xs] for run in some]
        )
    top = ticks(0.0, max(float(values.max()) for values in curves.values()))[-1]
    drawn = [_axes(title, xs=xs, top=top)]
    for values, colour in zip(curves.values(), COLOURS, strict=False):
        mean, spread = values.mean(axis=0), values.std(axis=0, ddof=min(1, len(values) - 1))
        across = [_across(x, xs) for x in xs]
        upper = [_down(min(top, y), top) for y in mean + spread]
        lower = [_down(max(0.0, y), top) for y in mean - spread]
        edge = [*zip(across, upper, strict=True), *reversed([*zip(across, lower, strict=True)])]
        line = zip(across, (_down(y, top) for y in mean), strict=True)
        drawn += [
            element("polygon", points=_points(edge), fill=colour, opacity=0.13),
            element("polyline", points=_points(line), fill="none", stroke=colour, stroke_width=1.8),
        ]
    return join(drawn)


def _axes(title: str, *, xs: np.ndarray, top: float) -> Html:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    drawn = [element("text", title, x=_LEFT, y=_TOP - 12, class_="t")]
    for y in ticks(0.0, top):
        at = _down(y, top)
        drawn += [
            element("line", x1=_LEFT, x2=right, y1=at, y2=at, class_="g"),
            element("text", f"{y:g}", x=_LEFT - 6, y=at + 4, text_anchor="end"),
        ]
    for x in ticks(0.0, float(xs[-1])):
        if x <= xs[-1]:
            at = _across(x, xs)
            drawn.append(
                element("text", f"{x / 1000:g}", x=at, y=bottom + 16, text_anchor="middle")
            )
    middle = (_LEFT + right) / 2
    label = "generated tokens, thousands"
    drawn.append(element("text", label, x=middle, y=bottom + 33, text_anchor="middle"))
    return join(drawn)


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


def _across(x: float, xs: np.ndarray) -> float:
    return round(_LEFT + float(x / xs[-1]) * (_WIDTH - _LEFT - _RIGHT), 1)


def _down(y: float, top: float) -> float:
    return round(_HEIGHT - _BOTTOM - float(y / top) * (_HEIGHT - _TOP - _BOTTOM), 1)


def _points(places: object) -> str:
    return " ".join(f"{x},{y}" for x, y in places)
