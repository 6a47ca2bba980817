"""Texts as gates compare them: words without case, punctuation or width variants."""

from __future__ import annotations

import re
import unicodedata

_IDEOGRAPH = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_LETTERS = rf"[^\W_{_IDEOGRAPH}]+"
# Chinese and Japanese have no spaces: each character counts as a word. Operators of arithmetic
# count as well, or 5 + 3 would equal 5 - 3.
_WORD = re.compile(rf"[{_IDEOGRAPH}]|{_LETTERS}(?:'{_LETTERS})*|[+/=<>^%]|[-*](?=\s?\d)")


def words(text: str) -> list[str]:
    """Return the words of a text, normalised; operators of arithmetic are words.

    >>> words("Don't list the “Top 10”!")
    ["don't", 'list', 'the', 'top', '10']
    """
    plain = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    return _WORD.findall(plain)


def word_grams(tokens: list[str], n: int) -> list[str]:
    """Return all runs of n words, in order; the whole text where it is shorter.

    >>> word_grams(["a", "b", "c"], 2)
    ['a b', 'b c']
    """
    starts = range(max(len(tokens) - n, 0) + 1) if tokens else ()
    return [" ".join(tokens[i : i + n]) for i in starts]
