from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eva.errors import ConfigError
from eva.rewards.guard import Guarded
from eva.rewards.penalties import PenaltyReward, length, profanity, repetition
from eva.types import Group, Prompt, Response


def said(text, tokens=0):
    return Response(text, tuple(range(tokens)))


@pytest.mark.parametrize(
    ("count", "expected"), [(0, 0), (10, 0), (11, -0.25), (12, -0.5), (14, -1), (99, -1)]
)
def test_length_falls_in_a_straight_line_beyond_the_limit(count, expected):
    assert length(said("word " * count), limit=10, ramp=4) == expected
    assert length(said("x" * count, tokens=count), limit=10, ramp=4, tokens=True) == expected


def test_without_a_ramp_one_word_too_many_costs_all():
    assert length(said("a b c"), limit=3, ramp=0) == 0.0
    assert length(said("a b c d"), limit=3, ramp=0) == -1.0


def test_answers_without_tokens_are_not_measured_in_tokens():
    reward = Guarded(PenaltyReward("length", lambda r: length(r, limit=3, ramp=0, tokens=True)))
    group = Group(Prompt.of("q"), (), (said("a b", tokens=2), said("a b")), "p")
    (one,) = reward.score([group])
    assert one.rewards == (0.0, None)
    assert "count words" in one.scores[1].detail


def test_repetition_is_the_share_of_ngrams_that_came_before():
    # of the bigrams ab ba ab ba ab, three came before
    assert repetition(said("a b A B, a b"), ngram=2) == pytest.approx(-3 / 5)
    assert repetition(said("a b A B, a b"), ngram=2, allowed=0.2) == pytest.approx(-0.4 / 0.8)
    assert repetition(said("a b c"), ngram=4) == 0.0
    assert repetition(said(""), ngram=1) == 0.0


def test_listed_words_are_found_whole_in_any_case_and_phrases_across_lines():
    penalty = profanity(["darn", "holy  cow", "*!"], full=4)
    assert penalty(said("Darn! A holy\nCOW, darned.")) == -0.5
    assert penalty(said("darning is fine")) == 0.0
    assert penalty(said("darn " * 9)) == -1.0
    assert profanity(["darn"])(said("so darn good")) == -1.0


def test_a_list_without_words_is_refused():
    with pytest.raises(ConfigError, match="no words"):
        profanity(["", "  "])


@given(st.text(), st.integers(1, 9), st.integers(0, 9))
def test_penalties_are_between_minus_one_and_nought(text, limit, ramp):
    answer = said(text)
    for value in (
        length(answer, limit=limit, ramp=ramp),
        repetition(answer, ngram=limit, allowed=ramp / 10),
        profanity(["a", "b c"], full=limit)(answer),
    ):
        assert -1.0 <= value <= 0.0
