"""Findings to judge and to draw: a set in order, with what a test changes about it."""

from dataclasses import replace

import numpy as np
import pytest

from eva.evals.statistics import Interval, wilson_interval
from eva.probing.findings import Findings, Lengths, Repeats
from eva.probing.measures import Contrast, Headroom, Noise
from eva.probing.reliability import Reliabilities, Reliability


@pytest.fixture
def made():
    """Return a maker of findings; without changes they are those of a promising set."""
    best = Reliability("a_min", 0.5, 0.67, 0.5, 0.8, 10)
    found = Findings(
        prompts=64,
        unanswered=0,
        measured=64,
        k=8,
        unscored={},
        contrast=Contrast(wilson_interval(16, 64), 0.05, 0.1, (0.6,)),
        headroom=Headroom(Interval(0.3, 0.02, 0.26, 0.34, 64), 0.5, (0.5, 0.6, 0.8), 0.4),
        repeatability="exact by construction",
        noise=None,
        reliability=Reliabilities((best,), best),
        lengths=Lengths(512, 40.0, 38.0, 60.0, 80.0, 0.02, 0.0),
        repeats=Repeats(100, 1, 2),
    )
    return lambda **changes: replace(found, **changes)


@pytest.fixture
def contrast():
    """Return a maker of contrast: how many of 64 prompts have none, and at which end."""
    return lambda without, highest=0.0, lowest=0.0: Contrast(
        wilson_interval(without, 64), highest, lowest, ()
    )


@pytest.fixture
def noise():
    """Return a maker of noise that alone would make so much headroom."""
    return lambda gain: Noise(0.2, 0.2 / np.sqrt(2), gain, 128)
