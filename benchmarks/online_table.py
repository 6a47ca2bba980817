"""What the runs of `online_evidence.py` come to: arms at equal tokens, differences, causes.

Seeds are the unit. Intervals over held-out prompts alone tell what these very runs would score on
other prompts; they are far narrower than what another seed changes, and made a gain of two seeds
that the next ones took back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from panels import svg

from eva.evals.compare import BETTER
from eva.evals.statistics import mean_interval, prompts_needed, verdict

Curves: TypeAlias = Sequence[Mapping[str, Any]]
"""Rows of `curves.jsonl`: what each run measured after each round."""
Measures: TypeAlias = Mapping[str, Mapping[str, Mapping[int, float]]]
"""A value by metric, arm and seed."""

SHOWN = {
    "heldout/reward/seen_1": "one constraint",
    "heldout/reward/seen_2": "two constraints",
    "heldout/reward/seen_3": "three constraints",
    "heldout/reward/unseen": "kinds never trained on",
    "heldout/relevance": "relevance",
    "heldout/tokens": "answer tokens",
    "ifeval/prompt_strict": "IFEval prompts, strict",
}
PLOTTED = list(SHOWN)[:4]
CAUSES = {
    "trained/constraints": "constraints of a prompt",
    "trained/evolved": "share of evolved prompts",
    "trained/words": "words of a prompt",
    "trained/contrast": "share of prompts whose answers differ in constraints met",
    "training_reward": "reward",
    "trained/carried": "rank correlation of informativeness when kept and when drawn",
    "refused/duplicate": "rewrites refused as duplicates, of a round",
}
DIFFERENCE = 0.03
"""The difference for which the table says how many seeds would show it."""


def at_equal_tokens(curves: Curves) -> dict[str, Any]:
    """Return every measure by arm and seed, at the most tokens that all runs have reached."""
    runs = _by_run(curves)
    tokens = min(rows[-1]["tokens"] for rows in runs.values())
    found: dict[str, dict[str, dict[int, float]]] = {}
    for (arm, seed), rows in runs.items():
        for metric in SHOWN:
            if metric in rows[0]:
                values = [row[metric] for row in rows]
                here = float(np.interp(tokens, [row["tokens"] for row in rows], values))
                found.setdefault(metric, {}).setdefault(arm, {})[seed] = here
    before = {metric: next(iter(runs.values()))[0][metric] for metric in found}
    return {"tokens": tokens, "before": before, "measures": found}


def differences(measures: Measures) -> dict[str, Any]:
    """Return eva less every other arm, paired by seed, by arm and metric."""
    found: dict[str, dict[str, Any]] = {}
    for metric, by_arm in measures.items():
        eva = by_arm.get("eva", {})
        for arm, other in by_arm.items():
            seeds = sorted(eva.keys() & other.keys())
            if arm == "eva" or not seeds:
                continue
            by_seed = [eva[seed] - other[seed] for seed in seeds]
            interval = mean_interval(by_seed)
            spread = float(np.std(by_seed, ddof=1)) if len(seeds) > 1 else None
            found.setdefault(arm, {})[metric] = {
                **interval.json(),
                "by_seed": dict(zip(seeds, by_seed, strict=True)),
                "verdict": verdict(interval, better=BETTER.get(_value(metric), 0)),
                "seeds_needed": spread and prompts_needed(spread, DIFFERENCE),
            }
    return found


def causes(curves: Curves) -> dict[str, dict[str, float]]:
    """Return what each arm trained on: means over the rounds and seeds for which it is known."""
    found: dict[str, dict[str, float]] = {}
    for arm in dict.fromkeys(row["arm"] for row in curves):
        rows = [row for row in curves if row["arm"] == arm and row["round"]]
        for name in CAUSES:
            known = [row[name] for row in rows if row.get(name) is not None]
            if known:
                found.setdefault(name, {})[arm] = float(np.mean(known))
    return found


def results(curves: Curves) -> dict[str, Any]:
    """Return all of it as plain data."""
    equal = at_equal_tokens(curves)
    found = differences(equal["measures"])
    return {"at_equal_tokens": equal, "differences": found, "causes": causes(curves)}


def markdown(results: Mapping[str, Any]) -> str:
    """Return the tables: all arms at equal tokens, eva's differences, and what was trained on."""
    equal = results["at_equal_tokens"]
    arms = list(dict.fromkeys(arm for row in equal["measures"].values() for arm in row))
    lines = [
        f"At {equal['tokens']:,} generated tokens, mean over seeds (each seed):",
        "",
        *_head("measure", "before", *arms),
    ]
    for metric, by_arm in equal["measures"].items():
        cells = [_seeds(by_arm[arm]) if arm in by_arm else "" for arm in arms]
        lines.append(_row(SHOWN[metric], f"{equal['before'][metric]:.3f}", *cells))
    asked = f"seeds to see {DIFFERENCE:g}"
    lines += ["", *_head("eva minus", "measure", "seeds", "difference", "95 %, seeds", "", asked)]
    for arm, by_metric in results["differences"].items():
        for metric, d in by_metric.items():
            many = "" if metric == "heldout/tokens" else d["seeds_needed"] or ""
            estimate = f"{d['estimate']:+.3f}"
            lines.append(_row(arm, SHOWN[metric], d["n"], estimate, _range(d), d["verdict"], many))
    lines += ["", "What was trained on, mean over rounds and seeds:", "", *_head("", *arms)]
    for name, by_arm in results["causes"].items():
        cells = [f"{by_arm[arm]:.2f}" if arm in by_arm else "" for arm in arms]
        lines.append(_row(CAUSES[name], *cells))
    return "\n".join([*lines, ""])


def plot(curves: Curves) -> str:
    """Return the measures against generated tokens as SVG: mean and spread over seeds."""
    runs, equal = _by_run(curves), at_equal_tokens(curves)["tokens"]
    arms = list(dict.fromkeys(arm for arm, _ in runs))
    panels: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    measured = [metric for metric in PLOTTED if all(metric in row for row in curves)]
    for metric in measured:
        for arm in arms:
            some = [rows for (name, _), rows in runs.items() if name == arm]
            xs = np.linspace(0, min(rows[-1]["tokens"] for rows in some), 25)
            tokens = [[row["tokens"] for row in rows] for rows in some]
            values = [[row[metric] for row in rows] for rows in some]
            drawn = np.array([np.interp(xs, t, v) for t, v in zip(tokens, values, strict=True)])
            panels.setdefault(f"held-out reward, {SHOWN[metric]}", {})[arm] = (xs, drawn)
    return svg(panels, mark=equal)


def _by_run(curves: Curves) -> dict[tuple[str, int], Curves]:
    runs = dict.fromkeys((row["arm"], row["seed"]) for row in curves)
    return {run: [row for row in curves if (row["arm"], row["seed"]) == run] for run in runs}


def _value(metric: str) -> str:
    return metric.split("/")[1]


def _seeds(by_seed: Mapping[int, float]) -> str:
    each = ", ".join(f"{by_seed[seed]:.2f}" for seed in sorted(by_seed))
    return f"{np.mean(list(by_seed.values())):.3f} ({each})"


def _range(d: Mapping[str, Any]) -> str:
    return "unknown" if d["low"] is None else f"{d['low']:+.3f} to {d['high']:+.3f}"


def _head(*cells: str) -> list[str]:
    return [_row(*cells), "|---" * len(cells) + "|"]


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"
