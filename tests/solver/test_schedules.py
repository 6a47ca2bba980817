from __future__ import annotations

import pytest
import torch
from transformers import get_scheduler

from eva.errors import ConfigError
from eva.solver.schedules import SCHEDULES, learning_rate, warmup_updates

TRANSFORMERS = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("total", "warmup"), [(20, 0.1), (7, 3), (1, 0.1), (5, 0), (3, 9)])
def test_rates_are_those_of_transformers(schedule, total, warmup):
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=3e-4)
    rising = warmup_updates(warmup, total)
    theirs = get_scheduler(TRANSFORMERS[schedule], optimiser, rising, total)
    for update in range(total):
        ours = learning_rate(update, total=total, peak=3e-4, schedule=schedule, warmup=warmup)
        assert ours == pytest.approx(theirs.get_last_lr()[0], rel=1e-12, abs=0)
        optimiser.step()
        theirs.step()


def test_rates_by_hand():
    rates = [learning_rate(u, total=6, peak=8.0, schedule="linear", warmup=2) for u in range(6)]
    assert rates == [0.0, 4.0, 8.0, 6.0, 4.0, 2.0]
    half = learning_rate(2, total=4, peak=8.0, schedule="cosine", warmup=0)
    assert half == pytest.approx(4.0)


def test_warmup_is_a_share_below_one_and_a_number_from_one():
    assert [warmup_updates(w, 25) for w in (0, 0.1, 0.04, 1, 7)] == [0, 3, 1, 1, 7]


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ConfigError, match="did you mean 'cosine'"):
        learning_rate(0, total=1, peak=1.0, schedule="cosin", warmup=0)
