"""Quantiles of Student's t and the normal distribution, without scipy."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np


def t_inside(t: float, df: int) -> float:
    """Return P(|T| < t) for Student's t with `df` degrees of freedom (integer, at least 1).

    Source: Abramowitz and Stegun, 26.7.3 (odd) and 26.7.4 (even): finite sums in
    theta = arctan(t / sqrt(df)).

    >>> round(t_inside(12.7062, 1), 4)
    0.95
    """
    theta = math.atan2(t, math.sqrt(df))
    cosine, sine = math.cos(theta), math.sin(theta)
    if df % 2:
        k = np.arange(1, (df - 1) // 2)
        first = cosine if df > 1 else 0.0
        series = first * (1.0 + float(np.cumprod(2 * k / (2 * k + 1) * cosine**2).sum()))
        return 2.0 / math.pi * (theta + sine * series)
    k = np.arange(1, df // 2)
    return sine * (1.0 + float(np.cumprod((2 * k - 1) / (2 * k) * cosine**2).sum()))


@lru_cache(maxsize=1024)
def t_quantile(level: float, df: int) -> float:
    """Return t such that Student's t lies within (-t, t) with probability `level`.

    >>> round(t_quantile(0.95, 23), 4)
    2.0687
    """
    low, high = 0.0, 1.0
    while t_inside(high, df) < level:
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if t_inside(middle, df) < level else (low, middle)
    return high


def normal_quantile(level: float) -> float:
    """Return z such that a standard normal lies within (-z, z) with probability `level`.

    >>> round(normal_quantile(0.95), 4)
    1.96
    """
    return NormalDist().inv_cdf((1 + level) / 2)
