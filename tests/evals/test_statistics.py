from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from eva.evals.statistics import (
    INSIDE,
    Interval,
    bootstrap_interval,
    by_cluster,
    detectable_difference,
    mean_interval,
    over_seeds,
    paired_difference,
    prompts_needed,
    verdict,
    wilson_interval,
)

VALUES = np.random.default_rng(1).normal(0.2, 1.0, 40)


def test_mean_interval_is_the_t_interval_of_scipy() -> None:
    got = mean_interval(VALUES, level=0.9)
    low, high = stats.t.interval(0.9, 39, VALUES.mean(), stats.sem(VALUES))
    assert (got.low, got.high) == pytest.approx((low, high))
    assert got.error == pytest.approx(stats.sem(VALUES))
    assert got.n == 40


def test_mean_interval_by_hand() -> None:
    # weights 3 and 1: m = (3*1 + 0) / 4; residuals 3*.25 and -.75; 2/1 * (2 * .75^2) / 16
    got = mean_interval([1.0, 0.0], [3.0, 1.0])
    assert got.estimate == 0.75
    assert got.error == pytest.approx(math.sqrt(2 * 2 * 0.75**2) / 4)


@given(st.floats(0.01, 100))
def test_the_scale_of_the_weights_changes_nothing(scale: float) -> None:
    weights = np.arange(1.0, 41.0)
    one, other = mean_interval(VALUES, weights), mean_interval(VALUES, scale * weights)
    assert (one.low, one.high) == pytest.approx((other.low, other.high))


def test_too_few_prompts_give_an_unbounded_interval() -> None:
    assert (mean_interval([2.0]).low, mean_interval([2.0]).high) == (-math.inf, math.inf)
    assert mean_interval([]).json() == {
        "estimate": None, "error": None, "low": None, "high": None, "n": 0,
    }  # fmt: skip
    json.dumps(mean_interval([2.0]).json(), allow_nan=False)


def test_paired_difference_is_scipys_paired_t_test() -> None:
    after = VALUES + np.random.default_rng(2).normal(0.3, 0.5, 40)
    scipys = stats.ttest_rel(after, VALUES).confidence_interval(0.95)
    got = paired_difference(VALUES, after)
    assert (got.low, got.high) == pytest.approx((scipys.low, scipys.high))


def test_by_cluster_gives_the_sandwich_estimator() -> None:
    rng = np.random.default_rng(3)
    clusters = rng.integers(12, size=60)
    values = rng.normal(size=12)[clusters] + rng.normal(size=60)
    got = mean_interval(*by_cluster(values, list(clusters)))
    # independent: intercept-only regression, (X'X)^-1 sum_c (X_c' u_c)(u_c' X_c) (X'X)^-1
    design, residuals = np.ones((60, 1)), values - values.mean()
    bread = np.linalg.inv(design.T @ design)
    scores = [design[clusters == c].T @ residuals[clusters == c] for c in np.unique(clusters)]
    meat = sum(np.outer(s, s) for s in scores)
    assert got.estimate == pytest.approx(values.mean())
    assert got.error == pytest.approx(math.sqrt((bread @ meat @ bread)[0, 0] * 12 / 11))


def test_copies_of_a_prompt_do_not_narrow_the_interval() -> None:
    copied = by_cluster(np.repeat(VALUES, 6), list(np.repeat(np.arange(40), 6)))
    assert mean_interval(*copied).error == pytest.approx(mean_interval(VALUES).error)
    assert mean_interval(np.repeat(VALUES, 6)).error < 0.5 * mean_interval(VALUES).error


