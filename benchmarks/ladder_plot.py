"""The ladder's plot: success against generated tokens, mean and spread over seeds, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from ladder_table import Run, budget, seeds_of, success_at
from panels import svg


def plot(found: Mapping[tuple[str, int], Run], arms: Sequence[str], *, points: int = 25) -> str:
    """Return a panel for all levels, one for each half of them, and a legend.

    Each arm goes as far as all its seeds do; the upright line is where the tables compare them.
    """
    count = len(next(iter(found.values()))[0]["success"])
    half = count // 2
    parts = {"all levels": (0, count)}
    parts |= {f"levels {a + 1} to {b}": (a, b) for a, b in ((0, half), (half, count))}
    xs = {arm: np.linspace(0, budget(found, [arm]), points) for arm in arms}
    panels = {
        f"success, {title}": {
            arm: (xs[arm], _curves(found, arm, xs=xs[arm], part=part)) for arm in arms
        }
        for title, part in parts.items()
    }
    return svg(panels, mark=budget(found, arms))


def _curves(
    found: Mapping[tuple[str, int], Run], arm: str, *, xs: np.ndarray, part: tuple[int, int]
) -> np.ndarray:
    """Return mean success over some levels by seed and point, (S, X)."""
    some = [found[arm, seed] for seed in seeds_of(found, arm)]
    return np.array([[success_at(run, x)[slice(*part)].mean() for x in xs] for run in some])
