from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eva.creator import informativeness as inf
from eva.creator.informativeness import ALIASES, METRICS, informativeness
from eva.errors import ConfigError

REWARDS_PG = np.array([[1.0, 4.0, 2.0, 3.5], [0.0, 0.0, 0.0, 0.0]])
CLOSED = ["a_min", "a_avg", "a_dts", "avg", "var", "sd", "gini", "learnability"]

groups = st.lists(
    st.lists(st.one_of(st.none(), st.integers(-50, 50).map(float)), max_size=7), max_size=12
)


def test_a_min():
    assert inf.a_min(REWARDS_PG).tolist() == [3.0, 0.0]


def test_a_avg():
    assert inf.a_avg(REWARDS_PG).tolist() == [4.0 - 2.625, 0.0]


def test_a_dts():
    assert inf.a_dts(REWARDS_PG).tolist() == [0.5, 0.0]
    assert inf.a_dts(np.array([[2.0, 2.0, 1.0]])).tolist() == [0.0]


def test_avg():
    assert inf.avg(REWARDS_PG).tolist() == [2.625, 0.0]


def test_var_is_unbiased():
    squares = 1.625**2 + 1.375**2 + 0.625**2 + 0.875**2
    assert inf.var(REWARDS_PG) == pytest.approx([squares / 3, 0.0])


def test_sd():
    assert inf.sd(np.array([[1.0, 3.0]])) == pytest.approx([np.sqrt(2)])


def test_gini_is_the_mean_absolute_difference():
    rewards = np.random.default_rng(0).normal(size=(5, 7))
    pairs = [np.mean([abs(a - b) for a, b in combinations(row, 2)]) for row in rewards]
    assert inf.gini(rewards) == pytest.approx(pairs)


def test_learnability():
    assert inf.learnability(np.array([[1, 0, 0, 1.0], [1, 1, 1, 1.0]])) == pytest.approx([1 / 3, 0])
    assert inf.learnability(np.array([[0.2, 0.6, 0.9]]), success=0.5) == pytest.approx([1 / 3])


def test_learnability_is_unbiased():
    p = 0.3
    draws = (np.random.default_rng(0).random((200_000, 4)) < p).astype(float)
    assert inf.learnability(draws).mean() == pytest.approx(p * (1 - p), abs=1e-3)


def test_uniform():
    estimates = METRICS["uniform"]([[1.0], [5.0, None], [None], []])
    np.testing.assert_array_equal(estimates.values, [1, 1, np.nan, np.nan])


def test_inverses_turn_the_min_max_round():
    rewards = [[1.0, 1.0], [3.0, 5.0], [None, 2.0]]
    inverse_avg = METRICS["inverse_avg"](rewards)
    np.testing.assert_allclose(inverse_avg.values, [1.0, 0.0, 2 / 3])
    np.testing.assert_allclose(inverse_avg.errors, [0.0, 1.0 / 3, np.nan])
    np.testing.assert_allclose(METRICS["inverse_a_min"](rewards).values, [1.0, 0.0, np.nan])


def test_inverse_of_equal_prompts_is_equal():
    assert METRICS["inverse_avg"]([[1.0, 3.0], [2.0, 2.0]]).values.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("name", METRICS)
def test_unscored_responses_are_left_out(name):
    gaps = METRICS[name]([[1.0, None, 0.25], [None, 0.0, 1.0, 1.0], [None, None, None]])
    plain = METRICS[name]([[1.0, 0.25], [0.0, 1.0, 1.0], []])
    np.testing.assert_array_equal(gaps.values, plain.values)
    assert gaps.counts.tolist() == [2, 3, 0]
    assert np.isnan(gaps.values[2])


@pytest.mark.parametrize("name", METRICS)
def test_each_says_how_many_responses_it_needs(name):
    needs = METRICS[name].needs
    counts = [[float(i) for i in range(n)] for n in range(4)]
    valued = ~np.isnan(METRICS[name](counts).values)
    assert valued.tolist() == [n >= needs for n in range(4)]


@given(groups, st.sampled_from(list(METRICS)))
def test_prompts_keep_their_places(rewards, name):
    forward, backward = METRICS[name](rewards), METRICS[name](rewards[::-1])
    np.testing.assert_array_equal(forward.values, backward.values[::-1])
    np.testing.assert_array_equal(forward.errors, backward.errors[::-1])


