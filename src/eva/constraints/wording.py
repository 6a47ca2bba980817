"""Kinds that ask for words and phrases, or forbid them."""

from __future__ import annotations

import re

from eva.constraints import measure
from eva.constraints.kind import Args, Draw, Kind, both, choices, draws
from eva.constraints.phrasing import Phrasing

COMMON = tuple(
    measure.words(
        "time people day good work small place start help part often water home simple hand little"
        " always problem open story change early light warm friend important"
    )
)
"""Words that an answer to most requests can use without strain."""

RARE = tuple(
    measure.words(
        "lantern velvet harbour compass orchard whisper thunder marble feather copper meadow ribbon"
        " anchor puzzle candle blanket glacier trumpet cinnamon umbrella"
    )
)
"""Words that must be worked in."""

AVOIDED = (
    tuple(measure.words("also best make many important can help different good")),
    tuple(measure.words("from your with you it on at be")),
    tuple(measure.words("in is are for that or as")),
    tuple(measure.words("to of and a")),
    ("the",),
)
"""Words to forbid, by level: the more common, the harder to do without."""

OPENINGS = (
    tuple(measure.words("Sure Here The First Certainly")),
    tuple(measure.words("Today Imagine Well Yes Perhaps Start")),
    tuple(measure.words("Honestly Yesterday Listen Somewhere Frankly Believe")),
)
"""First words, by level: from those an assistant uses anyway to those it never does."""

CLOSINGS = (
    ("Good luck!", "Take care!", "Thank you!", "Have fun!", "Stay safe!", "Best wishes!"),
    ("I hope this helps you.", "That is all for now.", "Now it is your turn.", "Enjoy every day!"),
    (
        "And that is really all there is to it.",
        "Please write to me if you have more questions.",
        "The rest of the story is for you to tell.",
        "Do you want to hear more about this?",
    ),
)
"""Last words, by level: the longer, the more must be right."""


def _has_all(text: str, args: Args) -> bool:
    return all(measure.occurrences(text, word) for word in args["words"])


def _has_none(text: str, args: Args) -> bool:
    return not any(measure.occurrences(text, word) for word in args["words"])


def _starts(text: str, args: Args) -> bool:
    start = re.escape(args["word"])
    return bool(re.match(rf"[^\w]*{start}(?![^\W_])", text, re.IGNORECASE))


KEYWORDS = Kind(
    name="keywords",
    args={"words": list},
    phrasings=(
        Phrasing("do", "include the word{s} {words} in your answer"),
        Phrasing("do", "use the keyword{s} {words} in your response"),
        Phrasing("do", "make use of the word{s} {words} in your text"),
        Phrasing("say", "your response should include the word{s} {words}"),
        Phrasing("say", "the word{s} {words} must appear in the text"),
        Phrasing("tail", "using the word{s} {words}"),
    ),
    levels=(
        choices("words", COMMON, count=1),
        choices("words", COMMON, count=2),
        choices("words", RARE, count=1),
        choices("words", RARE, count=2),
        choices("words", RARE, count=3),
    ),
    check=_has_all,
    clashes=frozenset({"repeat"}),
    least_words=lambda args: 4 * len(args["words"]),
    texts=lambda args: tuple(args["words"]),
)

FORBIDDEN = Kind(
    name="forbidden",
    args={"words": list},
    phrasings=(
        Phrasing("do", "avoid using the word{s} {words}"),
        Phrasing("do", "leave out the word{s} {words} in your answer"),
        Phrasing("say", "do not use the word{s} {words} in your response"),
        Phrasing("say", "the word{s} {words} should not appear in the text"),
        Phrasing("say", "I don't want to see the word{s} {words} in your answer"),
        Phrasing("say", "your answer must not contain the word{s} {words}"),
        Phrasing("tail", "without using the word{s} {words}"),
        Phrasing("tail", "without mentioning the word{s} {words}"),
    ),
    levels=(
        *(choices("words", pool, count=1) for pool in AVOIDED),
        choices("words", AVOIDED[2] + AVOIDED[3], count=2),
    ),
    check=_has_none,
    bars=lambda args, text: not _has_none(text, args),
)


def _repeat(low: int, high: int) -> Draw:
    return both(choices("word", COMMON), draws(count=(low, high)))


