import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eva.comparisons import Comparisons

HALF = 0.5


def test_wins_are_the_mean_of_both_orders():
    # 0 beats 1 in both orders, ties 2 by always taking the first, and 1 loses to 2 once and ties
    first = ((HALF, 1.0, 1.0), (0.0, HALF, 0.0), (1.0, HALF, HALF))
    wins = Comparisons(first).wins
    assert wins.tolist() == [[0.5, 1.0, 0.5], [0.0, 0.5, 0.25], [0.5, 0.75, 0.5]]
    assert list(Comparisons(first).judged()) == [(0, 1, 1.0, 0.0), (0, 2, 1.0, 1.0), (1, 2, 0, 0.5)]


def test_a_pair_that_failed_in_one_order_is_not_judged():
    compared = Comparisons(((HALF, None), (1.0, HALF)), {"unparsed": 1})
    assert math.isnan(compared.wins[0, 1])
    assert math.isnan(compared.wins[1, 0])
    assert list(compared.judged()) == []


def test_no_answers_make_no_matrix():
    assert Comparisons(()).wins.shape == (0, 0)


def test_verdicts_that_are_not_square_are_refused():
    with pytest.raises(ValueError, match="differ in length"):
        Comparisons(((HALF, 1.0), (0.0,)))


@given(st.integers(1, 5).flatmap(lambda n: st.lists(
    st.lists(st.sampled_from([0.0, 0.5, 1.0, None]), min_size=n, max_size=n),
    min_size=n, max_size=n,
)))  # fmt: skip
def test_swapping_the_orders_gives_the_complement(rows):
    for i, row in enumerate(rows):
        row[i] = HALF
    wins = Comparisons(tuple(map(tuple, rows))).wins
    swapped = Comparisons(tuple(zip(*rows, strict=True))).wins
    np.testing.assert_allclose(wins + wins.T, np.where(np.isnan(wins), np.nan, 1.0))
    np.testing.assert_allclose(swapped, 1 - wins)
