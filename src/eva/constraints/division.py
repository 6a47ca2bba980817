"""Kinds that divide the answer: into sections with headings, into several answers."""

from __future__ import annotations

import re

from eva.constraints import measure
from eva.constraints.kind import Args, Kind, draws
from eva.constraints.phrasing import Phrasing

_HEADING = re.compile(r"^[ \t*#_]*section[ \t]+(\d{1,3})(?!\d)", re.IGNORECASE | re.MULTILINE)
_BETWEEN = re.compile(r"(?<!\*)\*{6}(?!\*)")


def _sections(text: str, args: Args) -> bool:
    """Whether headings count 1, 2, ... and there are words below each."""
    _, *rest = _HEADING.split(text)
    numbers, below = rest[::2], rest[1::2]
    wanted = [str(i + 1) for i in range(args["count"])]
    return numbers == wanted and all(measure.words(part) for part in below)


def _answers(text: str, args: Args) -> bool:
    """Whether there are as many answers, no two of them alike in their words."""
    said = [tuple(map(str.lower, measure.words(part))) for part in _BETWEEN.split(text)]
    return len(said) == args["count"] and all(said) and len(set(said)) == len(said)


SECTIONS = Kind(
    name="sections",
    args={"count": int},
    phrasings=(
        Phrasing(
            "do", "divide your answer into {count} sections headed Section 1, Section 2 and so on"
        ),
        Phrasing("do", "write {count} sections and mark them as Section 1, Section 2 and so on"),
        Phrasing(
            "say", "your answer should have {count} sections, marked Section 1, Section 2 and so on"
        ),
        Phrasing(
            "say",
            "I want {count} sections, each below a line with the word Section and its number",
        ),
        Phrasing("tail", "in {count} sections headed Section 1, Section 2 and so on"),
    ),
    levels=(draws(count=(2, 2)), draws(count=(3, 3)), draws(count=(4, 4)), draws(count=(5, 6))),
    check=_sections,
    clashes=frozenset(
        {"sentences", "paragraphs", "answers", "starts_with", "lowercase", "quoted", "json"}
    ),
    least_words=lambda args: 5 * int(args["count"]),
)

ANSWERS = Kind(
    name="answers",
    args={"count": int},
    phrasings=(
        Phrasing("do", "give {count} different answers, separated by six asterisks: ******"),
        Phrasing("do", "write {count} different versions with a line of ****** between them"),
        Phrasing("say", "I want {count} different answers with ****** between one and the next"),
        Phrasing(
            "say", "your reply must consist of {count} different answers, separated by ******"
        ),
        Phrasing("tail", "in {count} different versions separated by six asterisks (******)"),
    ),
    levels=(draws(count=(2, 2)), draws(count=(3, 3)), draws(count=(4, 4))),
    check=_answers,
    clashes=frozenset({"sentences", "paragraphs", "title", "postscript", "quoted", "json"}),
    least_words=lambda args: 4 * int(args["count"]),
)
