"""Kinds that bound how long an answer is or how many parts it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eva.constraints import measure
from eva.constraints.kind import Args, Draw, Kind, draws, share
from eva.constraints.phrasing import Phrasing

if TYPE_CHECKING:
    import numpy as np

    from eva.types import Json


def _span(gap: int) -> Draw:
    """Draw a range of words `gap` wide that begins at 10 or more and fits the budget."""

    def draw(rng: np.random.Generator, budget: int) -> dict[str, Json]:
        low = 5 * int(rng.integers(2, max(3, (budget - gap) // 5 + 1)))
        return {"low": low, "high": low + gap}

    return draw


def _in_span(text: str, args: Args) -> bool:
    return bool(args["low"] <= len(measure.words(text)) <= args["high"])


MIN_WORDS = Kind(
    name="min_words",
    args={"words": int},
    phrasings=(
        Phrasing("do", "use at least {words} words"),
        Phrasing("do", "write {words} words or more"),
        Phrasing("say", "your answer should have at least {words} words"),
        Phrasing("say", "the response must not be shorter than {words} words"),
        Phrasing("say", "I need a minimum of {words} words"),
        Phrasing("tail", "in at least {words} words"),
        Phrasing("tail", "with no fewer than {words} words"),
    ),
    levels=(
        share("words", 0.3, 0.4),
        share("words", 0.45, 0.55),
        share("words", 0.6, 0.7),
        share("words", 0.75, 0.85),
        share("words", 0.9, 1.0),
    ),
    check=lambda text, args: len(measure.words(text)) >= args["words"],
    clashes=frozenset({"word_range"}),
    least_words=lambda args: int(args["words"]),
)

MAX_WORDS = Kind(
    name="max_words",
    args={"words": int},
    phrasings=(
        Phrasing("do", "use no more than {words} words"),
        Phrasing("do", "keep your response to {words} words or less"),
        Phrasing("do", "limit your answer to {words} words"),
        Phrasing("say", "your response should not be longer than {words} words"),
        Phrasing("say", "{words} words is the most I have time to read"),
        Phrasing("say", "the answer has to fit in {words} words"),
        Phrasing("say", "there is a limit of {words} words"),
        Phrasing("tail", "in {words} words or less"),
        Phrasing("tail", "in at most {words} words"),
    ),
    levels=(
        share("words", 0.75, 0.9),
        share("words", 0.6, 0.7),
        share("words", 0.45, 0.55),
        share("words", 0.3, 0.4),
        share("words", 0.15, 0.25),
    ),
    check=lambda text, args: len(measure.words(text)) <= args["words"],
    clashes=frozenset({"word_range"}),
    most_words=lambda args: float(args["words"]),
)

WORD_RANGE = Kind(
    name="word_range",
    args={"low": int, "high": int},
    phrasings=(
        Phrasing("do", "write between {low} and {high} words"),
        Phrasing("do", "keep the length of your answer between {low} and {high} words"),
        Phrasing("say", "the answer should be {low} to {high} words long"),
        Phrasing("say", "a good response here has between {low} and {high} words"),
        Phrasing("say", "I need between {low} and {high} words"),
        Phrasing("say", "the length of the response should be between {low} and {high} words"),
        Phrasing("tail", "in {low} to {high} words"),
        Phrasing("tail", "in no less than {low} and no more than {high} words"),
    ),
    levels=(_span(20), _span(15), _span(10), _span(5)),
    check=_in_span,
    least_words=lambda args: int(args["low"]),
    most_words=lambda args: float(args["high"]),
)

SENTENCES = Kind(
    name="sentences",
    args={"count": int},
    phrasings=(
        Phrasing("do", "use exactly {count} sentence{s}"),
        Phrasing("do", "limit yourself to exactly {count} sentence{s}, no more and no less"),
        Phrasing("say", "your answer should be exactly {count} sentence{s} long"),
        Phrasing("say", "the whole reply must consist of exactly {count} sentence{s}"),
        Phrasing("tail", "in exactly {count} sentence{s}"),
        Phrasing("tail", "with an answer of exactly {count} sentence{s}"),
    ),
    levels=(
        draws(count=(1, 1)),
        draws(count=(2, 2)),
        draws(count=(3, 3)),
        draws(count=(4, 4)),
        draws(count=(5, 6)),
    ),
    check=lambda text, args: len(measure.sentences(text)) == args["count"],
    clashes=frozenset(
        {"paragraphs", "bullets", "numbered", "title", "postscript", "questions", "json"}
    ),
    least_words=lambda args: 4 * int(args["count"]),
    most_words=lambda args: 25.0 * int(args["count"]),
    # A closing phrase that is a sentence leaves no room for a single one with the answer in it.
    bars=lambda args, text: args["count"] == 1 and text[-1] in ".!?",
)

PARAGRAPHS = Kind(
    name="paragraphs",
    args={"count": int},
    phrasings=(
        Phrasing("do", "write exactly {count} paragraphs with a blank line between them"),
        Phrasing("do", "split your answer into {count} short paragraphs separated by blank lines"),
        Phrasing("say", "there should be exactly {count} paragraphs, separated by empty lines"),
        Phrasing("say", "the response must have {count} paragraphs, with a blank line in between"),
        Phrasing("say", "I want {count} paragraphs with a blank line between each of them"),
        Phrasing("tail", "in exactly {count} paragraphs separated by blank lines"),
        Phrasing("tail", "in {count} short paragraphs with an empty line between them"),
    ),
    levels=(draws(count=(2, 2)), draws(count=(3, 3)), draws(count=(4, 4)), draws(count=(5, 5))),
    check=lambda text, args: len(measure.paragraphs(text)) == args["count"],
    clashes=frozenset({"bullets", "numbered", "title", "postscript", "json"}),
    least_words=lambda args: 6 * int(args["count"]),
)

QUESTIONS = Kind(
    name="questions",
    args={"count": int},
    phrasings=(
        Phrasing("do", "ask at least {count} question{s} in your answer"),
        Phrasing("do", "include {count} or more sentences that end with a question mark"),
        Phrasing("say", "your reply must contain at least {count} question{s}"),
        Phrasing("say", "at least {count} question mark{s} should appear in the response"),
        Phrasing("tail", "with at least {count} question{s} in the answer"),
    ),
    levels=(draws(count=(1, 1)), draws(count=(2, 2)), draws(count=(3, 3)), draws(count=(4, 5))),
    check=lambda text, args: (
        sum(s.rstrip("\"'”’)]*").endswith("?") for s in measure.sentences(text)) >= args["count"]
    ),
    clashes=frozenset({"json"}),
    least_words=lambda args: 4 * int(args["count"]),
)
