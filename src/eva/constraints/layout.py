"""Kinds that ask for a layout: lists, titles, marked spans, quotation marks, JSON."""

from __future__ import annotations

import json
import re

from eva.constraints import measure
from eva.constraints.kind import Args, Kind, choices, draws, nothing
from eva.constraints.phrasing import Phrasing

KEYS = ("answer", "reason", "summary", "topic", "example", "note", "details", "tip")
"""Keys that fit a JSON answer to most requests."""

_POSTSCRIPT = re.compile(r"^[ \t]*P\.[ ]?S\.?[ \t:]*(\S.*)\Z", re.MULTILINE | re.DOTALL)


def _titled(text: str, args: Args) -> bool:
    wanted = args.get("words")
    return any(wanted in (None, len(measure.words(title))) for title in measure.titles(text))


def _wrapped(text: str, args: Args) -> bool:
    inner = text.strip()
    return len(inner) > 2 and inner[0] in '"“' and inner[-1] in '"”'


def _postscript(text: str, args: Args) -> bool:
    match = _POSTSCRIPT.search(text)
    return match is not None and len(measure.words(match[1])) >= int(args.get("words", 1))


def _is_json(text: str, args: Args) -> bool:
    # Chat models fence code; the fence is not part of the answer.
    bare = re.sub(r"\A```(?:json)?", "", text.strip(), flags=re.IGNORECASE).removesuffix("```")
    try:
        value = json.loads(bare)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and bool(value) and all(k in value for k in args.get("keys", []))


BULLETS = Kind(
    name="bullets",
    args={"count": int},
    phrasings=(
        Phrasing("do", "use exactly {count} bullet points"),
        Phrasing("do", "give the answer as a bulleted list of exactly {count} items"),
        Phrasing("say", "your answer must contain exactly {count} bullet points"),
        Phrasing(
            "say", "I want a list with exactly {count} bullets, each starting with an asterisk"
        ),
        Phrasing("tail", "in exactly {count} bullet points"),
        Phrasing("tail", "as a list of exactly {count} bullet points"),
    ),
    levels=(draws(count=(2, 2)), draws(count=(3, 3)), draws(count=(4, 4)), draws(count=(5, 6))),
    check=lambda text, args: measure.bullets(text) == args["count"],
    clashes=frozenset({"numbered", "quoted", "json"}),
    least_words=lambda args: 3 * int(args["count"]),
)

NUMBERED = Kind(
    name="numbered",
    args={"count": int},
    phrasings=(
        Phrasing("do", "give exactly {count} points in a numbered list"),
        Phrasing("do", "format your answer as a numbered list with {count} items"),
        Phrasing("say", "your response should be a numbered list of exactly {count} items"),
        Phrasing("say", "the list in your answer must be numbered from 1 to {count}"),
        Phrasing("tail", "as a numbered list of exactly {count} items"),
        Phrasing("tail", "in a numbered list with exactly {count} entries"),
    ),
    levels=(draws(count=(3, 3)), draws(count=(2, 2)), draws(count=(4, 4)), draws(count=(5, 6))),
    check=lambda text, args: measure.numbered(text) == args["count"],
    clashes=frozenset({"bullets", "quoted", "json"}),
    least_words=lambda args: 3 * int(args["count"]),
)

TITLE = Kind(
    name="title",
    args={"words": int},
    phrasings=(
        Phrasing("do", "add a title wrapped in double angular brackets, such as <<title>>"),
        Phrasing("do", "include a title in double angular brackets, for example <<title>>"),
        Phrasing(
            "say", "your answer must have a title, wrapped in double angular brackets like <<this>>"
        ),
        Phrasing(
            "say",
            "the answer must contain a title, wrapped in double angular brackets like <<my title>>",
        ),
        Phrasing("tail", "with a title wrapped in double angular brackets, such as <<title>>"),
        Phrasing(
            "do", "include a title of exactly {words} words, wrapped in double angular brackets"
        ),
        Phrasing(
            "say",
            "the answer must have a title of exactly {words} words in double angular brackets",
        ),
        Phrasing(
            "tail", "with a title of exactly {words} words, wrapped in double angular brackets"
        ),
    ),
    levels=(nothing, draws(words=(3, 3)), draws(words=(4, 6))),
    check=_titled,
    clashes=frozenset({"json"}),
    least_words=lambda args: int(args.get("words", 1)) + 3,
)

