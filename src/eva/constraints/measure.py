"""What constraints count in an answer: words, sentences, paragraphs, list items, marked spans."""

from __future__ import annotations

import re

_WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)\]*]*\s+|\n+")
_BULLET = re.compile(r"^[ \t]*[-*•+][ \t]+\S", re.MULTILINE)
_NUMBERED = re.compile(r"^[ \t]*\d+[.)][ \t]+\S", re.MULTILINE)
_HIGHLIGHT = re.compile(r"(?<!\*)\*(\*?)[^\s*](?:[^*\n]*[^\s*])?\*\1(?!\*)")
# what stands inside is looked at afterwards: in one pattern the time would grow with its square
_PLACEHOLDER = re.compile(r"\[([^\[\]\n]*)\]")
_TITLE = re.compile(r"<<([^<>\n]*)>>")
_SAYS = re.compile(r"[^\W_]")


def words(text: str) -> list[str]:
    """Return the words of a text: runs of letters and digits, apostrophes and hyphens inside.

    >>> words("It's a well-known fact: 3 of 4!")
    ["It's", 'a', 'well-known', 'fact', '3', 'of', '4']
    """
    return _WORD.findall(text)


def occurrences(text: str, phrase: str) -> int:
    """Count a word or phrase as whole words, in any case.

    >>> occurrences("The theme of the Then", "the")
    2
    """
    inner = r"\s+".join(map(re.escape, phrase.split()))
    return len(re.findall(rf"(?<![^\W_]){inner}(?![^\W_])", text, re.IGNORECASE))


def sentences(text: str) -> list[str]:
    r"""Return the sentences: pieces that end with . ! ? or a line break and hold a letter.

    >>> sentences('1. Wash it. Is it dry?\nThen "go!" Version 2.5 works')
    ['1. Wash it.', 'Is it dry?', 'Then "go!', 'Version 2.5 works']
    """
    pieces = [""]
    for piece in _SENTENCE_END.split(text):
        # "1." opens the sentence that follows it, it is none of its own.
        if pieces[-1] and not re.search(r"[^\W\d_]", pieces[-1]):
            pieces[-1] += f" {piece}"
        else:
            pieces.append(piece)
    return [p.strip() for p in pieces if re.search(r"[^\W\d_]", p)]


def paragraphs(text: str) -> list[str]:
    r"""Return the paragraphs: blocks with text between blank lines.

    >>> paragraphs("One\ntwo\n\n \n\nthree")
    ['One\ntwo', 'three']
    """
    return [p.strip() for p in re.split(r"\n[ \t]*\n", text) if p.strip()]


def bullets(text: str) -> int:
    """Count the lines that are items of a bulleted list (-, *, + or •)."""
    return len(_BULLET.findall(text))


def numbered(text: str) -> int:
    """Count the lines that are items of a numbered list (1. or 1))."""
    return len(_NUMBERED.findall(text))


def highlights(text: str) -> int:
    """Count the spans within a line between *single* or **double** asterisks."""
    return len(_HIGHLIGHT.findall(text))


def placeholders(text: str) -> int:
    """Count the [placeholders] in square brackets."""
    return sum(bool(_SAYS.search(inside)) for inside in _PLACEHOLDER.findall(text))


def titles(text: str) -> list[str]:
    """Return the titles in <<double angle brackets>>, without the brackets."""
    return [title.strip() for title in _TITLE.findall(text) if _SAYS.search(title)]


def cased(text: str) -> str:
    """Return only the letters that have a case.

    >>> cased("Ab 1 é 日!")
    'Abé'
    """
    return "".join(c for c in text if c.lower() != c.upper())
