"""Rows: what was measured of each held-out prompt, and what the rows add up to.

Rows of every evaluator have one form:

    {"id": ..., "prompt": ..., "labels": ["unseen"], "texts": ["..."],
     "values": {"reward": 0.5}, "weights": {}, "notes": {}}

`values` are per prompt (means over its answers), None where there is none; `weights`, default 1,
say how much a prompt counts in the mean. It is plain data, ready for JSON and for `compare`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from eva.evals.statistics import Interval, mean_interval, wilson_interval
from eva.types import Group, Json

Row: TypeAlias = dict[str, Any]
"""One prompt's answers and values, as above."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one measure says of one prompt's answers."""

    values: Mapping[str, float | None]
    """Means over the answers; None where nothing could be measured."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """How much the prompt counts in the mean of a value, where that is not 1."""
    notes: Mapping[str, Json] = field(default_factory=dict)
    """What a reader should know: causes of missing values, results per instruction."""


Measure: TypeAlias = Callable[[Sequence[Group]], Sequence[Measured]]
"""Measures groups: one result per group, in order."""


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of what is known, None where nothing is.

    >>> mean([1.0, None, 0.0])
    0.5
    """
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def make_row(group: Group, labels: Sequence[str], parts: Sequence[Measured]) -> Row:
    """Join what the measures say of one prompt."""
    row: Row = {
        "id": group.prompt.id,
        "prompt": group.prompt.text,
        "labels": list(labels),
        "texts": [response.text for response in group.responses],
        "values": {},
        "weights": {},
        "notes": {},
    }
    for part in parts:
        row["values"] |= part.values
        row["weights"] |= part.weights
        row["notes"] |= part.notes
    return row


def value_names(rows: Sequence[Row]) -> list[str]:
    """Return the names of all values of the rows, in order of first appearance."""
    return list(dict.fromkeys(name for row in rows for name in row["values"]))


def label_names(rows: Sequence[Row]) -> list[str]:
    """Return all labels of the rows, sorted, after the empty one, which stands for all rows."""
    return ["", *sorted({label for row in rows for label in row["labels"]})]


def has_label(row: Row, label: str) -> bool:
    """Say whether a row belongs to a label; every row belongs to the empty one."""
    return not label or label in row["labels"]


def summarise(rows: Sequence[Row]) -> dict[str, Interval]:
    """Return the mean of every value over all rows (`value`) and by label (`value/label`).

    Rows without the value are left out. A value that is 0 or 1 for every prompt, unweighted, is a
    proportion and has Wilson's interval; any other has Student's t over prompts.
    """
    summary = {}
    for label in label_names(rows):
        chosen = [row for row in rows if has_label(row, label)]
        for name in value_names(chosen):
            key = f"{name}/{label}" if label else name
            summary[key] = _interval(name, chosen)
    return summary


def _interval(name: str, rows: Sequence[Row]) -> Interval:
    """Return the mean of one value with the interval that fits it."""
    known = [row for row in rows if row["values"].get(name) is not None]
    values = [float(row["values"][name]) for row in known]
    weights = [float(row["weights"].get(name, 1.0)) for row in known]
    if set(values) <= {0.0, 1.0} and set(weights) <= {1.0}:
        return wilson_interval(sum(values), len(values))
    return mean_interval(values, weights)