HIGHLIGHTS = Kind(
    name="highlights",
    args={"count": int},
    phrasings=(
        Phrasing(
            "do",
            "highlight at least {count} part{s} of your answer in markdown, such as *this part*",
        ),
        Phrasing("do", "use asterisks to highlight at least {count} phrase{s}, like *this*"),
        Phrasing(
            "say",
            "at least {count} section{s} of your response should be highlighted with *asterisks*",
        ),
        Phrasing(
            "say",
            "there should be at least {count} highlighted phrase{s}, for example *this phrase*",
        ),
        Phrasing(
            "tail", "with at least {count} section{s} highlighted in markdown, like *this one*"
        ),
    ),
    levels=(draws(count=(1, 1)), draws(count=(2, 2)), draws(count=(3, 3)), draws(count=(4, 5))),
    check=lambda text, args: measure.highlights(text) >= args["count"],
    clashes=frozenset({"json"}),
    least_words=lambda args: 2 * int(args["count"]) + 2,
)

PLACEHOLDERS = Kind(
    name="placeholders",
    args={"count": int},
    phrasings=(
        Phrasing(
            "do", "include at least {count} placeholder{s} in square brackets, such as [name]"
        ),
        Phrasing("do", "use square brackets for at least {count} placeholder{s}, such as [date]"),
        Phrasing(
            "say",
            "I need at least {count} placeholder{s} in square brackets, such as [address]",
        ),
        Phrasing(
            "say",
            "the text needs at least {count} placeholder{s} in square brackets, like [city]",
        ),
        Phrasing(
            "tail", "with at least {count} placeholder{s} in square brackets, such as [place]"
        ),
    ),
    levels=(draws(count=(1, 1)), draws(count=(2, 2)), draws(count=(3, 3)), draws(count=(4, 5))),
    check=lambda text, args: measure.placeholders(text) >= args["count"],
    clashes=frozenset({"json"}),
    least_words=lambda args: 2 * int(args["count"]) + 2,
)

QUOTED = Kind(
    name="quoted",
    args={},
    phrasings=(
        Phrasing("do", "wrap your entire response with double quotation marks"),
        Phrasing("do", "enclose the entire response in double quotation marks"),
        Phrasing("say", "your whole answer should be wrapped in double quotation marks"),
        Phrasing("say", "the reply must begin and end with a double quotation mark"),
        Phrasing("say", "the entire answer should be enclosed in double quotation marks"),
        Phrasing("tail", "with double quotation marks around the entire response"),
    ),
    levels=(nothing,),
    check=_wrapped,
    clashes=frozenset({"json", "postscript", "title"}),
)

POSTSCRIPT = Kind(
    name="postscript",
    args={"words": int},
    phrasings=(
        Phrasing("do", "add a postscript starting with P.S. at the end of your response"),
        Phrasing("do", "finish with a short postscript that starts with P.S."),
        Phrasing(
            "say", "at the end of your answer, there should be a postscript that begins with P.S."
        ),
        Phrasing("say", "your answer must end with a postscript that starts with P.S."),
        Phrasing("tail", "with a postscript starting with P.S. at the end"),
        Phrasing(
            "do", "add a postscript of at least {words} words, starting with P.S., at the end"
        ),
        Phrasing(
            "say", "at the end there should be a P.S. on its own line with at least {words} words"
        ),
        Phrasing("tail", "with a P.S. of at least {words} words at the end"),
    ),
    levels=(nothing, draws(words=(5, 7)), draws(words=(8, 12))),
    check=_postscript,
    clashes=frozenset({"json"}),
    least_words=lambda args: int(args.get("words", 3)) + 6,
)

JSON = Kind(
    name="json",
    args={"keys": list},
    phrasings=(
        Phrasing("do", "give your entire answer in JSON format"),
        Phrasing("do", "format your entire response as a JSON object"),
        Phrasing("say", "the entire output should be wrapped in JSON format"),
        Phrasing("say", "the response must be a valid JSON object and nothing else"),
        Phrasing("tail", "in JSON format"),
        Phrasing("do", "format the whole output as a JSON object with the key{s} {keys}"),
        Phrasing("say", "your entire response must be a JSON object that has the key{s} {keys}"),
        Phrasing("tail", "as a JSON object with the key{s} {keys}"),
    ),
    levels=(
        nothing,
        choices("keys", KEYS, count=1),
        choices("keys", KEYS, count=2),
        choices("keys", KEYS, count=3),
    ),
    check=_is_json,
    least_words=lambda args: 3 * max(1, len(args.get("keys", []))),
    texts=lambda args: tuple(args.get("keys", [])),
)
