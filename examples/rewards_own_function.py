"""Reward functions of your own, in both shapes that eva takes.

[reward]
name = "python"
function = "examples/rewards_own_function.py:near_fifty_words"
seconds = 2
"""

from __future__ import annotations

WANTED = 50


def near_fifty_words(prompt: str, response: str) -> dict[str, float]:
    """Score one answer: how near it comes to 50 words, less for repeating the question."""
    words = len(response.split())
    near = 1 - min(abs(words - WANTED) / WANTED, 1)
    echo = float(prompt.strip().lower() in response.lower())
    return {"reward": near - 0.5 * echo, "near": near, "echo": echo}


def right_answer(completions: list[str], answer: list[str | None], **columns) -> list[float | None]:
    """Score all answers of a prompt, as TRL calls it: 1 if the data set's `answer` is in them.

    A prompt without a reference is left unscored.
    """
    return [
        None if right is None else float(right in completion)
        for completion, right in zip(completions, answer, strict=True)
    ]
