import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr

from eva.creator.informativeness import METRICS
from eva.probing import reliability
from eva.probing.reliability import (
    CANDIDATES,
    NAMES,
    answers_needed,
    mid_ranks,
    reliabilities,
    spearman_brown,
)


def rng():
    return np.random.default_rng(0)


def prompts(count, n, *, differ=0.6, seed=3):
    """Normal rewards whose spread differs between prompts, (P, n)."""
    draws = np.random.default_rng(seed)
    scale = np.exp(differ * draws.normal(size=(count, 1)))
    return scale * draws.normal(size=(count, n))


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=12))
def test_ranks_are_scipys(values):
    array = np.array([values, values[::-1]], dtype=float)
    np.testing.assert_array_equal(mid_ranks(array) + 1, rankdata(array, axis=-1))


def test_spearman_brown_by_hand():
    assert spearman_brown(0.5, 2) == pytest.approx(2 / 3)
    assert spearman_brown(2 / 3, 0.5) == pytest.approx(0.5)
    assert spearman_brown(-1.0, 2) == -1.0


@pytest.mark.parametrize(("r", "half", "n"), [(0.7, 4, 4), (0.5, 3, 7), (0.9, 4, 2), (1.0, 4, 2)])
def test_answers_needed_are_the_fewest_that_reach_the_level(r, half, n):
    assert answers_needed(r, half) == n
    assert spearman_brown(r, n / half) >= reliability.ENOUGH - 1e-9
    assert n == 2 or spearman_brown(r, (n - 1) / half) < reliability.ENOUGH


def test_more_answers_than_anybody_samples_are_not_recommended():
    assert answers_needed(0.01, 4) is None
    assert answers_needed(0.0, 4) is None
    assert answers_needed(-0.3, 4) is None
    assert answers_needed(math.nan, 4) is None


def test_halves_are_correlated_as_scipy_does():
    split = prompts(12, 4)
    halves = reliability._halves(METRICS["gini"], [split])
    found = reliability._correlation(halves, np.arange(12)[None, :])[0]
    value = METRICS["gini"].value
    assert found == pytest.approx(spearmanr(value(split[:, :2]), value(split[:, 2:])).statistic)


def test_a_half_that_ranks_nothing_agrees_with_nothing():
    halves = np.array([[[0.0, 0, 0], [0, 1, 2]], [[0, 1, 2], [0, 1, 2]]])
    assert reliability._correlation(halves, np.arange(3)[None, :]) == pytest.approx([0.5])
    assert np.isnan(reliability._correlation(halves * 0, np.arange(3)[None, :])).all()


def test_where_an_answer_stands_does_not_matter():
    # the odd answer is the third one of every prompt, by chance or by habit
    rewards = np.zeros((24, 4))
    rewards[:6, 2] = 1.0
    one = reliabilities(rewards, rng()).metrics[0]
    assert math.isfinite(one.half)


def test_prompts_that_differ_are_told_apart_and_alike_ones_are_not():
    apart = reliabilities(prompts(200, 8), rng())
    assert apart.recommended.metric in CANDIDATES
    assert apart.recommended.low > 0.4
    alike = reliabilities(prompts(200, 8, differ=0.0), rng())
    assert max(row.full for row in alike.metrics) < 0.3
    assert alike.recommended is None or alike.recommended.n is None


def test_all_metrics_are_compared_but_those_that_rank_alike():
    found = reliabilities(prompts(30, 6), rng())
    assert tuple(row.metric for row in found.metrics) == NAMES
    assert set(METRICS) - set(NAMES) == {"inverse_avg", "inverse_a_min", "uniform"}


def test_the_papers_metric_stays_unless_another_is_surely_better():
    # three values, the middle one rarely: the range says little more than whether there is contrast
    draws = np.random.default_rng(5)
    rates = draws.beta(0.6, 0.6, size=(400, 1))
    rewards = (draws.random((400, 16)) < rates) * 1.0
    rewards[0, 0] = 0.5
    assert reliabilities(rewards, rng()).recommended.metric in {"sd", "gini"}
    # normal rewards, few prompts: whatever leads leads by luck
    assert reliabilities(prompts(24, 8), rng()).recommended.metric == "a_min"


def test_rewards_of_two_values_take_a_metric_that_counts():
    binary = (np.random.default_rng(5).random((200, 8)) < 0.5).astype(float)
    binary[:100] = 1.0
    assert reliabilities(binary, rng()).recommended.metric == "sd"


def test_rewards_without_contrast_rank_nothing():
    found = reliabilities(np.ones((20, 6)), rng())
    assert found.recommended is None
    assert all(math.isnan(row.full) for row in found.metrics if row.metric != "avg")


def test_halves_need_two_answers_each():
    assert reliabilities(prompts(20, 3), rng()).metrics == ()
    assert reliabilities(np.empty((0, 0)), rng()).metrics == ()


@pytest.mark.parametrize(
    ("kind", "name", "predicted", "measured"),
    [
        ("normal", "a_min", 0.86, 0.88),
        ("normal", "a_avg", 0.84, 0.82),
        ("normal", "sd", 0.87, 0.90),
        ("normal", "gini", 0.87, 0.90),
        ("normal", "a_dts", 0.59, 0.24),
        ("0/1", "sd", 0.70, 0.76),
        ("0/1", "a_min", 0.69, 0.56),
    ],
)
def test_how_good_the_prediction_is(kind, name, predicted, measured):
    """The table of docs/probe.md: 16 answers, predicted from 8, measured on two sets of 16."""
    draws = np.random.default_rng(0)
    scale = np.exp(0.6 * draws.normal(size=(4000, 1)))
    rewards = scale * draws.normal(size=(4000, 64))
    if kind == "0/1":
        rewards = draws.random((4000, 64)) < draws.beta(0.6, 0.6, size=(4000, 1))
        rewards = rewards.astype(float)
    assert spearman_brown(_half(name, rewards[:, :8]), 16 / 4) == pytest.approx(predicted, abs=0.02)
    assert _half(name, rewards[:, :32]) == pytest.approx(measured, abs=0.02)


def _half(name, rewards):
    halves = reliability._halves(METRICS[name], [rewards])
    return float(reliability._correlation(halves, np.arange(len(rewards))[None, :])[0])
