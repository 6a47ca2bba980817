"""Figures and measures in words, as `show` and the report say them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from eva.evals.statistics import INSIDE
from eva.types import Check, Json, Prompt

Difference: TypeAlias = Mapping[str, Json]
"""One of the `differences` of `eva.evals.compare.compare`."""

_MEASURES = {
    "reward": "reward",
    "relevance": "relevance of the answer to the question",
    "tokens": "length, tokens",
    "words": "length, words",
    "truncated": "share of answers cut off",
    "repetition": "share of repeated word triples",
    "echo": "share of the question repeated",
    "prompt_strict": "prompts with every instruction followed",
    "instruction_strict": "instructions followed",
    "prompt_loose": "prompts with every instruction followed, loosely read",
    "instruction_loose": "instructions followed, loosely read",
}
_LABELS = {
    "seen": "kinds trained on",
    "unseen": "kinds never trained on",
    "mixed": "kinds of both sorts",
    "open": "without constraints",
}
_EVALUATIONS = {"heldout": "held-out prompts", "ifeval": "IFEval"}


def number(value: float | None, *, signed: bool = False) -> str:
    """Return a number for a table: three decimals, a large one with one, none as a dash.

    >>> number(0.31944), number(46.28125, signed=True), number(None)
    ('0.319', '+46.3', '–')
    """
    if value is None:
        return "–"
    return format(value, f"{'+' if signed else ''}{'.1f' if abs(value) >= 10 else '.3f'}")


def count(value: float) -> str:
    """Return a whole number with its thousands apart."""
    return f"{value:,.0f}"


def several(n: int, noun: str) -> str:
    """Return a number with its noun.

    >>> several(1, "prompt"), several(1200, "prompt")
    ('1 prompt', '1,200 prompts')
    """
    return f"{count(n)} {noun}{'' if n == 1 else 's'}"


def share(value: float | None) -> str:
    """Return a share as a percentage."""
    return "–" if value is None else f"{100 * value:.0f} %"


def span(seconds: float) -> str:
    """Return a time in the unit that fits it.

    >>> span(42), span(840), span(9000)
    ('42 s', '14 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def name_of(source: str) -> str:
    """Return the name of a model or data set: the last part of an id, path or `packaged:` name.

    >>> name_of("packaged:alpaca"), name_of("/models/gemma-2/"), name_of("org/model+40")
    ('alpaca', 'gemma-2', 'model+40')
    """
    return re.split(r"[/:\\]", source.rstrip("/\\"))[-1] or source


def counts(tally: Mapping[str, int]) -> str:
    """Return a tally, the most frequent first.

    >>> counts({"timeout": 1, "nan": 3})
    '3 nan, 1 timeout'
    """
    ordered = sorted(tally.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count(n)} {name}" for name, n in ordered) or "none"


def checks(found: Iterable[Check]) -> list[str]:
    """Return checks as people read them: `min_words (level 2, words 40)`."""
    return [
        f"{check.kind} ({', '.join(f'{k} {_plain(v)}' for k, v in sorted(check.args.items()))})"
        if check.args
        else check.kind
        for check in found
    ]


def _plain(value: Json) -> str:
    return " / ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def dialogue(prompt: Prompt) -> str:
    """Return a prompt's last turn, after its earlier ones where there are any."""
    if len(prompt.messages) == 1:
        return prompt.text
    return "\n\n".join(f"[{message.role}] {message.content}" for message in prompt.messages)


def measure(value: str, label: str = "") -> str:
    """Return a measure in words.

    >>> measure("reward", "constraints_2"), measure("reward_title")
    ('reward, 2 constraints', 'title')
    """
    said = _MEASURES.get(value, value.removeprefix("reward_"))
    if not label:
        return said
    if label.startswith("constraints_"):
        return f"{said}, {several(int(label.removeprefix('constraints_')), 'constraint')}"
    return f"{said}, {_LABELS.get(label, label)}"


def evaluation(name: str) -> str:
    """Return the name of an evaluator in words."""
    return _EVALUATIONS.get(name, name)


def change(name: str, d: Difference) -> str:
    """Say in a sentence what a difference shows: what changed, or that chance may explain it."""
    what = f"{measure(d['value'], d['label'])} on {evaluation(name)}"
    what = what[0].upper() + what[1:]
    if d["difference"] is None:
        return f"{what}: not measured on both sides."
    moved = f"from {number(d['before'])} to {number(d['after'])}"
    if d["low"] is None:
        return f"{what} went {moved}, on too few prompts for an interval."
    if d["verdict"] == INSIDE:
        seen = d["detectable"]
        further = f"; {number(seen)} would mostly have been seen" if seen else ""
        return f"{what} went {moved}, which may be chance{further}."
    verb = "rose" if d["difference"] > 0 else "fell"
    return f"{what} {verb} {moved}, more than chance explains."


def interval(d: Difference) -> str:
    """Return the 95 % interval of a difference."""
    if d["low"] is None:
        return "unknown"
    return f"{number(d['low'], signed=True)} to {number(d['high'], signed=True)}"
