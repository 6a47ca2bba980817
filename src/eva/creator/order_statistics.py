"""What the extremes of n rewards are worth when rewards are normal with standard deviation 1.

The expected range of n draws grows with n (1.13 for 2, 2.53 for 6, 3.53 for 16), so that ranges of
prompts with different numbers of responses can be compared only after division by it; and the
standard deviation of the range is what a standard error of it needs.

All moments are integrals over the normal distribution function, computed on a grid to about
1e-4 and remembered for each n.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numpy as np

from eva.types import Floats


class Moments(NamedTuple):
    """Mean and standard deviation of a statistic of n standard normal draws."""

    mean: float
    sd: float


class _Grid(NamedTuple):
    x: Floats
    density: Floats
    below: Floats
    above: Floats
    step: float


@cache
def _grid(points: int = 1601, edge: float = 8.0) -> _Grid:
    x = np.linspace(-edge, edge, points)
    below = np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in x])
    density = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    return _Grid(x, density, below, below[::-1].copy(), float(x[1] - x[0]))


@cache
def normal_range(n: int) -> Moments:
    """Return d2(n) and d3(n), the moments of max - min (Tippett 1925, Biometrika 17).

    E[R^2] integrates P(min <= x and max >= y) over x < y.

    >>> [round(value, 3) for value in normal_range(6)]
    [2.534, 0.848]
    """
    grid = _grid()
    mean = float(np.sum(1 - grid.below**n - grid.above**n)) * grid.step
    coarse = slice(None, None, 2)
    below, above = grid.below[coarse], grid.above[coarse]
    between = np.clip(below[None, :] - below[:, None], 0.0, None)
    outside = 1 - below[None, :] ** n - above[:, None] ** n + between**n
    # A point on the diagonal belongs by half to the triangle x < y.
    triangle = np.triu(outside).sum() - np.trace(outside) / 2
    square = 2 * float(triangle) * (2 * grid.step) ** 2
    return Moments(mean, math.sqrt(square - mean**2))


@cache
def normal_lead(n: int) -> Moments:
    """Return the moments of max - mean.

    Its mean is that of the maximum. The sample mean is independent of what is left when it is
    subtracted (Basu), so Var(max - mean) = Var(max) - 1/n.

    >>> round(normal_lead(6).mean, 3)
    1.267
    """
    grid = _grid()
    weight = n * grid.density * grid.below ** (n - 1) * grid.step
    mean = float(np.sum(grid.x * weight))
    square = float(np.sum(grid.x**2 * weight))
    return Moments(mean, math.sqrt(square - mean**2 - 1 / n))


@cache
def normal_gap(n: int) -> Moments:
    """Return the moments of the best minus the second best.

    E[G] integrates P(second <= x < best) = n F^(n-1) (1 - F); E[G^2] the same with the second
    factor integrated once more, density(x) - x (1 - F(x)).

    >>> round(normal_gap(2).mean, 3) == round(normal_range(2).mean, 3)
    True
    """
    grid = _grid()
    others = n * grid.below ** (n - 1) * grid.step
    mean = float(np.sum(others * grid.above))
    square = 2 * float(np.sum(others * (grid.density - grid.x * grid.above)))
    return Moments(mean, math.sqrt(square - mean**2))


@cache
def c4(n: int) -> float:
    """Return E[s] of the sample standard deviation s, which is a little below 1.

    >>> round(c4(6), 4)
    0.9515
    """
    return math.sqrt(2 / (n - 1)) * math.exp(math.lgamma(n / 2) - math.lgamma((n - 1) / 2))
