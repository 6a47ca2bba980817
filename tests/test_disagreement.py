from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from eva import disagreement
from eva.types import Group, Prompt, Response, Score, ScoredGroup


def judged(*members):
    """Return a group whose scores have these members; None is unscored, a number no ensemble's."""
    scores = tuple(
        Score(None, "none") if m is None
        else Score(float(m)) if isinstance(m, int | float)
        else Score(float(np.mean(m)), members=tuple(map(float, m)))
        for m in members
    )  # fmt: skip
    answers = tuple(Response(str(i), ()) for i in range(len(scores)))
    return ScoredGroup(Group(Prompt.of("q"), (), answers, "p"), scores)


def test_hand_worked():
    # means 2, 5; levels 3, 4; mean 3.5: what is left is -.5 .5 / .5 -.5, so s^2 = 1 / (1 * 1)
    group = judged((1, 3), (5, 5))
    assert disagreement.disagreement(group) == pytest.approx(1.0)
    assert disagreement.noise([group]) == pytest.approx([0.5])


def test_a_member_that_is_stricter_throughout_disagrees_with_nobody():
    assert disagreement.disagreement(judged((1, 11), (2, 12), (5, 15))) == pytest.approx(0.0)


def test_without_an_ensemble_or_a_second_answer_there_is_none():
    assert disagreement.disagreement(judged(1, 2, 3)) is None
    assert disagreement.disagreement(judged((1, 3), None)) is None
    assert disagreement.disagreement(judged()) is None
    assert disagreement.noise([judged(1, 2), judged()]) == [0.0, 0.0]


def test_an_answer_that_no_ensemble_judged_counts_as_agreed_upon():
    assert disagreement.opinions(judged((1, 3), 0, None)).tolist() == [[1, 3], [0, 0]]


def test_the_noise_is_what_the_mean_of_noisy_members_has():
    rng = np.random.default_rng(0)
    worth = rng.normal(size=(4000, 4, 1))
    levels = 5 * rng.normal(size=(4000, 1, 3))
    given_PGM = worth + levels + 0.6 * rng.normal(size=(4000, 4, 3))
    noise = disagreement.noise([judged(*map(tuple, given_GM)) for given_GM in given_PGM])
    assert np.mean(noise) == pytest.approx(0.6**2 / 3, rel=0.03)


def test_figures_are_over_prompts_that_an_ensemble_judged():
    groups = [judged((1, 3), (5, 5)), judged((0, 0), (1, 1)), judged(1, 2), judged((1, 2), (2, 1))]
    figures = disagreement.figures(groups, [2.0, 1.0, 9.0, None])
    assert figures == {"disagreement": 0.5, "disagreement_correlation": pytest.approx(1.0)}
    assert disagreement.figures([judged(1, 2)], [1.0]) == {}
    assert disagreement.figures([], []) == {}


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2))
def test_spearman_is_scipys(pairs):
    first, second = zip(*pairs, strict=True)
    found = disagreement.spearman(first, second)
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert found is None
    else:
        assert found == pytest.approx(stats.spearmanr(first, second).statistic)