REPEAT = Kind(
    name="repeat",
    args={"word": str, "count": int},
    phrasings=(
        Phrasing("do", "use the word {word} at least {count} times"),
        Phrasing("do", "repeat the word {word} {count} or more times in your answer"),
        Phrasing("say", "the word {word} should appear at least {count} times in your response"),
        Phrasing("say", "I want the word {word} to be used {count} times or more"),
        Phrasing("say", "your text must contain the word {word} at least {count} times"),
        Phrasing("tail", "using the word {word} at least {count} times"),
    ),
    levels=(_repeat(2, 2), _repeat(3, 3), _repeat(4, 4), _repeat(5, 6)),
    check=lambda text, args: measure.occurrences(text, args["word"]) >= args["count"],
    least_words=lambda args: 3 * int(args["count"]),
    texts=lambda args: (args["word"],),
)

STARTS_WITH = Kind(
    name="starts_with",
    args={"word": str},
    phrasings=(
        Phrasing("do", "start your response with the word {word}"),
        Phrasing("do", "begin your answer with the word {word}"),
        Phrasing("say", "the first word of your response should be {word}"),
        Phrasing("say", "your answer must start with the word {word}"),
        Phrasing("say", "I want {word} to be the first word of your reply"),
        Phrasing("tail", "starting with the word {word}"),
    ),
    levels=tuple(choices("word", pool) for pool in OPENINGS),
    check=_starts,
    clashes=frozenset({"quoted", "json", "bullets", "numbered", "title"}),
    texts=lambda args: (args["word"],),
)

ENDS_WITH = Kind(
    name="ends_with",
    args={"phrase": str},
    phrasings=(
        Phrasing("do", "end your answer with the exact phrase {phrase}"),
        Phrasing("do", "finish your response with the exact words {phrase}"),
        Phrasing("say", "your response should end with this exact phrase: {phrase}"),
        Phrasing("say", "the very last words of the reply must be {phrase}"),
        Phrasing("say", "no other words should follow the closing phrase {phrase}"),
        Phrasing("tail", "ending with the exact phrase {phrase}"),
    ),
    levels=tuple(choices("phrase", pool) for pool in CLOSINGS),
    check=lambda text, args: text.rstrip(" \n\t\"'*").endswith(args["phrase"]),
    clashes=frozenset({"lowercase", "uppercase", "quoted", "json", "postscript"}),
    least_words=lambda args: len(measure.words(args["phrase"])) + 3,
    texts=lambda args: (args["phrase"],),
)


def _short(text: str, args: Args) -> bool:
    # The parts of a hyphenated word count apart, and so does what follows an apostrophe.
    longest = max(map(len, re.findall(r"[^\W\d_]+", text)), default=0)
    return longest <= int(args["letters"])


SHORT_WORDS = Kind(
    name="short_words",
    args={"letters": int},
    phrasings=(
        Phrasing("do", "use only words of at most {letters} letters"),
        Phrasing("do", "avoid words of more than {letters} letters"),
        Phrasing("do", "keep every word to {letters} letters or fewer"),
        Phrasing("say", "no word of your answer may have more than {letters} letters"),
        Phrasing("say", "words of more than {letters} letters are not allowed"),
        Phrasing("tail", "using no word of more than {letters} letters"),
    ),
    levels=(
        draws(letters=(12, 13)),
        draws(letters=(10, 11)),
        draws(letters=(9, 9)),
        draws(letters=(8, 8)),
        draws(letters=(6, 7)),
    ),
    check=_short,
    bars=lambda args, text: not _short(text, args),
)

NUMBERS = Kind(
    name="numbers",
    args={"count": int},
    phrasings=(
        Phrasing("do", "include at least {count} number{s} written in digits"),
        Phrasing("do", "mention {count} or more numbers, in digits"),
        Phrasing("say", "your answer must contain at least {count} number{s} in digits"),
        Phrasing("say", "I want to see at least {count} number{s}, written in digits"),
        Phrasing("tail", "with at least {count} number{s} in digits"),
    ),
    levels=(draws(count=(1, 1)), draws(count=(2, 2)), draws(count=(3, 4)), draws(count=(5, 7))),
    check=lambda text, args: len(re.findall(r"\d+(?:[.,:]\d+)*", text)) >= args["count"],
    least_words=lambda args: 2 * int(args["count"]) + 2,
)
