"""Does online eva work? Arms at equal tokens on tasks with levels, with a model made here.

    python benchmarks/ladder.py                        the main table: five arms, five seeds
    python benchmarks/ladder.py --ablation metric      a further table; --ablation all for each
    python benchmarks/ladder.py --model-seed 1 --out runs/ladder-1 --work runs/ladder-1/work
                                                       the same with another model to begin with
    python benchmarks/ladder.py --summary              the tables and plot of what was played
    python benchmarks/ladder.py --over FOLDER ...      a table over several models' folders

A small Llama is trained on a few text tasks, mostly on their easy levels, until it can do most of
those and little of the next. Then RLOO goes on from easy human prompts, and only evolving finds
harder ones. Success is measured on held-out prompts of every level, on answers sampled as in
training (what RLOO maximises), and on greedy ones. `--out` holds `bed.json`,
`runs.jsonl` and what follows from them, `summary.md` and a plot; finished runs in it are not played
again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, replace
from pathlib import Path

from ladder_arms import ABLATIONS, ARMS, MAIN, WIDE, Bed, Row, play
from ladder_plot import plot
from ladder_table import (
    Run,
    budget,
    luck_table,
    models_table,
    runs,
    seeds_of,
    shared,
    success_table,
    training_table,
)
from ladder_task import heldout

RESULTS = Path(__file__).parent / "results" / "ladder"
FIRST = next(iter(MAIN))
TABLES = {
    "main": tuple(MAIN),
    "all levels": tuple(WIDE),
    **{name: (FIRST, *table) for name, table in ABLATIONS.items()},
}
"""Arms by table; the others are compared with the first."""
PLAYED = 5
"""Seeds that the tables are of; further ones tell luck from worth."""
WITHHELD = 20
"""Prompts of each task and level that the model is not shown; the held-out ones are among them."""


def main(arguments: list[str] | None = None) -> None:
    """Play what is missing, then write the tables."""
    options = parser().parse_args(arguments)
    if options.over:
        models = {folder.name: runs(read(folder / "runs.jsonl")) for folder in options.over}
        print(models_table(models, to=FIRST))
        return
    bed = bed_of(options)
    options.out.mkdir(parents=True, exist_ok=True)
    refuse_other_bed(options.out / "bed.json", bed)
    if not options.summary:
        play_missing(wanted(options), bed=bed, options=options)
    summary = summarise(options.out)
    print(summary)


def parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    made = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    made.add_argument("--arms", nargs="+", choices=ARMS, metavar="ARM", help=", ".join(ARMS))
    made.add_argument("--ablation", choices=[*TABLES, "all"], help="play a further table")
    made.add_argument("--seeds", type=int, nargs="+", default=[*range(1, PLAYED + 1)])
    made.add_argument("--steps", type=int, default=Bed().steps, help="steps of a run")
    made.add_argument("--model-seed", type=int, default=0, help="of the model that arms begin with")
    made.add_argument("--out", type=Path, default=RESULTS)
    made.add_argument("--work", type=Path, default=Path("runs/ladder"), help="where the model lies")
    made.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    made.add_argument("--quick", action="store_true", help="a tiny model and few steps: for tests")
    made.add_argument("--over", nargs="+", type=Path, help="results to compare, a folder a model")
    made.add_argument("--summary", action="store_true", help="play nothing")
    return made


def bed_of(options: argparse.Namespace) -> Bed:
    """Return the settings of a run."""
    warm = replace(Bed().warm, seed=options.model_seed)
    if not options.quick:
        return replace(Bed(), steps=options.steps, warm=warm)
    warm = replace(warm, width=32, layers=1, heads=2, updates=4, batch=8)
    return Bed(steps=4, every=2, human=24, heldout=1, answers=2, warm=warm)


def wanted(options: argparse.Namespace) -> list[tuple[str, int]]:
    """Return arms and seeds to play, a seed of all arms before the next."""
    names = list(TABLES) if options.ablation == "all" else [options.ablation or "main"]
    arms = options.arms or dict.fromkeys(arm for name in names for arm in TABLES[name])
    return [(arm, seed) for seed in options.seeds for arm in arms]


def refuse_other_bed(path: Path, bed: Bed) -> None:
    """Write the settings; raise where the runs beside them were played with others."""
    text = json.dumps(asdict(bed), indent=1) + "\n"
    if path.exists() and path.read_text() != text:
        raise SystemExit(f"{path}: its runs were played with other settings: take another --out")
    path.write_text(text)


def play_missing(
    asked: Iterable[tuple[str, int]], *, bed: Bed, options: argparse.Namespace
) -> None:
    """Play the runs that are not there yet, and append the rows of each as it ends."""
    path = options.out / "runs.jsonl"
    done = runs(read(path))
    missing = [key for key in asked if key not in done]
    if not missing:
        return
    model = prepared(options.work, bed)
    begun = time.perf_counter()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.workers, context, initializer=quieten) as pool:
        playing = {pool.submit(play, *key, bed=bed, model=model): key for key in missing}
        for i, future in enumerate(as_completed(playing)):
            rows = future.result()
            with path.open("a") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)
            minutes = (time.perf_counter() - begun) / 60
            arm, seed = playing[future]
            print(f"{i + 1}/{len(missing)} after {minutes:.1f} min: {arm}, seed {seed}: "
                  f"{rows[-1]['success']}", flush=True)  # fmt: skip


def prepared(work: Path, bed: Bed) -> Path:
    """Return the folder of the model, trained now if it is not there."""
    quieten()
    from ladder_model import make

    work.mkdir(parents=True, exist_ok=True)
    return make(work.absolute() / "model", bed.warm, without=heldout(WITHHELD))


def quieten() -> None:
    """Give this process one thread, no hub and no progress bars."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()


def summarise(out: Path) -> str:
    """Write and return the tables of what was played, and the plot of the main arms."""
    found = runs(read(out / "runs.jsonl"))
    parts = []
    for name, arms in TABLES.items():
        shown = [arm for arm in arms if seeds_of(found, arm)]
        new = {*shown} - ({FIRST} if name == "main" else {*MAIN})
        if arms[0] not in shown or not new:
            continue
        some = shared(found, shown)
        parts.append(section(name, some, shown))
        if name == "main":
            (out / "success.svg").write_text(plot(some, shown) + "\n")
    further = [arm for arm in MAIN if len(seeds_of(found, arm)) > PLAYED]
    if further:
        # what all rows are compared with may have been lucky
        parts += ["## further seeds", luck_table(found, further, first=PLAYED)]
    summary = "\n\n".join(parts) + "\n"
    (out / "summary.md").write_text(summary)
    return summary


def section(name: str, found: Mapping[tuple[str, int], Run], arms: Sequence[str]) -> str:
    """Return the tables of some arms, in Markdown."""
    tokens = budget(found, arms)
    parts = [
        f"## {name}",
        f"Success on held-out prompts after {tokens:,} generated tokens, seeds "
        f"{', '.join(map(str, seeds_of(found, arms[0])))}:",
        success_table(found, arms, tokens=tokens, to=arms[0]),
        "What was trained on, means over seeds:",
        training_table(found, arms),
    ]
    if name == "main":
        parts.append("\n".join(f"- {arm}: {MAIN[arm].words}" for arm in arms))
    return "\n\n".join(parts)


def read(path: Path) -> list[Row]:
    """Return the rows of a file; none where it is not there."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


if __name__ == "__main__":
    main()
