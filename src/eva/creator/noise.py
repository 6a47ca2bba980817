"""Informativeness without the part of it that is disagreement among the rewards.

Where the reward is a mean over an ensemble, answers differ because of their worth and because the
members disagree. A creator that maximises the spread of rewards is then paid for prompts that the
rewards are unsure of. Of the variance over answers, the ensemble's disagreement explains a known
part (`eva.disagreement`); what is left is an unbiased estimate of the variance of their worth,

    signal = max(0, Var_y(mean over members) - s^2 / M),

and a metric of the spread shrinks with it: the variance itself by signal / Var, a metric in the
reward's own unit by the root of that. An addition: the paper has one reward.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from eva.creator.informativeness import ALIASES, by_count, var
from eva.errors import ConfigError, unknown_name
from eva.types import Estimates, Floats

Rewards: TypeAlias = Sequence[Sequence[float | None]]
Correction: TypeAlias = Callable[[Estimates, Rewards, Sequence[float]], Estimates]
"""Makes corrected estimates of plain ones, rewards, (P, G), and their noise, (P,)."""

POWERS: Mapping[str, float] = MappingProxyType(
    {"var": 1.0, **dict.fromkeys(("a_min", "a_avg", "a_dts", "sd", "gini"), 0.5)}
)
"""To which power of the share of signal each metric of spread shrinks."""


def correction(metric: str) -> Correction:
    """Return the correction for a metric, by its name or alias.

    Raises:
        ConfigError: the metric is no measure of the spread of rewards.
    """
    name = ALIASES.get(metric, metric)
    if name not in POWERS:
        raise ConfigError(
            "noise_corrected: " + unknown_name("metric of the spread of rewards", metric, POWERS)
        )
    return partial(corrected, power=POWERS[name])


def corrected(
    estimates: Estimates, rewards: Rewards, noise: Sequence[float], *, power: float
) -> Estimates:
    """Return estimates, and their errors, of the signal alone; the share is taken as known."""
    if not len(noise):
        return estimates
    shrink = signal_share(rewards, np.asarray(noise, dtype=np.float64)) ** power
    return Estimates(estimates.values * shrink, estimates.errors * shrink, estimates.counts)


def signal_share(rewards: Rewards, noise: Floats) -> Floats:
    """Return which share of the rewards' variance is no noise, (P, G) and (P,) -> (P,).

    1 where there is no noise, or there are too few rewards to tell.
    """
    share = np.ones(len(rewards))
    for rows, rewards_PG in by_count(rewards):
        if rewards_PG.shape[1] > 1:
            spread = var(rewards_PG)
            known = (noise[rows] > 0) & (spread > 0)
            share[rows[known]] = np.maximum(1 - noise[rows[known]] / spread[known], 0.0)
    return share
