from __future__ import annotations

import pytest

from eva.creator.gates.eval_overlap import EvalOverlap
from eva.types import Prompt

LONG = "Write a letter to a friend who has moved to another city and misses home."
GATE = EvalOverlap([LONG, "What is the capital of France?", "Hello there"], n=8, shortest=5)


@pytest.mark.parametrize(
    ("text", "shared"),
    [
        (LONG.upper(), "write a letter to a friend who has moved to another city and misses home"),
        ("Please: write a letter to a friend, who has left.", "write a letter to a friend who has"),
        (
            "A friend who has moved to another city? Advise her.",
            "a friend who has moved to another city",
        ),
        ("Say what is the capital of France, in verse.", "what is the capital of france"),
        ("hello THERE!", "hello there"),
    ],
)
def test_overlap(text, shared):
    assert GATE.overlap(text) == shared


@pytest.mark.parametrize(
    "text",
    [
        "Write a letter to a friend who is ill.",  # seven words shared
        "Hello there, write a poem.",  # contains a prompt too short to tell
        "What is the capital of Spain?",
        "...",
    ],
)
def test_what_shares_less_passes(text):
    assert GATE.overlap(text) is None


def test_gate_reads_the_last_turn_and_names_the_words():
    reason = GATE(Prompt.of("Hello there"), [])
    assert reason == "shares 'hello there' with an evaluation prompt"
    assert EvalOverlap([])(Prompt.of(LONG), []) is None
