from __future__ import annotations

import pytest

from eva.creator.gates.meta_text import MetaText, meta_phrase
from eva.types import Prompt


@pytest.mark.parametrize(
    "text",
    [
        "Sure, write a poem.",
        "Certainly! Write a poem.",
        "I’m sorry, that is not possible.",
        "I cannot rewrite this.",
        "Here is the rewritten prompt: write a poem.",
        "Write a poem. Here's the modified version: write two.",
        "The evolved instruction adds a limit.",
        "As an AI language model, I do not write poems.",
        "Write a poem. The prompt has been made harder.",
        "#Rewritten Prompt# Write a poem.",
        "Write: {prompt}",
        "I've added a number of lines.",
    ],
)
def test_meta_phrase(text):
    assert meta_phrase(text)


@pytest.mark.parametrize(
    "text",
    [
        "Make sure, please, that it rhymes.",
        "Here is a list of numbers. Sort it.",
        "Act as an AI that plays chess.",
        "Explain why I can't divide by zero.",
        "Write a version of the story for children.",
        "How would you prompt a child to read?",
    ],
)
def test_ordinary_prompts_pass(text):
    assert meta_phrase(text) is None


def test_gate_names_the_phrase_and_allows_what_the_parent_says():
    gate = MetaText()
    child = Prompt.of("Explain what a new prompt is, briefly.")
    assert gate(child, [Prompt.of("Explain chat.")]) == "speaks of the rewriting: 'new prompt'"
    assert gate(child, [Prompt.of("Explain what a new prompt is.")]) is None
