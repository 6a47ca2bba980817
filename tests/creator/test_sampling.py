from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eva.creator.informativeness import min_max
from eva.creator.sampling import (
    SAMPLERS,
    TopicBlended,
    draw,
    greedy,
    rank,
    stratified,
    topic_blended,
    weighted,
)

# Small integers, so that shifts and powers of two are exact.
infos = st.lists(st.one_of(st.just(np.nan), st.integers(-8, 8).map(float)), max_size=30)
names = st.sampled_from(list(SAMPLERS))


def rng(seed=0):
    return np.random.default_rng(seed)


def first_frequencies(sampler, info, draws=4000):
    stream = rng(7)
    firsts = [sampler(np.array(info), 1, stream)[0] for _ in range(draws)]
    return np.bincount(firsts, minlength=len(info)) / draws


@given(infos, st.integers(0, 40), names)
def test_distinct_of_the_right_number_and_never_nan(info, k, name):
    drawn = SAMPLERS[name](np.array(info), k, rng())
    assert len(set(drawn.tolist())) == len(drawn) == min(k, np.sum(~np.isnan(info)))
    assert not np.isnan(np.array(info)[drawn]).any()


@given(infos, st.integers(0, 40), names, st.integers(-5, 5), st.sampled_from([0.25, 2.0, 8.0]))
def test_neither_shift_nor_scale_changes_a_draw(info, k, name, shift, scale):
    info = np.array(info)
    before = SAMPLERS[name](info, k, rng())
    assert SAMPLERS[name](scale * info + shift, k, rng()).tolist() == before.tolist()


