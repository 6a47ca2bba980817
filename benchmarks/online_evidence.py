"""Does online eva help a real model? Its arms at equal steps, measured against tokens generated.

    python benchmarks/online_evidence.py --out runs/online-evidence --seeds 1 2 3

plays `configs/online.toml` once per arm and seed, measures every round on the same held-out prompts
(by number of constraints, and kinds never trained on) and on IFEval, and writes `results.json`,
`curves.jsonl` and `table.md`. Hours on a CPU. It goes on where it was when called again, in the
middle of a run, too; `--minutes 140` stops it in time.

Arms differ in where prompts come from, and in nothing else: the same model, human prompts, answers
per step, updates and draws. They generate nearly, not exactly, equal tokens, since answers differ
in length; so they are compared at the largest number of tokens that every arm has reached, between
two rounds by a straight line.

    eva         seeds by informativeness, evolved, drawn from the buffer in proportion to it
    uniform     evolved, too, but seeds and draws are blind
    no_evolve   the seeds themselves come back
    static      human prompts alone, over and over
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eva.app.results import evaluations
from eva.evals.compare import compare
from eva.runs.folder import RunFolder, versions

CONFIG = Path(__file__).parents[1] / "configs" / "online.toml"
ARMS: Mapping[str, tuple[str, ...]] = {
    "eva": (),
    "uniform": ("creator.informativeness=uniform", "online.draw=uniform"),
    "no_evolve": ("creator.evolver={name='none'}",),
    "static": ("creator.name=static",),
}
"""What an arm sets in the config."""

SHOWN = {
    "heldout/reward/seen_1": "one constraint",
    "heldout/reward/seen_2": "two constraints",
    "heldout/reward/seen_3": "three constraints",
    "heldout/reward/unseen": "kinds never trained on",
    "heldout/relevance": "relevance",
    "heldout/tokens": "answer tokens",
    "ifeval/prompt_strict": "IFEval prompts, strict",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Play what is left to play, then write what is known."""
    options = _parser().parse_args(arguments)
    end = time.monotonic() + 60 * options.minutes if options.minutes else None
    options.out.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        for arm in options.arms:
            if not play(arm, seed, options=options, end=end):
                print(f"time is up in {arm}, seed {seed}: call it again to go on")
                return
    runs = {arm: [_folder(options.out, arm, s) for s in options.seeds] for arm in options.arms}
    curves = [row for arm, paths in runs.items() for path in paths for row in curve(arm, path)]
    lines = [json.dumps(row) for row in curves]
    (options.out / "curves.jsonl").write_text("\n".join(lines) + "\n")
    results = {
        "differences": differences(runs) if "eva" in runs else {},
        "at_equal_tokens": at_equal_tokens(curves),
        "versions": versions(),
        "seeds": options.seeds,
    }
    (options.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (options.out / "table.md").write_text(markdown(results))
    print(markdown(results))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/online-evidence"))
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--minutes", type=float, help="stop after so many; call it again to go on")
    parser.add_argument("--set", nargs="*", default=[], help="overrides, such as online.steps=20")
    return parser


def play(arm: str, seed: int, *, options: argparse.Namespace, end: float | None) -> bool:
    """Play one run to its end, or until time is up; say whether it is finished."""
    folder = _folder(options.out, arm, seed)
    if _finished(folder):
        return True
    left = None if end is None else end - time.monotonic()
    if left is not None and left <= 0:
        return False
    overrides = [*ARMS[arm], *options.set, f"seed={seed}", "evaluation.when=rounds"]
    command = [sys.executable, "-m", "eva", "run", str(options.config), *overrides]
    try:
        # a process of its own: what is killed when time is up goes on from its last commit
        subprocess.run([*command, "--out", str(folder), "--quiet"], check=True, timeout=left)
    except subprocess.TimeoutExpired:
        return False
    return True


def _folder(out: Path, arm: str, seed: int) -> Path:
    return out / f"{arm}-{seed}"


def _finished(folder: Path) -> bool:
    described = folder / "run.json"
    return described.exists() and json.loads(described.read_text())["status"] == "finished"


def curve(arm: str, path: Path) -> list[dict[str, Any]]:
    """Return what a run measured after each round, against the tokens generated so far."""
    with RunFolder.open_readonly(path) as folder:
        records, measured = folder.records(), evaluations(folder)
        seed = folder.config["seed"]
    spent, rows = 0, []
    for t, results in measured.items():
        if t:
            spent += records[t - 1]["tokens"]["solver"] + records[t - 1]["tokens"]["rewriter"]
        creator = records[t - 1]["creator"] if t else {}
        solver = records[t - 1]["solver"] if t else {}
        rows.append(
            {
                "arm": arm,
                "seed": seed,
                "round": t,
                "tokens": spent,
                **{name: value for r in results.values() for name, value in r["metrics"].items()},
                "without_contrast": solver.get("without_contrast"),
                "training_reward": solver.get("reward_mean"),
                "refusals": creator.get("refusals"),
                "operators": creator.get("operators"),
            }
        )
    return rows


def differences(runs: Mapping[str, Sequence[Path]]) -> dict[str, Any]:
    """Return eva's last results against those of every other arm, paired by prompt and seed."""
    last: dict[str, list[Mapping[str, Any]]] = {}
    for arm, paths in runs.items():
        last[arm] = []
        for path in paths:
            with RunFolder.open_readonly(path) as folder:
                measured = evaluations(folder)
            last[arm].append(measured[max(measured)])
    names = last["eva"][0]
    return {
        arm: {
            name: compare([r[name] for r in results], [r[name] for r in last["eva"]])
            for name in names
        }
        for arm, results in last.items()
        if arm != "eva"
    }


def at_equal_tokens(curves: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return every measure by arm and seed, at the most tokens that all runs have reached."""
    runs = sorted({(row["arm"], row["seed"]) for row in curves})
    by_run = {run: [r for r in curves if (r["arm"], r["seed"]) == run] for run in runs}
    tokens = min(rows[-1]["tokens"] for rows in by_run.values())
    found: dict[str, dict[str, list[float]]] = {}
    for (arm, _), rows in by_run.items():
        for metric in SHOWN:
            if metric in rows[0]:
                values = [row[metric] for row in rows]
                here = float(np.interp(tokens, [row["tokens"] for row in rows], values))
                found.setdefault(metric, {}).setdefault(arm, []).append(here)
    before = {metric: by_run[runs[0]][0][metric] for metric in found}
    return {"tokens": tokens, "before": before, "measures": found}


def markdown(results: Mapping[str, Any]) -> str:
    """Return both tables: all arms at equal tokens, and eva's paired differences to the others."""
    equal = results["at_equal_tokens"]
    arms = list(next(iter(equal["measures"].values()), {}))
    lines = [
        f"At {equal['tokens']:,} generated tokens, mean over seeds (each seed):",
        "",
        "| measure | before | " + " | ".join(arms) + " |",
        "|---" * (len(arms) + 2) + "|",
    ]
    for metric, by_arm in equal["measures"].items():
        cells = [
            f"{np.mean(values):.3f} ({', '.join(f'{v:.2f}' for v in values)})"
            for values in by_arm.values()
        ]
        lines.append(f"| {SHOWN[metric]} | {equal['before'][metric]:.3f} | {' | '.join(cells)} |")
    lines += [
        "",
        "| eva minus | measure | prompts | difference | 95 % interval | |",
        "|---" * 6 + "|",
    ]
    for arm, by_name in results["differences"].items():
        rows = {d["metric"]: d for compared in by_name.values() for d in compared["differences"]}
        for metric, words in SHOWN.items():
            if metric in rows:
                d = rows[metric]
                interval = f"{d['low']:+.3f} to {d['high']:+.3f}"
                lines.append(
                    f"| {arm} | {words} | {d['n']} | {d['difference']:+.3f} | {interval} | "
                    f"{d['verdict']} |"
                )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
