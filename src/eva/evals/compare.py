"""Before and after: paired differences of two evaluations, with intervals and verdicts.

Everything is plain data: a report, a command line and a README table render the same dictionary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from eva.errors import DataError
from eva.evals.rows import Row, has_label, label_names, value_names
from eva.evals.statistics import (
    Better,
    detectable_difference,
    mean_interval,
    over_seeds,
    verdict,
)
from eva.types import Floats, Json

Result: TypeAlias = Mapping[str, Json]
"""What `Evaluation.evaluate` returned."""

BETTER: Mapping[str, Better] = {
    "reward": 1,
    "relevance": 1,
    "prompt_strict": 1,
    "prompt_loose": 1,
    "instruction_strict": 1,
    "instruction_loose": 1,
    "truncated": -1,
    "repetition": -1,
    "unscored": -1,
    "unchecked": -1,
}
"""Which way is better; of a value not named here it is only said whether it is more or less."""


def compare(before: Sequence[Result], after: Sequence[Result]) -> dict[str, Json]:
    """Compare evaluations of the same prompts, one result per seed on either side.

    One `before` (the model that all seeds started from) is held against each `after`. Rows are
    paired by prompt id; a prompt counts for a value where both sides have it in every seed, the
    others are counted as `unpaired`.

    Returns a dictionary: `name`; `seeds`; `prompts` (paired, only_before, only_after);
    `differences`, one for every value over all prompts and by label, each with metric, value,
    label, n, unpaired, before, after, difference, error, low, high, verdict, detectable (the
    difference these prompts would show with probability 0.8), by_seed, spread, over_seeds. All but
    the last three are over prompts, for these seeds; over_seeds has low, high and verdict of
    Student's t over seeds, for these prompts, and is None with fewer than two.

    Raises:
        DataError: results of different evaluations, sampling parameters or numbers of seeds.
    """
    _refuse_unlike(before, after)
    tables = [[_by_id(result) for result in side] for side in (before, after)]
    old, new = (set.intersection(*(set(table) for table in side)) for side in tables)
    ids = [i for i in tables[0][0] if i in old and i in new]
    rows = [tables[0][0][i] for i in ids]
    found = (
        _difference(name, label, rows=[r for r in rows if has_label(r, label)], sides=tables)
        for label in label_names(rows)
        for name in value_names([r for r in rows if has_label(r, label)])
    )
    prefix = str(before[0]["name"])
    return {
        "name": prefix,
        "seeds": len(after),
        "prompts": {
            "paired": len(ids),
            "only_before": len(old - new),
            "only_after": len(new - old),
        },
        "differences": [{"metric": _metric(prefix, d), **d} for d in found],
    }


def _metric(prefix: str, difference: Mapping[str, Json]) -> str:
    """Return the name under which the value is logged."""
    return "/".join(filter(None, (prefix, difference["value"], difference["label"])))


def _by_id(result: Result) -> dict[str, Row]:
    """Index the rows of one result by prompt id."""
    return {row["id"]: row for row in result["rows"]}


def _refuse_unlike(before: Sequence[Result], after: Sequence[Result]) -> None:
    """Raise where the results cannot be held against each other."""
    if not before or not after or len(before) not in (1, len(after)):
        raise DataError(
            f"compare: got {len(before)} results before and {len(after)} after; expected one"
            " before, or as many as after (one per seed)"
        )
    first = before[0]
    for result in (*before, *after):
        for key in ("name", "params"):
            if result[key] != first[key]:
                raise DataError(
                    f"compare: {key} is {first[key]!r} in one result and {result[key]!r} in"
                    " another; evaluate both sides in the same way"
                )


def _difference(
    name: str, label: str, *, rows: Sequence[Row], sides: Sequence[Sequence[Mapping[str, Row]]]
) -> dict[str, Json]:
    """Return the difference of one value over the given prompts."""
    old, new = (_matrix(name, rows, tables) for tables in sides)
    paired = ~(np.isnan(old).any(axis=0) | np.isnan(new).any(axis=0))
    weights = np.array([row["weights"].get(name, 1.0) for row in rows])[paired]
    old, new = old[:, paired], new[:, paired]
    seeds = over_seeds(new - old, weights)
    interval = seeds.interval
    known = math.isfinite(interval.error)
    return {
        "value": name,
        "label": label,
        "unpaired": int((~paired).sum()),
        "before": _finite(over_seeds(old, weights).interval.estimate),
        "after": _finite(over_seeds(new, weights).interval.estimate),
        "difference": _finite(interval.estimate),
        **{k: v for k, v in interval.json().items() if k != "estimate"},
        "verdict": verdict(interval, better=BETTER.get(name, 0)),
        "detectable": (
            detectable_difference(interval.error * math.sqrt(interval.n), interval.n)
            if known
            else None
        ),
        "by_seed": [_finite(estimate) for estimate in seeds.estimates],
        "spread": _finite(seeds.spread),
        "over_seeds": _over_seeds(seeds.estimates, better=BETTER.get(name, 0)),
    }


def _over_seeds(estimates: Sequence[float], *, better: Better) -> dict[str, Json] | None:
    interval = mean_interval(estimates)
    if not math.isfinite(interval.error):
        return None
    return {"low": interval.low, "high": interval.high, "verdict": verdict(interval, better=better)}


def _matrix(name: str, rows: Sequence[Row], tables: Sequence[Mapping[str, Row]]) -> Floats:
    """Return one value of the given prompts in every seed, (S, P); NaN where there is none."""
    found = [[table[row["id"]]["values"].get(name) for row in rows] for table in tables]
    return np.array(found, dtype=np.float64)


def _finite(number: float) -> float | None:
    """Return the number, None where it is not finite."""
    return number if math.isfinite(number) else None


HEADER = ("metric", "prompts", "before", "after", "difference", "95 % interval", "verdict")


def table(
    comparison: Mapping[str, Json], values: Sequence[str] | None = None
) -> list[tuple[str, ...]]:
    """Return a comparison as rows of text under `HEADER`, for any renderer.

    `values` chooses and orders what is shown (`reward`, `tokens`, ...); default: all.
    """
    found = comparison["differences"]
    if values is not None:
        found = [d for value in values for d in found if d["value"] == value]
    return [HEADER, *(_cells(d) for d in found)]


def _cells(d: Mapping[str, Json]) -> tuple[str, ...]:
    """Return one difference as text."""
    interval = (
        "unknown" if d["low"] is None else f"{_text(d['low'], '+')} to {_text(d['high'], '+')}"
    )
    return (
        d["metric"],
        str(d["n"]),
        _text(d["before"]),
        _text(d["after"]),
        _text(d["difference"], "+"),
        interval,
        d["verdict"],
    )


def _text(number: float | None, sign: str = "") -> str:
    """Write a number with three decimals, a large one with one."""
    if number is None:
        return "none"
    return format(number, f"{sign}.1f" if abs(number) >= 10 else f"{sign}.3f")
