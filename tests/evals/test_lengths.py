from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eva.evals.lengths import distinct, echo, lengths, n_grams, repetition
from eva.types import Group, Prompt, Response

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


def test_echo_by_hand() -> None:
    prompt = "Write a poem about the sea. Use no commas."
    assert echo("Use no commas. Use no commas.", prompt, n=3) == 0.5
    assert echo(prompt, prompt) == 1.0
    assert echo("The waves roll on", prompt) == 0.0


@given(TEXTS, TEXTS)
def test_shares_lie_between_0_and_1(a: str, b: str) -> None:
    shares = [repetition(a, 2), echo(a, b, 2), distinct([a, b])]
    assert all(share is None or 0 <= share <= 1 for share in shares)


@given(st.lists(TEXTS, max_size=4))
def test_repetition_is_what_distinct_leaves(texts: list[str]) -> None:
    for text in texts:
        left, unlike = repetition(text, 2), distinct([text], 2)
        assert (left is None) == (unlike is None)
        assert left is None or left + unlike == pytest.approx(1.0)


def test_lengths_are_means_over_the_answers() -> None:
    answers = (Response("a b c d", (1, 2, 3)), Response("a b", (1, 2, 3, 4, 5), finish="length"))
    got = lengths([Group(Prompt.of("a b c d e"), (1,), answers, "v")])[0].values
    assert got == {"tokens": 4.0, "words": 3.0, "truncated": 0.5, "repetition": 0.0, "echo": 1.0}


def test_tokens_are_unknown_for_text_alone_and_0_for_no_text() -> None:
    def tokens(response: Response) -> float | None:
        return lengths([Group(Prompt.of("p"), (1,), (response,), "v")])[0].values["tokens"]

    assert tokens(Response("text of a server", ())) is None
    assert tokens(Response("", ())) == 0.0


def test_an_unanswered_prompt_has_no_values() -> None:
    values = lengths([Group(Prompt.of("p"), (1,), (), "v")])[0].values
    assert set(values.values()) == {None}
