from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eva.complexity import clauses, words


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("...", 0),
        ("Hi!", 1),
        ("Why is the sky blue?", 1),
        ("Write a poem, short and sad, about tea.", 2),
        ("List three uses of salt; then rank them by cost.\nSay why you rank so.", 3),
        ("Yes, no, maybe.", 1),
    ],
)
def test_clauses_by_hand(text, count):
    assert clauses(text) == count


def test_words_are_counted_over_apostrophes_and_numbers():
    assert words("It’s 3 o'clock, isn't it?") == 5
    assert words(" \n ") == 0


@given(st.text(max_size=60))
def test_one_more_condition_is_one_more_clause(text):
    assert clauses(f"{text}. Use at most ten words") >= max(clauses(text), 1)
    assert clauses(text) <= max(words(text), 1)
