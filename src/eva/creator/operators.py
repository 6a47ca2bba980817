"""Operators of a rewriting model, as data: `operators.toml`, and whatever a config adds to it.

Departures from the paper
- The templates are our own words for the operators that it names; it prints others.
- Its ten online operators share four with EvolInstruct. Its `mix` leaves the second domain to the
  model; here another prompt of the same call brings it, and is recorded as a second parent.
- SelfInstruct is one-shot there; here the model sees up to three further prompts of the call.
- EvolQuality's operators are made for answers (arXiv:2312.15685); here they improve the prompt.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal, TypeAlias, get_args

from eva.errors import ConfigError, unknown_name

Family: TypeAlias = Literal["depth", "breadth"]

EXAMPLES = 3
"""Most other prompts that stand in the place of `{examples}`."""

_PLACE = re.compile(r"\{(prompt|other|examples)\}")


@dataclass(frozen=True, slots=True)
class Operator:
    """One way in which a language model rewrites a prompt."""

    name: str
    """Recorded in the lineage of every child."""
    family: Family
    """`depth`: the same request made harder or better; `breadth`: another request."""
    template: str
    """What the rewriter is told, with `{prompt}` where the prompt goes.

    `{other}` is the place of a second parent, `{examples}` that of prompts to look at.
    """
    keeps_topic: bool = True
    """Whether a child is still about what its parent was about."""

    @property
    def mixes(self) -> bool:
        """Whether it makes one prompt of two."""
        return "{other}" in self.template

    @property
    def others(self) -> int:
        """How many prompts beside the parent it takes at most."""
        return self.mixes or EXAMPLES * ("{examples}" in self.template)

    def request(self, prompt: str, others: Sequence[str] = ()) -> str:
        """Return the template filled in; braces in the prompts stay as they are.

        Args:
            prompt: the parent's text.
            others: texts of further prompts: exactly one for `{other}`, any number for
                `{examples}`.
        """
        examples = "\n\n".join(f"Prompt:\n{other}" for other in others)
        filled = {"prompt": prompt, "other": "".join(others[:1]), "examples": examples}
        template = self.template.strip()
        if not others:
            template = template.replace("{examples}\n\n", "")
        return _PLACE.sub(lambda place: filled[place[1]], template)


def operator_set(
    chosen: str | Sequence[str],
    *,
    operators: Iterable[Mapping[str, Any]] = (),
    sets: Mapping[str, Sequence[str]] | None = None,
) -> tuple[Operator, ...]:
    """Return the operators of a set by its name, or those of a list of names.

    Args:
        chosen: the name of a set, or names of operators.
        operators: further operators, each with name, family and template.
        sets: further sets, names of operators by name of set.

    Raises:
        ConfigError: an operator is malformed or defined twice, or a name is unknown; it lists
            every fault.
    """
    own, faults = _parsed(operators)
    builtin, builtin_sets = _builtin()
    times = Counter(operator.name for operator in (*builtin, *own))
    faults += [f"operator {name!r} is defined {n} times" for name, n in times.items() if n > 1]
    by_name = {operator.name: operator for operator in (*builtin, *own)}
    named = {**builtin_sets, **(sets or {})}
    if isinstance(chosen, str) and chosen not in named:
        faults.append(unknown_name("set of operators", chosen, named))
    names = list(named.get(chosen, ())) if isinstance(chosen, str) else list(chosen)
    faults += [unknown_name("operator", name, by_name) for name in names if name not in by_name]
    if not names and not faults:
        faults.append(f"no operators in {chosen!r}: expected at least one name")
    if faults:
        raise ConfigError("; ".join(faults))
    return tuple(by_name[name] for name in names)


def _parsed(items: Iterable[Mapping[str, Any]]) -> tuple[list[Operator], list[str]]:
    operators, faults = [], []
    for i, item in enumerate(items):
        found = _faults(item)
        faults += [f"operators[{i}] ({item.get('name', 'unnamed')}): {fault}" for fault in found]
        if not found:
            operators.append(Operator(**item))
    return operators, faults


def _faults(item: Mapping[str, Any]) -> list[str]:
    fields = ("name", "family", "template")
    known = (*fields, "keeps_topic")
    faults = [unknown_name("field", key, known) for key in item if key not in known]
    faults += [
        f"{key} is {item.get(key)!r}, expected a text"
        for key in fields
        if not isinstance(item.get(key), str) or not item[key].strip()
    ]
    if faults:
        return faults
    if item["family"] not in get_args(Family):
        faults.append(unknown_name("family", item["family"], get_args(Family)))
    if not isinstance(item.get("keeps_topic", True), bool):
        faults.append(f"keeps_topic is {item['keeps_topic']!r}, expected true or false")
    places = Counter(re.findall(r"\{\w*\}", item["template"]))
    if places not in _PLACES:
        got = ", ".join(places.elements()) or "none"
        faults.append(
            f"the template's placeholders are {got}; expected {{prompt}}, once, "
            "and at most one of {other} and {examples} beside it"
        )
    return faults


_PLACES = tuple(
    dict.fromkeys(("{prompt}", *beside), 1) for beside in ((), ("{other}",), ("{examples}",))
)


def builtin_operators() -> tuple[Operator, ...]:
    """Return every operator of `operators.toml`, in order."""
    return _builtin()[0]


@cache
def _builtin() -> tuple[tuple[Operator, ...], dict[str, list[str]]]:
    data = tomllib.loads(files("eva.creator").joinpath("operators.toml").read_text("utf-8"))
    operators, faults = _parsed(data["operators"])
    if faults:
        raise ConfigError(f"operators.toml: {'; '.join(faults)}")
    return tuple(operators), data["sets"]
