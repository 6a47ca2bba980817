from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eva.errors import ConfigError
from eva.solver.advantages import ADVANTAGES, EPSILON, SCALES, advantages, grpo, reinforce, rloo

NAN = math.nan
exactly = partial(pytest.approx, rel=1e-12, abs=0.0, nan_ok=True)
BATCH = [(1.0, 0.0, None, 5.0), (2.0, 2.0), (None, None), (), (3.0,)]

reward = st.integers(-1000, 1000).map(lambda n: n / 100)
group = st.lists(st.none() | reward, max_size=6)
batches = st.lists(group, min_size=1, max_size=5)


def flat(arrays):
    return np.concatenate([np.zeros(0), *arrays])


def shifted(batch, by):
    return [[None if r is None else r + by for r in rewards] for rewards in batch]


# ── hand-worked numbers ──────────────────────────────────────────────────────────────────────


def test_rloo_by_hand():
    first, *rest = (a.tolist() for a in rloo(BATCH))
    # others' means: (0 + 5)/2, (1 + 5)/2, (1 + 0)/2
    assert first == exactly([-1.5, -3.0, NAN, 4.5])
    assert rest == [exactly([0.0, 0.0]), exactly([NAN, NAN]), [], [0.0]]


def test_grpo_by_hand():
    first, *rest = (a.tolist() for a in grpo(BATCH))
    assert first == exactly([-1.0, -2.0, NAN, 3.0])
    assert rest == [exactly([0.0, 0.0]), exactly([NAN, NAN]), [], [0.0]]


def test_reinforce_by_hand():
    """The mean of the six scored rewards is 13/6."""
    found = [a.tolist() for a in reinforce(BATCH)]
    mean = 13 / 6
    assert found[0] == exactly([1 - mean, -mean, NAN, 5 - mean])
    assert found[1:] == [exactly([2 - mean] * 2), exactly([NAN, NAN]), [], exactly([3 - mean])]


def test_scales_by_hand():
    """Of 1, 0, 5 the variance is (1 + 4 + 9)/2 = 7; of all six rewards 89/30."""
    by_group = advantages(BATCH, estimator="grpo", scale="group")
    assert by_group[0].tolist() == exactly(
        [x / (math.sqrt(7) + EPSILON) for x in (-1.0, -2.0, NAN, 3.0)]
    )
    by_batch = advantages(BATCH, estimator="grpo", scale="batch")
    assert by_batch[0].tolist() == exactly(
        [x / (math.sqrt(89 / 30) + EPSILON) for x in (-1.0, -2.0, NAN, 3.0)]
    )


def test_unknown_names_are_refused():
    with pytest.raises(ConfigError, match="did you mean 'rloo'"):
        advantages(BATCH, estimator="rlo")
    with pytest.raises(ConfigError, match="unknown scale 'std'"):
        advantages(BATCH, scale="std")


# ── properties ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", ADVANTAGES)
@given(batch=batches, by=st.integers(-50, 50))
def test_only_differences_of_rewards_count(name, scale, batch, by):
    found = advantages(batch, estimator=name, scale=scale)
    moved = advantages(shifted(batch, by), estimator=name, scale=scale)
    assert [len(a) for a in found] == [len(rewards) for rewards in batch]
    # rounding of differences is divided by EPSILON at worst
    np.testing.assert_allclose(flat(moved), flat(found), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", ADVANTAGES)
@given(batch=batches)
def test_the_unscored_alone_have_no_advantage(name, scale, batch):
    found = advantages(batch, estimator=name, scale=scale)
    for rewards, values in zip(batch, found, strict=True):
        assert np.isnan(values).tolist() == [r is None for r in rewards]
    without = [[r for r in rewards if r is not None] for rewards in batch]
    kept = advantages(without, estimator=name, scale=scale)
    everything = flat(found)
    assert everything[~np.isnan(everything)].tolist() == flat(kept).tolist()


@given(batch=batches)
def test_a_groups_advantages_sum_to_zero_and_rlooss_are_longer(batch):
    for rewards, one, other in zip(batch, rloo(batch), grpo(batch), strict=True):
        n = sum(r is not None for r in rewards)
        assert abs(np.nansum(one)) < 1e-9
        assert abs(np.nansum(other)) < 1e-9
        if n > 1:
            np.testing.assert_allclose(one, other * n / (n - 1), atol=1e-12)


@given(batch=batches)
def test_a_batchs_advantages_sum_to_zero_under_reinforce(batch):
    assert abs(np.nansum(flat(reinforce(batch)))) < 1e-9


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", ["rloo", "grpo"])
@given(value=st.floats(-1e6, 1e6), n=st.integers(1, 7))
def test_equal_rewards_have_no_advantage_to_the_last_bit(name, scale, value, n):
    (found,) = advantages([[value] * n], estimator=name, scale=scale)
    assert not found.any()


@given(rewards=st.lists(st.integers(-9, 9), min_size=2, unique=True), factor=st.integers(2, 9))
def test_the_standard_deviation_takes_the_unit_out(rewards, factor):
    batch = [rewards, [factor * r for r in rewards]]
    one, other = advantages(batch, estimator="grpo", scale="group")
    # but for EPSILON beside a deviation of at least 1 / sqrt 2
    np.testing.assert_allclose(one, other, rtol=2e-4, atol=1e-12)


# ── TRL's formulas, written anew ─────────────────────────────────────────────────────────────

GROUPS = [(0.3, -1.0, 2.5, 0.1), (1.0, 1.5, 1.0, 0.0), (7.0, 3.0, None, 4.0)]


def trl_rewards():
    return torch.tensor([[NAN if r is None else r for r in g] for g in GROUPS], dtype=torch.float64)


def test_rloo_is_trls():
    """RLOOTrainer, normalize_advantages=False: sums of the others over their number."""
    rewards = trl_rewards()
    count = (~rewards.isnan()).sum(1, keepdim=True)
    baseline = (rewards.nansum(1, keepdim=True) - rewards) / (count - 1)
    torch.testing.assert_close(
        torch.tensor(np.array(rloo(GROUPS))), rewards - baseline, equal_nan=True
    )


@pytest.mark.parametrize("scale", SCALES)
def test_grpo_is_trls(scale):
    """GRPOTrainer, scale_rewards=scale: Bessel's correction, and 1e-4 beside the deviation."""
    rewards = trl_rewards()
    want = rewards - rewards.nanmean(1, keepdim=True)
    of_rows = torch.stack([row[~row.isnan()].std() for row in rewards])[:, None]
    of_all = rewards[~rewards.isnan()].std()
    if scale != "none":
        want = want / ((of_rows if scale == "group" else of_all) + 1e-4)
    got = advantages(GROUPS, estimator="grpo", scale=scale)
    torch.testing.assert_close(torch.tensor(np.array(got)), want, equal_nan=True)
