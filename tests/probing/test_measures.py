import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from eva.probing.measures import best_of, complete, contrast, headroom, noise

REWARDS = arrays.arrays(
    np.float64,
    st.tuples(st.integers(1, 6), st.integers(2, 6)),
    elements=st.integers(-4, 4).map(lambda i: i / 4),
)


def rng():
    return np.random.default_rng(0)


def test_unscored_answers_are_left_out_and_never_counted_as_0():
    assert complete([[None, 3.0, 1.0], [2.0, None, 5.0]]).tolist() == [[3.0, 1.0], [2.0, 5.0]]
    assert complete([[None, 3.0], [None, None], []]).shape == (0, 0)


def test_one_prompt_with_failures_shortens_nobody_elses_answers():
    rewards = [[1.0, 2.0, 3.0]] * 9 + [[1.0, None, 3.0]]
    assert complete(rewards).shape == (9, 3)
    assert complete([*rewards, [1.0, None, 3.0]]).shape == (11, 2)


def test_contrast_by_hand():
    found = contrast(np.array([[0.0, 0, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0], [0.5, 0.5, 0.5, 0.5]]))
    assert found.without.estimate == 0.75
    assert (found.highest, found.lowest) == (0.25, 0.25)
    # of [1, 0, 0, 0] two are equal in 3 of 6 pairs, three in 1 of 4 triples
    assert found.by_k == pytest.approx((3.5 / 4, 3.25 / 4, 0.75))


def test_where_all_rewards_are_equal_nobody_knows_the_end_of_the_scale():
    found = contrast(np.ones((3, 2)))
    assert found.without.estimate == 1
    assert math.isnan(found.highest)
    assert math.isnan(found.lowest)


def test_nothing_measured_is_nan_not_0():
    none = complete([])
    assert math.isnan(contrast(none).without.estimate)
    assert math.isnan(headroom(none, rng()).gain.estimate)


@given(REWARDS)
def test_best_of_k_is_the_mean_over_all_subsets(rewards_PK):
    k = rewards_PK.shape[1]
    expected = [
        [np.mean([max(some) for some in combinations(row, j)]) for j in range(1, k + 1)]
        for row in rewards_PK
    ]
    np.testing.assert_allclose(best_of(rewards_PK), expected, atol=1e-12)


@given(REWARDS)
def test_more_answers_never_have_a_worse_best_nor_less_contrast(rewards_PK):
    assert (np.diff(best_of(rewards_PK), axis=1) >= -1e-12).all()
    by_k = contrast(rewards_PK).by_k
    assert (np.diff(by_k) <= 1e-12).all()
    assert by_k[-1] == pytest.approx(contrast(rewards_PK).without.estimate)


@given(REWARDS, st.randoms())
def test_the_order_of_prompts_and_answers_does_not_matter(rewards_PK, random):
    rows = list(range(len(rewards_PK)))
    random.shuffle(rows)
    turned = rewards_PK[rows][:, ::-1]
    assert contrast(turned).by_k == pytest.approx(contrast(rewards_PK).by_k)
    np.testing.assert_allclose(best_of(turned), best_of(rewards_PK)[rows], atol=1e-12)


def test_headroom_by_hand():
    found = headroom(np.array([[0.0, 1.0], [0.0, 3.0]]), rng())
    assert found.gain.estimate == 1.0
    assert (found.gain.low, found.gain.high) == (0.5, 1.5)
    assert found.best_of == (1.0, 2.0)


def test_noise_by_hand():
    found = noise([1.0, 2.0, None, 4.0], [2.0, 1.0, 3.0, None], k=2, spread=1.0)
    assert found.answers == 2
    assert found.difference == 1.0
    assert found.sd == pytest.approx(1 / math.sqrt(2))
    # the best of two normal draws leads their mean by 1 / sqrt(pi)
    assert found.gain == pytest.approx(found.sd / math.sqrt(math.pi), rel=1e-3)


def test_last_digits_are_no_noise():
    assert noise([1.0, 2.0], [1.0, 2.0 + 1e-6], k=4, spread=0.5) is None
    assert noise([1.0, 2.0], [1.0, 2.01], k=4, spread=0.5) is not None
    assert noise([None], [1.0], k=4, spread=0.5) is None


def test_noise_of_normal_scores_is_found():
    draws = np.random.default_rng(1)
    truth = draws.normal(size=2000)
    first, second = (truth + 0.3 * draws.normal(size=2000) for _ in range(2))
    assert noise(first, second, k=8, spread=1.0).sd == pytest.approx(0.3, rel=0.05)
