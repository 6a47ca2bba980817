"""The README's table: the quickstart's game at full size, over several seeds, measured at length.

    python benchmarks/evidence.py --out runs/evidence

plays `benchmarks/evidence.toml` once per seed, with more held-out prompts and all of IFEval, and
writes `table.md` and `results.json`. It takes hours on a CPU, and goes on where it was when called
again. Every seed starts from the same model and is measured on the same prompts, so the model is
measured once, and the difference is paired by prompt.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

import torch

import eva
from eva.app.results import evaluations
from eva.evals.compare import compare
from eva.runs.folder import RunFolder

CONFIG = Path(__file__).parent / "evidence.toml"
SHOWN = {
    "heldout/reward/seen": "held-out constraints met, trained kinds",
    "heldout/reward/seen_1": "· one constraint",
    "heldout/reward/seen_2": "· two constraints",
    "heldout/reward/seen_3": "· three constraints",
    "heldout/reward/unseen": "held-out constraints met, kinds never trained on",
    "heldout/relevance": "relevance of answer to question",
    "heldout/tokens": "answer length, tokens",
    "ifeval/prompt_strict": "IFEval, prompts, strict",
    "ifeval/prompt_loose": "IFEval, prompts, loose",
    "ifeval/instruction_strict": "IFEval, instructions, strict",
}


def main() -> None:
    """Play every seed, compare, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/evidence"))
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--heldout", type=int, default=100, help="prompts per set of constraints")
    parser.add_argument("--ifeval", choices=["all", "fixed64"], default="all")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", type=int, help="play this seed alone, for several machines")
    options = parser.parse_args()
    if options.only is not None:
        play(options.only, first=options.only == options.seeds[0], options=options)
        return
    folders = [play(seed, first=i == 0, options=options) for i, seed in enumerate(options.seeds)]
    results = compared(folders)
    results["setting"] = setting(options)
    (options.out / "results.json").write_text(json.dumps(results, indent=1))
    (options.out / "table.md").write_text(markdown(results))
    print(markdown(results))


def play(seed: int, *, first: bool, options: argparse.Namespace) -> Path:
    """Play one seed; the model before training is measured with the first one alone."""
    overrides = [
        f"seed={seed}",
        f"evaluation.when={'ends' if first else 'after'}",
        f"evaluation.heldout.prompts={options.heldout}",
        f"evaluation.ifeval.prompts={options.ifeval}",
        f"run.threads={options.threads}",
    ]
    folder = options.out / f"seed-{seed}"
    if finished(folder):
        return folder
    return eva.run(eva.load_config(options.config, overrides), folder, mode="live")


def finished(folder: Path) -> bool:
    """Return whether a run was played to its end."""
    if not (folder / "run.json").exists():
        return False
    return json.loads((folder / "run.json").read_text())["status"] == "finished"


def compared(folders: list[Path]) -> dict:
    """Return before against after by evaluator, over the seeds."""
    measured = []
    for path in folders:
        with RunFolder.open_readonly(path) as folder:
            measured.append(evaluations(folder))
    before = measured[0][0]
    after = [result[max(result)] for result in measured]
    return {name: compare([before[name]], [a[name] for a in after]) for name in before}


def setting(options: argparse.Namespace) -> str:
    """Say on what and with what the table was made."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        )
        if Path("/proc/cpuinfo").exists()
        else iter([platform.processor()]),
        "unknown CPU",
    )
    return (
        f"{model}, {options.threads} threads, torch {torch.__version__}, eva {eva.__version__}, "
        f"seeds {', '.join(map(str, options.seeds))}"
    )


def markdown(results: dict) -> str:
    """Return the table of the README."""
    rows = [
        "| measure | prompts | before | after | difference | 95 % interval | by seed | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    found = {
        d["metric"]: d for r in results.values() if isinstance(r, dict) for d in r["differences"]
    }
    for metric, words in SHOWN.items():
        if metric not in found:
            continue
        d = found[metric]
        seeds = ", ".join(f"{value:+.2f}" for value in d["by_seed"])
        rows.append(
            f"| {words} | {d['n']} | {d['before']:.2f} | {d['after']:.2f} | "
            f"{d['difference']:+.3f} | {d['low']:+.3f} to {d['high']:+.3f} | {seeds} | "
            f"{d['verdict']} |"
        )
    return "\n".join([*rows, "", f"`python benchmarks/evidence.py` on {results['setting']}.", ""])


if __name__ == "__main__":
    main()
