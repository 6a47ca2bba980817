"""Advantages: from the rewards of a batch's responses to what a policy gradient weighs them by.

An estimator maps the rewards of P prompts, ragged (P, G), to P arrays of (G,). An unscored
response, None, has advantage NaN: it takes no part, neither in a baseline nor in training. A
response without another to be compared with has advantage 0, and so have equal ones, to the bit.

Departures from the papers:
- `reinforce` has the mean of the batch as its baseline, not a moving average of past batches: an
  update is then a function of its batch, and a resumed run needs no state to go on.
- `scale` divides by the standard deviation of rewards for every estimator; TRL's RLOO
  (`normalize_advantages`) divides by that of the advantages, which is larger by G / (G - 1).
- A group whose rewards are equal has advantage exactly 0, where the formulas leave rounding that
  GRPO's division would then blow up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np

from eva.errors import ConfigError, unknown_name
from eva.types import Floats

Rewards: TypeAlias = Sequence[Sequence[float | None]]
"""Ragged (P, G)."""
Scale: TypeAlias = Literal["none", "group", "batch"]
SCALES: tuple[Scale, ...] = ("none", "group", "batch")
EPSILON = 1e-4
"""Added to the standard deviation, as in TRL."""


def rloo(rewards: Rewards) -> list[Floats]:
    """Return each reward minus the mean of the group's others (arXiv:2402.14740).

    >>> [values.tolist() for values in rloo([(1.0, 0.0, None, 2.0)])]
    [[0.0, -1.5, nan, 1.5]]
    """
    return [_leave_one_out(_array(group)) for group in rewards]


def grpo(rewards: Rewards) -> list[Floats]:
    """Return each reward minus the mean of its group (arXiv:2402.03300, sec. 4.1.2).

    The paper divides by the group's standard deviation (`scale = "group"`); arXiv:2503.20783 says
    why not to.

    >>> [values.tolist() for values in grpo([(1.0, 0.0, None, 2.0)])]
    [[0.0, -1.0, nan, 1.0]]
    """
    return [_centred(_array(group), _array(group)) for group in rewards]


def reinforce(rewards: Rewards) -> list[Floats]:
    """Return each reward minus the mean of the batch: REINFORCE with a baseline (Williams 1992).

    >>> [values.tolist() for values in reinforce([(1.0, 1.0), (4.0, None)])]
    [[-1.0, -1.0], [2.0, nan]]
    """
    every = _array([reward for group in rewards for reward in group])
    return [_centred(_array(group), every) for group in rewards]


ADVANTAGES: Mapping[str, Callable[[Rewards], list[Floats]]] = {
    "rloo": rloo,
    "grpo": grpo,
    "reinforce": reinforce,
}


def advantages(rewards: Rewards, *, estimator: str = "rloo", scale: Scale = "none") -> list[Floats]:
    """Return the advantages of P prompts' responses, one (G,) each; NaN for an unscored one.

    `scale` divides by the standard deviation of the rewards, with n - 1 in its denominator, of the
    `group` or of the `batch`, plus `EPSILON`. `grpo` with `group` is the paper's, `reinforce` with
    `batch` that of arXiv:2501.03262.

    >>> [values.round(3).tolist() for values in advantages([(1.0, 3.0)], scale="group")]
    [[-1.414, 1.414]]

    Raises:
        ConfigError: no such estimator or scale.
    """
    if estimator not in ADVANTAGES:
        raise ConfigError(unknown_name("estimator", estimator, ADVANTAGES))
    if scale not in SCALES:
        raise ConfigError(unknown_name("scale", scale, SCALES))
    found = ADVANTAGES[estimator](rewards)
    if scale == "none" or not found:
        return found
    groups = [_array(group) for group in rewards]
    if scale == "batch":
        groups = [np.concatenate(groups)] * len(groups)
    pairs = zip(found, groups, strict=True)
    return [values / (_deviation(group) + EPSILON) for values, group in pairs]


def _array(rewards: Sequence[float | None]) -> Floats:
    return np.array([math.nan if r is None else r for r in rewards], dtype=np.float64)


def _leave_one_out(reward_G: Floats) -> Floats:
    scored = reward_G[~np.isnan(reward_G)]
    if len(scored) < 2 or scored.min() == scored.max():
        return _nothing(reward_G)
    others_G: Floats = (scored.sum() - reward_G) / (len(scored) - 1)
    return reward_G - others_G


def _centred(reward_G: Floats, around: Floats) -> Floats:
    scored = around[~np.isnan(around)]
    if not len(scored) or scored.min() == scored.max():
        return _nothing(reward_G)
    return reward_G - float(scored.mean())


def _nothing(reward_G: Floats) -> Floats:
    return np.where(np.isnan(reward_G), math.nan, 0.0)


def _deviation(rewards: Floats) -> float:
    scored = rewards[~np.isnan(rewards)]
    return float(scored.std(ddof=1)) if len(scored) > 1 else 0.0
