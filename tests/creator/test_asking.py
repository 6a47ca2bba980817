from __future__ import annotations

import pytest

from eva.creator.asking import asks


@pytest.mark.parametrize(
    "text",
    [
        "Write a poem.",
        "how to boil an egg",
        "Is it raining?",
        "The car sped quickly. Rewrite the sentence.",
        "Given the list below, sort it.",
        "I'd like a short story about a lamp",
        "You are a pirate from Kent.",
        "Please, a haiku",
        "Now then: compare tea with coffee",
        "Here is a text:\n1, 2, 3\nAdd the numbers",
    ],
)
def test_requests(text):
    assert asks(text)


@pytest.mark.parametrize(
    "text",
    [
        "The capital of France is Paris.",
        "Salt preserves food, melts ice and brings out flavours.",
        "1. Apples\n2. Pears\n3. Plums",
        "Roses are red, violets are blue.",
        "When we learn, our brain makes new connections.",
        "",
        "12",
    ],
)
def test_answers(text):
    assert not asks(text)
