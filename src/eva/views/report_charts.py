"""Charts as inline SVG: lines, bars, a histogram, and an interval for a cell of a table.

Colours come from the page's style by class, so that they follow light, dark and print. A point
says its figure when it is pointed at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from eva.views.report_page import Html, element, join
from eva.views.wording import count, number

COLOURS = ("one", "two", "three", "four", "five")
"""Classes of the page's style, for the first, second, ... series."""

POINTS = 300
"""Longer series are thinned to means of so many stretches."""

_WIDTH, _HEIGHT = 320, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 42, 8, 8, 30


@dataclass(frozen=True, slots=True)
class Series:
    """Points to join by a line."""

    name: str
    points: Sequence[tuple[float, float]]
    """(x, y), in order of x."""
    bands: Sequence[tuple[float, float] | None] = field(default=())
    """Lower and upper end of the interval at each point, where there is one."""


@dataclass(frozen=True, slots=True)
class _Frame:
    """Maps figures to places in the drawing."""

    x: tuple[float, float]
    y: tuple[float, float]

    def across(self, x: float) -> float:
        """Return the horizontal place of x."""
        low, high = self.x
        part = 0.5 if high == low else (x - low) / (high - low)
        return round(_LEFT + part * (_WIDTH - _LEFT - _RIGHT), 2)

    def down(self, y: float) -> float:
        """Return the vertical place of y, counted from the top."""
        low, high = self.y
        part = 0.5 if high == low else (y - low) / (high - low)
        return round(_HEIGHT - _BOTTOM - part * (_HEIGHT - _TOP - _BOTTOM), 2)


def ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Return round numbers from at most `low` to at least `high`, about as many as wanted.

    >>> ticks(0.13, 0.87)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if not high > low:
        pad = abs(low) / 2 or 0.5
        low, high = low - pad, high + pad
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = max(0, 2 - math.floor(math.log10(step)))
    return [round(i * step, digits) for i in range(first, last + 1)]


def lines(
    title: str,
    series: Sequence[Series],
    *,
    unit: str = "",
    x_label: str = "round",
    marks: Sequence[float] = (),
    zero: bool = False,
) -> Html:
    """Return a chart of lines. `marks` are x at which a round begins; `zero` shows 0."""
    shown = [one for one in map(_thinned, series) if one.points]
    if not shown:
        return Html("")
    xs = [x for one in shown for x, _ in one.points]
    ends = [end for one in shown for band in one.bands if band for end in band]
    ys = [y for one in shown for _, y in one.points] + ends + ([0.0] if zero else [])
    levels = ticks(min(ys), max(ys))
    frame = _Frame((min(xs), max(xs)), (levels[0], levels[-1]))
    drawing = join(
        [
            _grid(frame, levels),
            _x_axis(frame, x_label, whole=len(set(xs)) <= 8),
            *(_upright(frame, x, "round") for x in marks),
            *(_line(frame, one, colour) for one, colour in zip(shown, COLOURS, strict=False)),
        ]
    )
    return _figure(title, _svg(drawing, title), unit=unit, names=[one.name for one in shown])


def bars(title: str, rows: Sequence[tuple[str, Mapping[str, float]]], *, unit: str = "") -> Html:
    """Return stacked bars, one per row of (label, figures by name)."""
    names = list(dict.fromkeys(name for _, parts in rows for name, v in parts.items() if v))
    longest = max((sum(parts.values()) for _, parts in rows), default=0.0)
    if not longest:
        return Html("")
    left = min(130, 12 + 6 * max(len(label) for label, _ in rows))
    scale = (_WIDTH - left - 48) / longest
    drawn = []
    for i, (label, parts) in enumerate(rows):
        y, x = 4 + 22 * i, float(left)
        drawn.append(element("text", label[:22], x=left - 6, y=y + 12, text_anchor="end"))
        for name in names:
            width = round(parts.get(name, 0.0) * scale, 2)
            if width:
                said = f"{label}, {name}: {count(parts[name])}"
                drawn.append(_bar((x, y), (width, 16), order=names.index(name), said=said))
            x = round(x + width, 2)
        drawn.append(element("text", count(sum(parts.values())), x=x + 5, y=y + 12))
    drawing = _svg(join(drawn), title, height=8 + 22 * len(rows))
    return _figure(title, drawing, unit=unit, names=names)


def histogram(title: str, values: Mapping[str, Sequence[float]], *, unit: str = "") -> Html:
    """Return how often values occur; those of several names stand on one another."""
    every = [value for some in values.values() for value in some]
    if not every:
        return Html("")
    edges = ticks(min(every), max(every), 12)
    frame_x = (edges[0], edges[-1])
    tally = {name: _binned(some, edges) for name, some in values.items()}
    highest = max(map(sum, zip(*tally.values(), strict=True)))
    levels = ticks(0, highest, 3)
    frame = _Frame(frame_x, (0.0, levels[-1]))
    drawn = [_grid(frame, levels), _x_axis(frame, unit, whole=False)]
    for i, (left, right) in enumerate(pairwise(edges)):
        base = 0.0
        for order, (name, found) in enumerate(tally.items()):
            top, bottom = frame.down(base + found[i]), frame.down(base)
            size = (frame.across(right) - frame.across(left) - 1, round(bottom - top, 2))
            said = f"{number(left)} to {number(right)}, {name}: {found[i]}"
            if found[i]:
                place = (frame.across(left) + 0.5, top)
                drawn.append(_bar(place, size, order=order, said=said))
            base += found[i]
    return _figure(title, _svg(join(drawn), title), unit="prompts", names=list(values))


