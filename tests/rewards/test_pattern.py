from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eva.rewards.pattern import matched
from eva.rewards.verifier import VerifierReward
from eva.types import Group, Prompt, Response

ANSWER = r"answer: (?P<said>-?\d+)"


def test_search_finds_it_anywhere_and_whole_wants_all():
    assert matched("so 42 it is", r"\d+", whole=False) == 1.0
    assert matched("so 42 it is", r"\d+", whole=True) == 0.0
    assert matched(" 42\n", r"\d+", whole=True) == 1.0
    assert matched("none", r"\d+", whole=False) == 0.0
    assert matched("YES", r"(?i)yes", whole=True) == 1.0


def test_the_last_match_of_a_group_is_compared():
    text = "answer: 3, no, answer: 4"
    assert matched(text, ANSWER, whole=False, group="said", answer=4) == 1.0
    assert matched(text, ANSWER, whole=False, group="1", answer=" 3 ") == 0.0
    assert matched("no answer", ANSWER, whole=False, group="said", answer="4") == 0.0


def test_a_group_that_took_no_part_is_no_answer():
    assert matched("b", r"(a)|b", whole=True, group="1", answer="None") == 0.0


def test_a_wrong_expression_or_group_is_an_error():
    with pytest.raises(re.error):
        matched("x", "(", whole=False)
    with pytest.raises(IndexError):
        matched("x", "x", whole=False, group="2", answer="x")


@given(st.text())
def test_every_text_matches_itself(text):
    assert matched(text, re.escape(text.strip()), whole=True) == 1.0


def test_an_expression_that_never_ends_costs_one_score():
    reward = VerifierReward(
        "eva.rewards.pattern:matched",
        name="pattern",
        columns={},
        settings={"pattern": r"(a+)+b", "whole": True, "group": ""},
        seconds=0.3,
    )
    answers = tuple(Response(text, ()) for text in ("aab", "a" * 40, "ab"))
    (one,) = reward.score([Group(Prompt.of("q"), (), answers, "p")])
    reward.close()
    assert one.rewards == (1.0, None, 1.0)
    assert one.scores[1].cause == "timeout"
