from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eva.n_grams import distinct, n_grams, repetition

TEXTS = st.text("ab \n", max_size=40)


def test_n_grams_by_hand() -> None:
    assert n_grams("The cat\n sat", 2) == [("the", "cat"), ("cat", "sat")]
    assert n_grams("too short", 3) == []


def test_repetition_by_hand() -> None:
    # 4-grams of a b c d a b c d a: abcd bcda cdab dabc abcd bcda; 4 of 6 are new
    assert repetition("a b c d a b c d a") == pytest.approx(1 / 3)
    assert repetition("a b c d e f") == 0.0
    assert repetition("a b c") is None


def test_distinct_falls_when_answers_are_alike() -> None:
    assert distinct(["the sky is blue", "grass may be green"]) == 1.0
    assert distinct(["the sky is blue"] * 4) == 0.25
    assert distinct(["", "word"]) is None


@given(st.lists(TEXTS, max_size=4))
def test_repetition_is_what_distinct_leaves(texts: list[str]) -> None:
    for text in texts:
        left, unlike = repetition(text, 2), distinct([text], 2)
        assert (left is None) == (unlike is None)
        assert left is None or left + unlike == pytest.approx(1.0)


@given(TEXTS, TEXTS)
def test_shares_lie_between_0_and_1(a: str, b: str) -> None:
    shares = [repetition(a, 2), distinct([a, b])]
    assert all(share is None or 0 <= share <= 1 for share in shares)