def test_bootstrap_interval_agrees_with_scipys_percentile_bootstrap() -> None:
    rng = np.random.default_rng(4)
    got = bootstrap_interval(VALUES, rng=rng, draws=4000)
    scipys = stats.bootstrap(
        (VALUES,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(5)
    ).confidence_interval
    # two Monte Carlo runs: a quantile's own error is about 0.012 here
    assert (got.low, got.high) == pytest.approx((scipys.low, scipys.high), abs=0.05)
    assert got.error == pytest.approx(float(stats.sem(VALUES)), rel=0.06)


def test_bootstrap_draws_a_prompt_with_its_weight() -> None:
    got = bootstrap_interval([1.0, 0.0], [3.0, 1.0], rng=np.random.default_rng(0), draws=400)
    assert (got.estimate, got.low, got.high) == (0.75, 0.0, 1.0)


def covered(draw, truth: float, interval, repeats: int) -> float:
    found = (interval(draw()) for _ in range(repeats))
    return sum(i.low <= truth <= i.high for i in found) / repeats


@pytest.mark.parametrize("n", [12, 24, 64])
def test_mean_interval_covers_95_percent_of_paired_pass_and_fail(n: int) -> None:
    rng = np.random.default_rng(n)
    share = covered(
        lambda: rng.choice([1.0, -1.0, 0.0], p=[0.2, 0.1, 0.7], size=n), 0.1, mean_interval, 2000
    )
    assert 0.93 < share < 0.97  # standard error of the share: 0.005


def test_clustered_interval_covers_where_the_plain_one_does_not() -> None:
    rng = np.random.default_rng(6)
    names = list(np.repeat(np.arange(30), 4))

    def draw() -> np.ndarray:
        return np.repeat(rng.normal(size=30), 4) + 0.5 * rng.normal(size=120)

    clustered = covered(draw, 0.0, lambda x: mean_interval(*by_cluster(x, names)), 1000)
    plain = covered(draw, 0.0, mean_interval, 1000)
    assert 0.93 < clustered < 0.97
    assert plain < 0.8


def test_bootstrap_is_narrower_than_it_should_be_on_few_prompts() -> None:
    """The reason why Student's t is the default."""
    rng = np.random.default_rng(7)
    share = covered(
        lambda: rng.normal(size=12), 0.0,
        lambda x: bootstrap_interval(x, rng=rng, draws=200), 600,
    )  # fmt: skip
    assert share < 0.94


def test_over_seeds_by_hand() -> None:
    got = over_seeds(np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]]), [1.0, 3.0])
    assert got.estimates == (0.75, 1.0, 0.0)
    assert got.spread == pytest.approx(np.std([0.75, 1.0, 0.0], ddof=1))
    assert got.interval == mean_interval([1 / 3, 2 / 3], [1.0, 3.0])


def test_over_seeds_of_one_seed_is_the_plain_interval_without_spread() -> None:
    got = over_seeds(VALUES[None])
    assert got.interval == mean_interval(VALUES)
    assert math.isnan(got.spread)


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (3, 24), (200, 477)])
def test_wilson_interval_is_scipys(k: int, n: int) -> None:
    scipys = stats.binomtest(k, n).proportion_ci(method="wilson")
    got = wilson_interval(k, n)
    assert (got.low, got.high) == pytest.approx((scipys.low, scipys.high))


def test_detectable_difference_is_found_with_the_stated_power() -> None:
    rng = np.random.default_rng(8)
    truth = detectable_difference(0.5, 64)
    found = sum(verdict(mean_interval(rng.normal(truth, 0.5, 64))) == "gain" for _ in range(1000))
    assert 0.76 < found / 1000 < 0.83


@given(st.floats(0.05, 2), st.floats(0.02, 0.5))
def test_prompts_needed_is_the_inverse_of_detectable_difference(s: float, d: float) -> None:
    n = prompts_needed(s, d)
    assert detectable_difference(s, n) <= d * (1 + 1e-9)
    assert n == 1 or detectable_difference(s, n - 1) > d * (1 - 1e-9)


def interval(low: float, high: float, n: int = 20) -> Interval:
    return Interval((low + high) / 2, 0.1, low, high, n)


def test_verdict_follows_the_interval_and_the_direction() -> None:
    up, down, across = interval(0.1, 0.3), interval(-0.3, -0.1), interval(-0.1, 0.3)
    assert [verdict(i) for i in (up, down, across)] == ["gain", "loss", INSIDE]
    assert [verdict(i, better=-1) for i in (up, down)] == ["loss", "gain"]
    assert [verdict(i, better=0) for i in (up, down, across)] == ["more", "less", INSIDE]
    assert verdict(interval(0.0, 0.3)) == INSIDE


def test_equal_differences_of_few_prompts_are_no_gain() -> None:
    assert verdict(mean_interval([0.1] * 5)) == INSIDE
    assert verdict(mean_interval([0.1] * 6)) == "gain"
    assert verdict(mean_interval([0.0] * 50)) == INSIDE
    assert verdict(mean_interval([])) == INSIDE
