"""Figures and measures in words, as `show` and the report say them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from eva.evals.statistics import INSIDE
from eva.types import Check, Json, Prompt
from eva.views.differences import Difference

_MEASURES = {
    "reward": "reward",
    "relevance": "relevance to the question",
    "tokens": "length in tokens",
    "words": "length in words",
    "truncated": "share of answers cut off",
    "repetition": "share of repeated word triples",
    "echo": "share of the question repeated",
    "prompt_strict": "prompts with every instruction followed",
    "instruction_strict": "instructions followed",
    "prompt_loose": "prompts with every instruction followed, loosely read",
    "instruction_loose": "instructions followed, loosely read",
}
_LABELS = {
    "seen": "on kinds trained on",
    "unseen": "on kinds never trained on",
    "mixed": "on kinds of both sorts",
    "open": "without constraints",
}
_EVALUATIONS = {"heldout": "held-out prompts", "ifeval": "IFEval"}


def number(value: float | None, *, signed: bool = False) -> str:
    """Return a number for a table: three decimals, a large one with one, none as a dash.

    >>> number(0.31944), number(46.28125, signed=True), number(-1, signed=True), number(None)
    ('0.319', '+46.3', '−1.000', '–')
    """
    if value is None:
        return "–"
    form = f"{'+' if signed else ''}{'.1f' if abs(value) >= 10 else '.3f'}"
    return format(value, form).replace("-", "\N{MINUS SIGN}")


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

    >>> measure("reward", "unseen_2"), measure("reward_title")
    ('reward with 2 constraints, on kinds never trained on', 'title')
    """
    said = _MEASURES.get(value, value.removeprefix("reward_"))
    return f"{said} {subset(label)}" if label else said


def subset(label: str) -> str:
    """Return a label of held-out prompts in words."""
    familiar, _, count = label.rpartition("_")
    if familiar in _LABELS and count.isdigit():
        return f"with {several(int(count), 'constraint')}, {_LABELS[familiar]}"
    return _LABELS.get(label, f"({label})")


def printable(text: str) -> str:
    """Return text that cannot steer a terminal: control characters but line ends are shown."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text.replace("\t", "    "))


_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


def shortened(text: str, longest: int) -> str:
    """Return text on one line, cut to `longest` characters.

    >>> shortened("Name  a colour.", 10)
    'Name a co…'
    """
    flat = " ".join(text.split())
    return flat if len(flat) <= longest else f"{flat[: longest - 1]}…"


def cut(text: str, longest: int) -> tuple[str, str]:
    """Return text cut to `longest` characters, and a notice of what is left out, if anything.

    >>> cut("Name a colour.", 6)
    ('Name a', 'Cut here: 8 more characters; the run folder has them.')
    """
    left = len(text) - longest
    said = f"Cut here: {left:,} more characters; the run folder has them." if left > 0 else ""
    return text[:longest], said


def evaluation(name: str) -> str:
    """Return the name of an evaluator in words."""
    return _EVALUATIONS.get(name, name)


def change(d: Difference) -> str:
    """Say in figures and words what a difference shows, and whether chance may explain it."""
    if d["difference"] is None:
        return "not measured on both sides"
    moved = f"{number(d['before'])} to {number(d['after'])}"
    if d["low"] is None:
        return f"{moved}, on too few prompts for an interval"
    found = f"{moved}: {number(d['difference'], signed=True)} ({interval(d)})"
    if d["verdict"] != INSIDE:
        return found
    least = d["detectable"] or 0.0
    seen = f"; a change of {number(least)} would mostly show" if least >= 0.001 else ""
    return f"{found}, may be chance{seen}"


def in_short(differences: Iterable[Difference]) -> str:
    """Say in one sentence what some differences show together."""
    said: dict[str, list[str]] = {}
    for d in differences:
        verdict = str(d["verdict"])
        said.setdefault(_SHORT.get(verdict, verdict), []).append(measure(d["value"], d["label"]))
    parts = [f"{verdict} in {' and '.join(names)}" for verdict, names in said.items()]
    return f"In short: {'; '.join(parts)}."


_SHORT: dict[str, str] = {INSIDE: "no clear change", "more": "an increase", "less": "a decrease"}


def interval(d: Difference) -> str:
    """Return the 95 % interval of a difference."""
    if d["low"] is None:
        return "unknown"
    return f"{number(d['low'], signed=True)} to {number(d['high'], signed=True)}"


def alarm(raised: Mapping[str, Json]) -> str:
    """Return a raised alarm in words.

    >>> alarm({"round": 2, "alarm": "length", "says": "x", "stops": False, "rolls_back": [1, 2]})
    'round 2, length: x; the policies of rounds 1 and 2 were taken back'
    """
    done, back = "", [round for round in raised["rolls_back"] if round]
    if len(back) > 1:
        done = f"; the policies of rounds {' and '.join(map(str, back))} were taken back"
    elif back:
        done = f"; the policy of round {back[0]} was taken back"
    elif raised["stops"]:
        done = "; a reason to stop"
    return f"round {raised['round']}, {raised['alarm']}: {raised['says']}{done}"


def servers(records: Sequence[Mapping[str, Json]]) -> str:
    """Return what servers were asked and cost up to the last round; empty where none was asked."""
    asked = next((r["server"] for r in reversed(records) if "server" in r), None)
    if asked is None:
        return ""
    faults = f" ({counts(asked['faults'])})" if asked["faults"] else ""
    paid = f"; cost {number(asked['cost'])}" if asked["cost"] else ""
    possible = asked["possible_cost"]
    maybe = f", and at most {number(possible)} for tries that broke off" if possible else ""
    return (
        f"servers: {count(asked['requests'])} replies in {count(asked['tries'])} tries{faults}, "
        f"{count(asked['prompt_tokens'])} tokens read and {count(asked['completion_tokens'])} "
        f"written{paid}{maybe}"
    )