@given(groups, st.randoms(use_true_random=False), st.sampled_from(CLOSED))
def test_order_of_responses_does_not_matter(rewards, random, name):
    shuffled = [random.sample(group, len(group)) for group in rewards]
    np.testing.assert_allclose(METRICS[name](rewards).values, METRICS[name](shuffled).values)


@given(groups, st.integers(-9, 9), st.sampled_from([0.5, 2.0, 4.0]))
def test_spreads_ignore_a_shift_and_follow_the_scale(rewards, shift, scale):
    moved = [[None if r is None else scale * r + shift for r in group] for group in rewards]
    for name in ("a_min", "a_avg", "a_dts", "sd", "gini"):
        before, after = METRICS[name](rewards), METRICS[name](moved)
        np.testing.assert_allclose(after.values, scale * before.values, atol=1e-9)
        np.testing.assert_allclose(after.errors, scale * before.errors, atol=1e-9)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e9 + 0.1])
@pytest.mark.parametrize("name", [n for n in CLOSED if n != "avg"])
def test_equal_rewards_are_worth_exactly_nothing(name, value):
    estimates = METRICS[name]([[value] * 6])
    assert (estimates.values[0], estimates.errors[0]) == (0.0, 0.0)


def test_jackknife_error_of_a_mean_is_its_standard_error():
    rewards = np.random.default_rng(1).normal(size=(20, 5))
    jackknife = inf.jackknife_error(lambda r: r.mean(axis=1), rewards)
    assert jackknife == pytest.approx(rewards.std(axis=1, ddof=1) / np.sqrt(5))


def test_avg_error():
    assert inf.avg_error(np.array([[1.0, 3.0]])) == pytest.approx([1.0])
    assert np.isnan(inf.avg_error(np.array([[1.0]]))).all()


def test_normal_error_by_hand():
    # s = sqrt(2), c4(2) = sqrt(2 / pi), d3(2) = 0.8525
    error = METRICS["a_min"]([[1.0, 3.0]]).errors[0]
    assert error == pytest.approx(np.sqrt(2) / np.sqrt(2 / np.pi) * 0.8525, rel=1e-3)


@pytest.mark.parametrize("name", ["a_min", "a_avg", "a_dts", "avg", "gini", "sd", "var"])
def test_errors_are_the_spread_of_the_estimates(name):
    draws = np.random.default_rng(2).normal(scale=3.0, size=(20_000, 8))
    estimates = METRICS[name](draws.tolist())
    claimed = np.sqrt(np.mean(estimates.errors**2))
    assert claimed == pytest.approx(estimates.values.std(), rel=0.15)


@pytest.mark.parametrize(("k", "n"), [(1, 2), (1, 4), (3, 4), (2, 6), (6, 6)])
def test_learnability_error_is_exact_at_the_observed_rate(k, n):
    chances = [comb(n, i) * (k / n) ** i * (1 - k / n) ** (n - i) for i in range(n + 1)]
    values = [i * (n - i) / (n * (n - 1)) for i in range(n + 1)]
    mean = np.dot(chances, values)
    spread = np.sqrt(np.dot(chances, np.square(values)) - mean**2)
    error = inf.learnability_error(np.array([[1.0] * k + [0.0] * (n - k)]))
    assert error == pytest.approx([spread], abs=1e-8)


@pytest.mark.parametrize("name", ["a_min", "a_avg", "a_dts", "sd"])
def test_comparable_estimates_the_same_spread_at_any_n(name):
    rng = np.random.default_rng(4)
    few, many = rng.normal(scale=2.0, size=(20_000, 2)), rng.normal(scale=2.0, size=(20_000, 16))
    metric = informativeness(name, comparable=True)
    for draws in (few, many):
        assert metric(draws.tolist()).values.mean() == pytest.approx(2.0, abs=0.05)


def test_a_reward_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match=r"prompt 1: rewards \[nan, 1.0\] are not finite"):
        METRICS["avg"]([[1.0, 2.0], [float("nan"), 1.0]])


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_aliases(alias, name):
    assert informativeness(alias) == METRICS[name]


def test_success_is_a_threshold():
    metric = informativeness("learnability", success=0.5)
    assert metric([[0.6, 0.4]]).values == pytest.approx([0.5])


def test_unknown_metric():
    with pytest.raises(ConfigError, match="did you mean 'a_min'"):
        informativeness("a_mim")


def test_no_prompts():
    assert len(METRICS["inverse_avg"]([]).values) == 0
