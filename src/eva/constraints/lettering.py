"""Kinds that look at single characters: case, commas, letters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eva.constraints import measure
from eva.constraints.kind import Args, Draw, Kind, draws, nothing
from eva.constraints.phrasing import Phrasing

if TYPE_CHECKING:
    import numpy as np

    from eva.types import Json


def _letters(pool: str, low: int, high: int) -> Draw:
    def draw(rng: np.random.Generator, budget: int) -> dict[str, Json]:
        count = int(rng.integers(low, high + 1))
        return {"letter": pool[rng.integers(len(pool))], "count": count}

    return draw


def _capitals(text: str) -> int:
    """Count words of two or more letters, all of them capitals."""
    letters = map(measure.cased, measure.words(text))
    return sum(len(word) > 1 and word.isupper() for word in letters)


def _few_capitals(text: str, args: Args) -> bool:
    cased = measure.cased(text)
    return bool(cased) and sum(c.isupper() for c in cased) <= int(args.get("most", 0))


def _few_commas(text: str, args: Args) -> bool:
    return text.count(",") <= int(args.get("most", 0))


LOWERCASE = Kind(
    name="lowercase",
    args={"most": int},
    phrasings=(
        Phrasing("do", "write everything in lowercase letters"),
        Phrasing("do", "use only lowercase letters"),
        Phrasing("do", "keep the whole answer in lowercase, with no capital letters at all"),
        Phrasing("say", "your entire response should be in all lowercase letters"),
        Phrasing("say", "no capital letters are allowed"),
        Phrasing("say", "the answer must not contain any capital letters"),
        Phrasing("tail", "in all lowercase letters"),
        Phrasing("tail", "without using any capital letters"),
        Phrasing("do", "use no more than {most} capital letter{s}"),
        Phrasing("do", "write with at most {most} capital letter{s} in the whole text"),
        Phrasing("say", "your response should contain at most {most} capital letter{s}"),
        Phrasing("say", "no more than {most} letter{s} of the answer may be capitalized"),
        Phrasing("tail", "with no more than {most} capital letter{s}"),
    ),
    levels=(draws(most=(3, 3)), draws(most=(1, 1)), nothing),
    check=_few_capitals,
    clashes=frozenset({"uppercase", "capitals", "postscript", "starts_with"}),
)

UPPERCASE = Kind(
    name="uppercase",
    args={},
    phrasings=(
        Phrasing("do", "write the whole answer in capital letters"),
        Phrasing("do", "use all capital letters for the entire response"),
        Phrasing("say", "your entire response should be in all capital letters"),
        Phrasing("say", "the answer must be in capital letters only"),
        Phrasing("say", "every letter of the answer should be capitalized"),
        Phrasing("say", "no lowercase letters are allowed in your reply"),
        Phrasing("tail", "in all capital letters"),
        Phrasing("tail", "using only capital letters"),
    ),
    levels=(nothing,),
    check=lambda text, args: not any(c.islower() for c in text) and bool(measure.cased(text)),
    clashes=frozenset({"lowercase", "capitals", "json", "starts_with"}),
)

CAPITALS = Kind(
    name="capitals",
    args={"count": int},
    phrasings=(
        Phrasing("do", "write at least {count} word{s} in all capital letters"),
        Phrasing("do", "put {count} or more of your words in all caps"),
        Phrasing("say", "your response should have at least {count} word{s} in all caps"),
        Phrasing("say", "I want at least {count} fully capitalized word{s} in the answer"),
        Phrasing("tail", "with at least {count} word{s} in all capital letters"),
    ),
    levels=(draws(count=(1, 1)), draws(count=(2, 2)), draws(count=(3, 4)), draws(count=(5, 7))),
    check=lambda text, args: _capitals(text) >= args["count"],
    least_words=lambda args: 2 * int(args["count"]),
)

COMMAS = Kind(
    name="commas",
    args={"most": int},
    phrasings=(
        Phrasing("do", "avoid using commas in your answer"),
        Phrasing("do", "write your response without using any commas"),
        Phrasing("say", "do not use any commas in your response"),
        Phrasing("say", "there should be no commas in your answer"),
        Phrasing("tail", "without using any commas"),
        Phrasing("do", "use no more than {most} comma{s}"),
        Phrasing("do", "include at most {most} comma{s} in your response"),
        Phrasing("do", "use at most {most} comma{s} in total"),
        Phrasing("say", "your response should contain no more than {most} comma{s}"),
        Phrasing("say", "the answer may contain {most} comma{s} at most"),
        Phrasing("say", "no more than {most} comma{s} should be used"),
        Phrasing("tail", "with no more than {most} comma{s}"),
    ),
    levels=(draws(most=(1, 1)), nothing),
    check=_few_commas,
    clashes=frozenset({"json"}),
    bars=lambda args, text: not _few_commas(text, args),
)

LETTER = Kind(
    name="letter",
    args={"letter": str, "count": int},
    phrasings=(
        Phrasing("do", "use the letter {letter} at least {count} times"),
        Phrasing("do", "include the letter {letter} at least {count} times in your response"),
        Phrasing("say", "the letter {letter} should appear at least {count} times in your answer"),
        Phrasing("say", "in your response, the letter {letter} must occur at least {count} times"),
        Phrasing("say", "I want to find the letter {letter} at least {count} times in the text"),
        Phrasing("tail", "using the letter {letter} at least {count} times"),
    ),
    levels=(
        _letters("cmuhl", 5, 7),
        _letters("gpwyb", 4, 6),
        _letters("vk", 3, 4),
        _letters("jqxz", 2, 2),
        _letters("jqxz", 3, 4),
    ),
    check=lambda text, args: text.lower().count(args["letter"]) >= args["count"],
    least_words=lambda args: 2 * int(args["count"]),
)
