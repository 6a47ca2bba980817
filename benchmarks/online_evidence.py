"""Does online eva help a real model? Its arms at equal steps, measured against tokens generated.

    python benchmarks/online_evidence.py --out runs/online-evidence --seeds 1 2 3

plays `configs/online.toml` once per arm and seed, measures every round on the same held-out prompts
(by number of constraints, and kinds never trained on) and on IFEval, and writes `curves.jsonl`,
`results.json`, `table.md` and `curves.svg`. Hours on a CPU. It goes on where it was when called
again, in the middle of a run, too; `--minutes 140` stops it in time. `--curves FILE ...` plays
nothing, and makes the tables and the plot of what such files hold.

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
from online_table import Curves, markdown, plot, results

from eva.app.results import evaluations
from eva.disagreement import spearman
from eva.runs.folder import RunFolder, versions
from eva.types import Prompt

CONFIG = Path(__file__).parents[1] / "configs" / "online.toml"
ARMS: Mapping[str, tuple[str, ...]] = {
    "eva": (),
    "uniform": ("creator.informativeness=uniform", "online.draw=uniform"),
    "no_evolve": ("creator.evolver={name='none'}",),
    "static": ("creator.name=static",),
}
"""What an arm sets in the config."""

RELEVANCE = 0.2
"""Weight of relevance in the reward: answers that differ by more differ in constraints met."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Play what is left to play, then write what is known."""
    options = _parser().parse_args(arguments)
    end = time.monotonic() + 60 * options.minutes if options.minutes else None
    options.out.mkdir(parents=True, exist_ok=True)
    if options.curves:
        texts = [path.read_text(encoding="utf-8") for path in options.curves]
        write([json.loads(line) for text in texts for line in text.splitlines()], options.out)
        return
    for seed in options.seeds:
        for arm in options.arms:
            if not play(arm, seed, options=options, end=end):
                print(f"time is up in {arm}, seed {seed}: call it again to go on")
                return
    played = [(arm, seed) for arm in options.arms for seed in options.seeds]
    write([row for arm, seed in played for row in curve(arm, _folder(options.out, arm, seed))],
          options.out)  # fmt: skip


def write(curves: Curves, out: Path) -> None:
    """Write what was measured, and what it comes to."""
    found = {**results(curves), "versions": versions()}
    lines = [json.dumps(row) for row in curves]
    (out / "curves.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (out / "results.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (out / "table.md").write_text(markdown(found), encoding="utf-8")
    (out / "curves.svg").write_text(plot(curves) + "\n", encoding="utf-8")
    print(markdown(found))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/online-evidence"))
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--minutes", type=float, help="stop after so many; call it again to go on")
    parser.add_argument("--curves", type=Path, nargs="+", help="make the tables of these files")
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
        prompts = {prompt.id: prompt for prompt in folder.population.prompts()}
        scores = folder.population.table("scores", stage="online/steps")
        trained = {t: trained_on(scores, prompts, t=t) for t in measured if t}
    spent, rows = 0, []
    for t, found in measured.items():
        if t:
            spent += records[t - 1]["tokens"]["solver"] + records[t - 1]["tokens"]["rewriter"]
        creator = records[t - 1]["creator"] if t else {}
        solver = records[t - 1]["solver"] if t else {}
        refusals = creator.get("refusals")
        rows.append(
            {
                "arm": arm,
                "seed": seed,
                "round": t,
                "tokens": spent,
                **{name: value for r in found.values() for name, value in r["metrics"].items()},
                "without_contrast": solver.get("without_contrast"),
                "training_reward": solver.get("reward_mean"),
                "refusals": refusals,
                "refused/duplicate": refusals.get("duplicate", 0) if refusals else None,
                "operators": creator.get("operators"),
                **trained.get(t, {}),
            }
        )
    return rows


def trained_on(
    scores: Sequence[Mapping[str, Any]], prompts: Mapping[str, Prompt], *, t: int
) -> dict[str, Any]:
    """Return what the prompts of a round were like, and their answers."""
    rows = [row for row in scores if row["round"] == t]
    asked = [prompts[row["prompt_id"]] for row in rows]
    return {
        "trained/constraints": float(np.mean([len(p.checks) for p in asked])),
        "trained/evolved": float(np.mean([p.evolved for p in asked])),
        "trained/words": float(np.mean([len(p.text.split()) for p in asked])),
        "trained/contrast": float(np.mean([row["max"] - row["min"] > RELEVANCE for row in rows])),
        "trained/carried": carried(scores, prompts, t=t),
    }


def carried(
    scores: Sequence[Mapping[str, Any]], prompts: Mapping[str, Prompt], *, t: int
) -> float | None:
    """Return how well what a prompt was kept for tells what it is worth when it is drawn.

    That is the rank correlation, over the evolved prompts of round t, of best minus mean reward
    with that of the prompt from which it was made: itself, where seeds come back as they are.
    """
    worth: dict[str, float] = {}
    pairs = []
    for row in scores:
        prompt, here = prompts[row["prompt_id"]], row["max"] - row["mean"]
        kept = next((i for i in (prompt.id, *prompt.parents[:1]) if i in worth), None)
        if kept is not None and row["round"] == t:
            pairs.append((worth[kept], here))
        worth[prompt.id] = here
    return spearman(*zip(*pairs, strict=True)) if pairs else None


if __name__ == "__main__":
    main()
