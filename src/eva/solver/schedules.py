"""The learning rate of every update of a round.

The convention is that of `transformers.get_scheduler`, so that recipes carry over: warm-up starts
at 0 and decay ends one update after the last, so no update but the very first is lost to a rate
of 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

from eva.errors import ConfigError, unknown_name

Schedule: TypeAlias = Literal["constant", "linear", "cosine"]

SCHEDULES: Mapping[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "linear": lambda done: 1.0 - done,
    "cosine": lambda done: 0.5 * (1.0 + math.cos(math.pi * done)),
}
"""The share of the peak left when a share of the updates after warm-up is done."""


def warmup_updates(warmup: float, total: int) -> int:
    """Return how many of `total` updates warm up: below 1 a share, rounded up, else a number.

    The last update never does: a round of a single update would train with a rate of 0.

    >>> warmup_updates(0.1, 25), warmup_updates(5, 25), warmup_updates(0.1, 1)
    (3, 5, 0)
    """
    wanted = math.ceil(warmup * total) if warmup < 1 else int(warmup)
    return min(wanted, total - 1)


def check_rates(lr: float, *, clip: float | None, warmup: float, schedule: str) -> None:
    """Check what decides the size of updates.

    Raises:
        ConfigError: a number is not finite or too small, or there is no such schedule.
    """
    for name, value in (("lr", lr), ("clip", clip)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{name} = {value}, expected a finite number above 0")
    if not (math.isfinite(warmup) and warmup >= 0):
        raise ConfigError(f"warmup = {warmup}, expected a share or a number of updates")
    if schedule not in SCHEDULES:
        raise ConfigError(unknown_name("schedule", schedule, SCHEDULES))


def learning_rate(
    update: int, *, total: int, peak: float, schedule: Schedule, warmup: float
) -> float:
    """Return the learning rate of update 0, 1, ..., `total` - 1.

    It rises linearly from 0 over the warm-up, then follows the schedule down from `peak`.

    Raises:
        ConfigError: no such schedule.
    """
    if schedule not in SCHEDULES:
        raise ConfigError(unknown_name("schedule", schedule, SCHEDULES))
    rising = warmup_updates(warmup, total)
    if update < rising:
        return peak * update / rising
    return peak * SCHEDULES[schedule]((update - rising) / max(1, total - rising))