def interval(low: float, value: float, high: float, *, reach: float, kind: str) -> Html:
    """Return an interval around a difference, on a scale from -reach to reach."""
    middle, half = 76.0, 70.0

    def place(figure: float) -> float:
        return round(middle + half * max(-1.0, min(1.0, figure / reach)), 2)

    said = (
        f"{number(value, signed=True)}: {number(low, signed=True)} to {number(high, signed=True)}"
    )
    return element(
        "svg",
        element("title", said),
        element("line", class_="axis", x1=middle, x2=middle, y1=1, y2=17),
        element("line", class_=kind, x1=place(low), x2=place(high), y1=9, y2=9, stroke_width=2),
        element("circle", class_=kind, cx=place(value), cy=9, r=3.6),
        class_="interval",
        viewBox="0 0 152 18",
        role="img",
    )


def _figure(title: str, drawing: Html, *, unit: str, names: Sequence[str]) -> Html:
    caption = element(
        "figcaption", title, " ", element("span", f"({unit})", class_="muted") if unit else ""
    )
    legend = element(
        "div",
        *(element("span", n, class_=c) for n, c in zip(names, COLOURS, strict=False)),
        class_="legend",
    )
    return element("figure", caption, legend if len(names) > 1 else "", drawing)


def _svg(drawing: Html, title: str, *, height: int = _HEIGHT) -> Html:
    return element("svg", drawing, viewBox=f"0 0 {_WIDTH} {height}", role="img", aria_label=title)


def _grid(frame: _Frame, levels: Sequence[float]) -> Html:
    right = _WIDTH - _RIGHT
    return join(
        join(
            [
                element("line", class_="grid", x1=_LEFT, x2=right, y1=y, y2=y),
                element("text", _short(level), x=_LEFT - 5, y=y + 4, text_anchor="end"),
            ]
        )
        for level, y in ((level, frame.down(level)) for level in levels)
    )


def _x_axis(frame: _Frame, label: str, *, whole: bool) -> Html:
    low, high = frame.x
    places = ticks(low, high) if high > low else [low]
    if whole:
        places = [float(x) for x in range(math.ceil(low), math.floor(high) + 1)]
    y = _HEIGHT - _BOTTOM
    drawn = [element("line", class_="axis", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y)]
    drawn += [
        element("text", _short(x), x=frame.across(x), y=y + 14, text_anchor="middle")
        for x in places
        if low <= x <= high
    ]
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    drawn.append(element("text", label, x=middle, y=_HEIGHT - 3, text_anchor="middle"))
    return join(drawn)


def _upright(frame: _Frame, x: float, class_: str) -> Html:
    at = frame.across(x)
    return element("line", class_=class_, x1=at, x2=at, y1=_TOP, y2=_HEIGHT - _BOTTOM)


def _line(frame: _Frame, one: Series, colour: str) -> Html:
    places = [(frame.across(x), frame.down(y)) for x, y in one.points]
    drawn = [
        element("polyline", class_=f"stroke {colour}",
                points=" ".join(f"{x},{y}" for x, y in places)),
    ]  # fmt: skip
    for (x, _), band in zip(places, one.bands, strict=False):
        if band:
            y1, y2 = frame.down(band[0]), frame.down(band[1])
            drawn.append(element("line", class_=f"stroke {colour}", x1=x, x2=x, y1=y1, y2=y2))
    if len(places) <= 12:
        drawn += [
            element("circle", element("title", f"{one.name}, {_short(x)}: {number(y)}"),
                    class_=f"fill {colour}", cx=cx, cy=cy, r=3.4)
            for (x, y), (cx, cy) in zip(one.points, places, strict=True)
        ]  # fmt: skip
    return join(drawn)


def _bar(place: tuple[float, float], size: tuple[float, float], *, order: int, said: str) -> Html:
    colour = COLOURS[order % len(COLOURS)]
    width, height = max(size[0], 0.5), size[1]
    size_and_place = {"x": place[0], "y": place[1], "width": width, "height": height}
    title = element("title", said)
    return element("rect", title, class_=f"bar fill {colour}", **size_and_place)


def _binned(values: Sequence[float], edges: Sequence[float]) -> list[int]:
    found = [0] * (len(edges) - 1)
    width = edges[1] - edges[0]
    for value in values:
        found[min(int((value - edges[0]) / width + 1e-9), len(found) - 1)] += 1
    return found


def _thinned(series: Series) -> Series:
    """Return a long series as means of equal stretches, its last one perhaps shorter."""
    points = [(x, y) for x, y in series.points if math.isfinite(y)]
    if len(points) <= POINTS:
        return series if len(points) == len(series.points) else Series(series.name, points)
    size = math.ceil(len(points) / POINTS)
    parts = [points[i : i + size] for i in range(0, len(points), size)]
    means = [(sum(x for x, _ in p) / len(p), sum(y for _, y in p) / len(p)) for p in parts]
    return Series(series.name, means)


def _short(value: float) -> str:
    """Return a number as an axis says it: 0.2, 1.5K, 20K, 0.0002 as 2e-4."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:g}K"
    if value and abs(value) < 1e-3:
        mantissa, _, exponent = f"{value:.1e}".partition("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:.4g}"
