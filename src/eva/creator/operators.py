"""Operators of a rewriting model, as data: `operators.toml`, and whatever a config adds to it.

Departures from the paper
- The templates are our own words for the operators that it names; it prints others.
- EvolQuality and SelfInstruct, which it compares, are not among them.
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


@dataclass(frozen=True, slots=True)
class Operator:
    """One way in which a language model rewrites a prompt."""

    name: str
    """Recorded in the lineage of every child."""
    family: Family
    """`depth`: the same request made harder; `breadth`: another one of the same field."""
    template: str
    """What the rewriter is told, with `{prompt}` where the prompt goes."""

    def request(self, prompt: str) -> str:
        """Return the template with the prompt filled in; braces in the prompt stay as they are."""
        return self.template.strip().replace("{prompt}", prompt)


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
    faults = [unknown_name("field", key, fields) for key in item if key not in fields]
    faults += [
        f"{key} is {item.get(key)!r}, expected a text"
        for key in fields
        if not isinstance(item.get(key), str) or not item[key].strip()
    ]
    if faults:
        return faults
    if item["family"] not in get_args(Family):
        faults.append(unknown_name("family", item["family"], get_args(Family)))
    places = Counter(re.findall(r"\{\w*\}", item["template"]))
    if places != {"{prompt}": 1}:
        got = ", ".join(places.elements()) or "none"
        faults.append(f"the template's placeholders are {got}; expected {{prompt}}, once")
    return faults


@cache
def _builtin() -> tuple[tuple[Operator, ...], dict[str, list[str]]]:
    data = tomllib.loads(files("eva.creator").joinpath("operators.toml").read_text("utf-8"))
    operators, faults = _parsed(data["operators"])
    if faults:
        raise ConfigError(f"operators.toml: {'; '.join(faults)}")
    return tuple(operators), data["sets"]
