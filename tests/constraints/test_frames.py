from __future__ import annotations

import pytest

from eva.constraints import frames


@pytest.mark.parametrize("pool", [[ask for ask, _ in frames.ASKS], frames.LEADS, frames.REPLIES])
def test_frames_have_one_place_and_no_twins(pool):
    assert len(set(pool)) == len(pool)
    assert all(frame.count("{}") == 1 for frame in pool)


def test_first_words_are_single_words_in_lower_case():
    assert all(word == word.lower() and " " not in word for word in frames.VERBS)
    assert not frames.VERBS & frames.QUESTION_WORDS


def test_what_stands_before_a_constraint_leaves_a_space_and_may_be_nothing():
    for pool in (*frames.OPENERS.values(), frames.CONNECTIVES):
        assert "" in pool
        assert all(not start or start.endswith(" ") for start in pool)
