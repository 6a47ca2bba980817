from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from eva.evals.lengths import echo, lengths
from eva.types import Group, Prompt, Response

TEXTS = st.text("ab \n", max_size=40)


def test_echo_by_hand() -> None:
    prompt = "Write a poem about the sea. Use no commas."
    assert echo("Use no commas. Use no commas.", prompt, n=3) == 0.5
    assert echo(prompt, prompt) == 1.0
    assert echo("The waves roll on", prompt) == 0.0


@given(TEXTS, TEXTS)
def test_an_echo_lies_between_0_and_1(a: str, b: str) -> None:
    share = echo(a, b, 2)
    assert share is None or 0 <= share <= 1


def test_lengths_are_means_over_the_answers() -> None:
    answers = (Response("a b c d", (1, 2, 3)), Response("a b", (1, 2, 3, 4, 5), finish="length"))
    got = lengths([Group(Prompt.of("a b c d e"), (1,), answers, "v")])[0].values
    assert got == {"tokens": 4.0, "words": 3.0, "truncated": 0.5, "repetition": 0.0, "echo": 1.0}


def test_tokens_are_unknown_for_text_alone_and_0_for_no_text() -> None:
    def tokens(response: Response) -> float | None:
        return lengths([Group(Prompt.of("p"), (1,), (response,), "v")])[0].values["tokens"]

    assert tokens(Response("text of a server", ())) is None
    assert tokens(Response("", ())) == 0.0
    assert tokens(Response("text that a server counted", (), counted=5)) == 5.0
    assert tokens(Response("text that it did not count", (), counted=0)) is None


def test_an_unanswered_prompt_has_no_values() -> None:
    values = lengths([Group(Prompt.of("p"), (1,), (), "v")])[0].values
    assert set(values.values()) == {None}