@given(infos, names, st.integers(0, 10))
def test_a_larger_draw_begins_with_the_smaller(info, name, k):
    info = np.array(info)
    small, large = SAMPLERS[name](info, k, rng()), SAMPLERS[name](info, k + 5, rng())
    assert large[:k].tolist() == small.tolist()


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_stream_decides_and_the_global_state_does_not(name):
    info = np.arange(50.0) // 10
    draws = [SAMPLERS[name](info, 20, rng(seed)).tolist() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize("name", ["weighted", "rank", "stratified", "uniform"])
def test_a_permutation_of_the_prompts_changes_no_chance(name):
    info = np.array([5.0, 1.0, 3.0, 8.0, 2.0])
    order = np.array([3, 0, 4, 1, 2])
    plain = first_frequencies(SAMPLERS[name], info)
    permuted = first_frequencies(SAMPLERS[name], info[order])
    np.testing.assert_allclose(permuted, plain[order], atol=0.04)


def test_weighted_frequencies_follow_the_min_max_weights():
    frequencies = first_frequencies(weighted, [10.0, 14.0, 12.0, 11.0], draws=8000)
    np.testing.assert_allclose(frequencies, np.array([0, 4, 2, 1]) / 7, atol=0.02)


def test_draw_is_successive_sampling():
    # Both of two: P(a, then b) = w_a / sum * w_b / (sum - w_a).
    stream, pairs = rng(3), np.zeros((3, 3))
    for _ in range(8000):
        first, second = draw(np.array([1.0, 2.0, 5.0]), 2, stream)
        pairs[first, second] += 1 / 8000
    want = [[0, 2 / 56, 5 / 56], [2 / 48, 0, 10 / 48], [5 / 24, 10 / 24, 0]]
    np.testing.assert_allclose(pairs, want, atol=0.02)


def test_the_least_informative_comes_last():
    assert all(weighted(np.array([1.0, 0.0, 1e-9]), 3, rng(s))[-1] == 1 for s in range(50))


def test_weights_of_zero_fill_uniformly_when_too_few_are_positive():
    stream = rng(5)
    draws = [draw(np.array([0.0, 2.0, 0.0, 0.0]), 2, stream) for _ in range(3000)]
    assert {int(pair[0]) for pair in draws} == {1}
    seconds = np.bincount([pair[1] for pair in draws], minlength=4) / 3000
    np.testing.assert_allclose(seconds, [1 / 3, 0, 1 / 3, 1 / 3], atol=0.04)


@pytest.mark.parametrize("name", SAMPLERS)
def test_equally_informative_means_uniform(name):
    sampler = partial(rank, beta=1e9) if name == "rank" else SAMPLERS[name]
    np.testing.assert_allclose(first_frequencies(sampler, [3.0] * 4), 0.25, atol=0.03)


def test_draw_refuses_weights_that_are_none():
    for weights in ([-1.0, 1.0], [np.inf, 1.0]):
        with pytest.raises(ValueError, match="finite, none below 0"):
            draw(np.array(weights), 1, rng())


@pytest.mark.parametrize("name", SAMPLERS)
def test_infinite_informativeness_is_refused(name):
    with pytest.raises(ValueError, match="infinite at"):
        SAMPLERS[name](np.array([1.0, np.inf]), 1, rng())


def test_greedy_takes_the_top_and_breaks_ties_by_the_stream():
    info = np.array([1.0, 3.0, 2.0, 3.0, 3.0, np.nan])
    firsts = [greedy(info, 4, rng(seed)).tolist() for seed in range(60)]
    assert all(set(drawn[:3]) == {1, 3, 4} and drawn[3] == 2 for drawn in firsts)
    assert {drawn[0] for drawn in firsts} == {1, 3, 4}


def test_stratified_takes_equally_from_each_quantile_bin():
    info = rng().permutation(100.0 + np.arange(100))
    drawn = stratified(info, 40, rng())
    bins = np.bincount(((info[drawn] - 100) // 10).astype(int), minlength=10)
    assert bins.tolist() == [4] * 10


def test_stratified_gives_the_remainder_to_bins_of_the_stream():
    info = np.arange(100.0)
    over = np.zeros(10)
    for seed in range(300):
        bins = np.bincount(stratified(info, 23, rng(seed)) // 10, minlength=10)
        assert sorted(bins) == [2] * 7 + [3] * 3
        over += bins == 3
    assert over.min() > 50


def test_stratified_is_weighted_within_a_bin():
    info = np.array([0.0, 1.0, 9.0, 10.0, 10.0, 20.0])
    stream = rng(2)
    low = [min(stratified(info, 2, stream, bins=2), key=lambda i: info[i]) for _ in range(4000)]
    np.testing.assert_allclose(np.bincount(low)[:3] / 4000, [0, 0.1, 0.9], atol=0.02)


def test_rank_frequencies():
    info = [0.1, 500.0, 0.3]
    weights = np.array([1 / 3, 1, 1 / 2])
    np.testing.assert_allclose(first_frequencies(rank, info), weights / weights.sum(), atol=0.03)
    half = weights**2
    sharp = first_frequencies(partial(rank, beta=0.5), info)
    np.testing.assert_allclose(sharp, half / half.sum(), atol=0.03)


def test_rank_with_a_tiny_beta_is_greedy_and_does_not_underflow():
    info = np.arange(2000.0)
    assert rank(info, 2000, rng(), beta=1e-6).tolist() == list(range(1999, -1, -1))
    with pytest.raises(ValueError, match="beta is 0"):
        rank(info, 1, rng(), beta=0)


def test_topic_blended():
    weights = min_max(np.array([0.0, 5.0, 10.0, np.nan]))
    blended = topic_blended(weights, ["a", "a", "a", "b"])
    np.testing.assert_allclose(blended, [0.25 / 3, 0.375 + 0.25 / 3, 0.75 + 0.25 / 3, np.nan])


def test_the_blend_is_drawn_in_proportion():
    # min-max weights 0, 1/2, 1, topics of size 2, 2, 1: blended 1/8, 4/8, 8/8 where c = 1/4
    sampler = TopicBlended().among(["a", "a", "b"])
    shares = first_frequencies(sampler, [2.0, 4.0, 6.0])
    np.testing.assert_allclose(shares, np.array([1, 4, 8]) / 13, atol=0.03)
    balanced = first_frequencies(TopicBlended(c=1.0).among(["a", "a", "b"]), [2.0, 4.0, 6.0])
    np.testing.assert_allclose(balanced, [0.25, 0.25, 0.5], atol=0.03)


def test_without_topics_all_prompts_share_one():
    info = np.array([1.0, 2.0, np.nan, 4.0])
    same = TopicBlended().among(["x"] * 4)(info, 3, rng(3))
    np.testing.assert_array_equal(TopicBlended()(info, 3, rng(3)), same)


def test_min_max():
    np.testing.assert_array_equal(min_max(np.array([4.0, np.nan, 4.0])), [0.0, np.nan, 0.0])
    np.testing.assert_array_equal(min_max(np.array([np.nan])), [np.nan])
