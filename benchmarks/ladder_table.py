"""The ladder's tables: from rows of runs to means over seeds and differences to eva, in Markdown.

Arms generate unequal numbers of tokens in equally many steps, as harder prompts have longer
answers. So success is compared where the run of a seed that generated fewest ends: the others are
read there, by interpolation between evaluations.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from eva.evals.statistics import mean_interval

Row: TypeAlias = dict[str, Any]
Run: TypeAlias = list[Row]
"""The rows of one run, in order of steps."""


def runs(rows: Iterable[Row]) -> dict[tuple[str, int], Run]:
    """Return the runs by arm and seed."""
    found: dict[tuple[str, int], Run] = {}
    for row in rows:
        found.setdefault((row["arm"], row["seed"]), []).append(row)
    return {key: sorted(run, key=lambda row: row["step"]) for key, run in found.items()}


def success_at(run: Run, tokens: float, *, way: str = "success") -> np.ndarray:
    """Return success by level, (L,), where the run had generated so many tokens.

    `way` is `success`, of answers sampled as in training, or `greedy`.
    """
    xs = [row["tokens"] for row in run]
    levels = np.array([row[way] for row in run], dtype=np.float64)
    return np.array([np.interp(tokens, xs, values) for values in levels.T])


def budget(found: Mapping[tuple[str, int], Run], arms: Sequence[str]) -> int:
    """Return the tokens that every run of these arms has generated."""
    return min(run[-1]["tokens"] for (arm, _), run in found.items() if arm in arms)


def seeds_of(found: Mapping[tuple[str, int], Run], arm: str) -> list[int]:
    """Return the seeds of an arm, in order."""
    return sorted(seed for name, seed in found if name == arm)


def shared(found: Mapping[tuple[str, int], Run], arms: Sequence[str]) -> dict[tuple[str, int], Run]:
    """Return the runs of these arms with seeds that every one of them has."""
    common = set.intersection(*({*seeds_of(found, arm)} for arm in arms))
    return {key: run for key, run in found.items() if key[0] in arms and key[1] in common}


def finals(
    found: Mapping[tuple[str, int], Run], arm: str, *, tokens: int, way: str = "success"
) -> np.ndarray:
    """Return success at so many tokens by seed and level, (S, L)."""
    seeds = seeds_of(found, arm)
    return np.array([success_at(found[arm, seed], tokens, way=way) for seed in seeds])


def differences(
    found: Mapping[tuple[str, int], Run], arm: str, *, to: str, tokens: int
) -> np.ndarray:
    """Return the difference in success over all levels by seed, (S,); seeds are those of both."""
    both = shared(found, [arm, to])
    ours, theirs = (finals(both, name, tokens=tokens).mean(axis=1) for name in (arm, to))
    return ours - theirs


def totals(run: Run) -> dict[str, float]:
    """Return what a run's training was made of."""
    rows = run[1:]
    trained, contrast, children = (
        np.array([row[name] for row in rows]).sum(axis=0)
        for name in ("trained", "contrast", "children")
    )
    late = np.array([row["trained"] for row in rows[-max(1, len(rows) // 4) :]]).sum(axis=0)
    levels = np.arange(1, len(trained) + 1)
    evolved = sum(row["evolved"] for row in rows)
    refused = sum(sum(row["refused"].values()) for row in rows)
    repeated = sum(row["refused"].get("duplicate", 0) for row in rows)
    return {
        "contrast": contrast.sum() / max(1, trained.sum()),
        "evolved": evolved / max(1, trained.sum()),
        "evolved_contrast": _share(sum(row["evolved_contrast"] for row in rows), evolved),
        "level": float(late @ levels) / max(1, late.sum()),
        "highest": float(levels[trained > 0].max(initial=0)),
        "duplicates": _share(repeated, children.sum() + refused),
        "length": float(np.mean([row["length_mean"] for row in rows])),
        "tokens": run[-1]["tokens"] / 1000,
        "cpu": run[-1]["cpu"],
    }


def success_table(
    found: Mapping[tuple[str, int], Run], arms: Sequence[str], *, tokens: int, to: str
) -> str:
    """Return success by arm and level, and each arm's difference to one of them."""
    count = len(next(iter(found.values()))[0]["success"])
    names = [f"level {i + 1}" for i in range(count)]
    head = ["arm", "all levels", *names, "greedy", f"less {to}", "95 % interval", "by seed"]
    first = [run[0] for run in found.values()]
    rows = [
        head,
        [
            "before",
            *_means([row["success"] for row in first], greedy=[row["greedy"] for row in first]),
            "",
            "",
            "",
        ],
    ]
    for arm in arms:
        values, greedy = (finals(found, arm, tokens=tokens, way=w) for w in ("success", "greedy"))
        apart = ["", "", ""]
        if arm != to:
            apart = _apart(differences(found, arm, to=to, tokens=tokens))
        rows.append([arm, *_means(values, greedy=greedy), *apart])
    return markdown(rows)


def luck_table(found: Mapping[tuple[str, int], Run], arms: Sequence[str], *, first: int) -> str:
    """Return mean success of the first so many seeds, and of seeds that were played after them."""
    tokens = budget(found, arms)
    rows = [["arm", "seeds", f"success after {tokens:,} tokens"]]
    for arm in arms:
        seeds = seeds_of(found, arm)
        for some in (seeds[:first], seeds[first:]):
            mean = np.mean([success_at(found[arm, seed], tokens).mean() for seed in some])
            rows.append([arm, ", ".join(map(str, some)), f"{mean:.3f}"])
    return markdown(rows)


def training_table(found: Mapping[tuple[str, int], Run], arms: Sequence[str]) -> str:
    """Return what the arms trained on: means over seeds."""
    shown = {
        "contrast": ("prompts with contrast", "{:.0%}"),
        "evolved": ("evolved", "{:.0%}"),
        "evolved_contrast": ("evolved with contrast", "{:.0%}"),
        "level": ("mean level, last quarter", "{:.2f}"),
        "highest": ("highest level", "{:.1f}"),
        "duplicates": ("refused as duplicates", "{:.0%}"),
        "length": ("answer length", "{:.1f}"),
        "tokens": ("generated tokens, thousands", "{:.0f}"),
        "cpu": ("seconds of CPU", "{:.0f}"),
    }
    rows = [["arm", *(words for words, _ in shown.values())]]
    for arm in arms:
        each = [totals(found[arm, seed]) for seed in seeds_of(found, arm)]
        means = {name: float(np.mean([one[name] for one in each])) for name in shown}
        cells = [
            "–" if math.isnan(means[name]) else form.format(means[name])
            for name, (_, form) in shown.items()
        ]
        rows.append([arm, *cells])
    return markdown(rows)


def models_table(models: Mapping[str, Mapping[tuple[str, int], Run]], *, to: str) -> str:
    """Return the differences of an arm to the others by model, means over seeds, and over models.

    Each model's arms are compared at the tokens that all its runs have generated; the interval is
    Student's t over models.
    """
    arms = [arm for arm in _common(models.values()) if arm != to]
    found = {
        name: {
            arm: -differences(runs, arm, to=to, tokens=budget(runs, [to, *arms])).mean()
            for arm in arms
        }
        for name, runs in models.items()
    }
    head = ["model", *(f"{to} less {arm}" for arm in arms)]
    rows = [[name, *(f"{values[arm]:+.3f}" for arm in arms)] for name, values in found.items()]
    over = [mean_interval(np.array([values[arm] for values in found.values()])) for arm in arms]
    rows.append(["mean", *(f"{one.estimate:+.3f}" for one in over)])
    rows.append(["95 % interval", *(f"{one.low:+.3f} to {one.high:+.3f}" for one in over)])
    return markdown([head, *rows])


def _common(models: Iterable[Mapping[tuple[str, int], Run]]) -> list[str]:
    """Return the arms that all models have, in the order of the first one's rows."""
    played = [dict.fromkeys(arm for arm, _ in runs) for runs in models]
    return [arm for arm in played[0] if all(arm in others for others in played)]


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return a table, its first row the head."""
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _means(values_SL: Sequence[Any], *, greedy: Sequence[Any]) -> list[str]:
    """Return means over seeds: of all levels, with the standard deviation, by level, greedy."""
    overall = np.mean(values_SL, axis=1)
    spread = f" ± {overall.std(ddof=1):.3f}" if len(set(overall)) > 1 else ""
    by_level = [f"{value:.2f}" for value in np.mean(values_SL, axis=0)]
    return [f"{overall.mean():.3f}{spread}", *by_level, f"{np.mean(greedy):.3f}"]


def _apart(values_S: np.ndarray) -> list[str]:
    one = mean_interval(values_S)
    known = math.isfinite(one.low)
    interval = f"{one.low:+.3f} to {one.high:+.3f}" if known else "–"
    return [f"{one.estimate:+.3f}", interval, ", ".join(f"{value:+.3f}" for value in values_S)]
