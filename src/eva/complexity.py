"""How much a prompt asks for, without asking a model: words, and clauses.

A neutral module, so that the creator may choose by it and records may say it of every round.
"""

from __future__ import annotations

import re

_MARKS = re.compile(r"[.!?;:,\n。！？；：，、]+")
_WORD = re.compile(r"\w+(?:['’]\w+)?")


def words(text: str) -> int:
    """Return the number of words.

    >>> words("Don't stop: write on.")
    4
    """
    return len(_WORD.findall(text))


def clauses(text: str) -> int:
    """Return the number of clauses: stretches of at least three words between punctuation marks.

    Every further condition, question or piece of background is one more. It measures how much is
    asked, not how deep: a short riddle has one clause. A text with words has at least one.

    >>> clauses("Write a poem about tea, in six lines, for a child. Use no rhyme.")
    4
    """
    parts = [words(part) for part in _MARKS.split(text)]
    return max(sum(count >= 3 for count in parts), int(any(parts)))
