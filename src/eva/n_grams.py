"""Words in a row: how much a text repeats itself, and texts repeat each other.

Words are split at white space, so that this means the same for every tokenizer and for servers that
return text alone.
"""

from __future__ import annotations

from collections.abc import Sequence

N_GRAM = 4
"""Words in a row that make a repetition."""


def n_grams(text: str, n: int) -> list[tuple[str, ...]]:
    """Return the n-grams of the lower-case words of a text, in order.

    >>> n_grams("A b c", 2)
    [('a', 'b'), ('b', 'c')]
    """
    words = text.lower().split()
    return list(zip(*(words[i:] for i in range(n)), strict=False))


def repetition(text: str, n: int = N_GRAM) -> float | None:
    """Return the share of a text's n-grams that it had before; None for one of under n words.

    >>> repetition("go on go on go on", 2)
    0.6
    """
    grams = n_grams(text, n)
    return 1 - len(set(grams)) / len(grams) if grams else None


def distinct(texts: Sequence[str], n: int = 2) -> float | None:
    """Return distinct n-grams per n-gram over all texts together (arXiv:1510.03055, sec. 5).

    Near 0 all answers are alike. It falls as more text is counted: compare equal amounts.

    >>> distinct(["a b c", "a b d"])
    0.75
    """
    grams = [gram for text in texts for gram in n_grams(text, n)]
    return len(set(grams)) / len(grams) if grams else None
