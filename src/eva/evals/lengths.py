"""Lengths, truncation and repetition: the cheap signs of an answer gone wrong.

They are counted on words (split at white space), so they mean the same for every tokenizer and for
servers that return text alone; only `tokens` counts tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

from eva.evals.rows import Measured, mean
from eva.n_grams import N_GRAM, n_grams, repetition
from eva.types import Group, Response


def echo(text: str, prompt: str, n: int = N_GRAM) -> float | None:
    """Return the share of a text's n-grams that stand in the prompt; None for under n words.

    >>> echo("Use five words please: one", "Use five words please", n=3)
    0.3333333333333333
    """
    grams, seen = n_grams(text, n), set(n_grams(prompt, n))
    return sum(gram in seen for gram in grams) / len(grams) if grams else None


def lengths(groups: Sequence[Group]) -> list[Measured]:
    """Measure tokens, words, truncated, repetition and echo, means over a prompt's answers.

    `tokens` (end token included) is None where the generator returned text alone.
    """
    return [_measure(group) for group in groups]


def _measure(group: Group) -> Measured:
    """Measure one prompt's answers."""
    answers, prompt = group.responses, group.prompt.text
    return Measured(
        {
            "tokens": mean([_tokens(a) for a in answers]),
            "words": mean([float(len(a.text.split())) for a in answers]),
            "truncated": mean([float(a.truncated) for a in answers]),
            "repetition": mean([repetition(a.text) for a in answers]),
            "echo": mean([echo(a.text, prompt) for a in answers]),
        }
    )


def _tokens(response: Response) -> float | None:
    """Return the number of tokens, None where only the text is known."""
    return float(response.length) if response.length or not response.text else None
