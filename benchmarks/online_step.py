"""How long a step of online eva takes, against one of TRL's RLOOTrainer.

    python benchmarks/online_step.py                    five pairs, SmolLM2-135M-Instruct
    python benchmarks/online_step.py --json out.json    and the numbers as JSON

A step answers 8 prompts 4 times each, scores, and makes one update by RLOO with LoRA. eva's side is
`eva.online` on a run folder, as `eva run` plays it, with what TRL's has none of: creator, evolving
by rules, gates, buffer, journal, and a commit after every step (by default only after several).
The other side is `RLOOTrainer` as a good user sets it on a CPU.

The work is the same, and that is checked, token by token counted. No answer can end before the last
token; both sides score with the rules, and then replace the scores by numbers drawn from prompt and
answer index alone. So the prompts are known before: the game is played once without a model, and
TRL's side is given what eva's will come to, evolved prompts among them, each batch in the best
order. TRL's side saves nothing. eva's checkpoint is not on the clock: it is shown beside, with what
it adds to a step where one is written every 50.

Models are loaded before the clock starts, and so is the first step of each side.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from online_step_game import STAGES, Played, Setup, eva_steps
from online_step_trl import trl_steps
from transformers.utils import logging

from eva.runs.folder import versions

SIDES: Mapping[str, Callable[..., Played]] = {"eva": eva_steps, "trl": trl_steps}


@dataclass(frozen=True)
class Bench:
    """Steps of both sides in pairs, and what they say."""

    setup: Setup
    pairs: tuple[Mapping[str, Played], ...]
    """Steps by side, in the order in which they were played."""

    @cached_property
    def ratios(self) -> tuple[float, ...]:
        """Time of eva over that of TRL, by pair."""
        return tuple(
            pair["eva"].seconds["steps"] / pair["trl"].seconds["steps"] for pair in self.pairs
        )

    @cached_property
    def stages(self) -> dict[str, dict[str, Any]]:
        """Median seconds of both sides by stage of a step, and the ratios of the pairs."""
        shown: dict[str, dict[str, Any]] = {}
        for stage in (*STAGES, "rest", "step"):
            both = [[pair[side].stages()[stage] for pair in self.pairs] for side in SIDES]
            ratios = [eva / trl for eva, trl in zip(*both, strict=True) if trl > 0]
            medians = dict(zip(SIDES, map(statistics.median, both), strict=True))
            shown[stage] = medians | {"ratio": spread(ratios)}
        return shown

    @cached_property
    def beside(self) -> dict[str, float]:
        """Median seconds: eva's checkpoint, and TRL's log-probs before the update, by step."""
        checkpoints = [pair["eva"].seconds["checkpoint"] for pair in self.pairs]
        before = [pair["trl"].seconds["logprobs before"] / self.setup.steps for pair in self.pairs]
        return {
            "checkpoint": statistics.median(checkpoints),
            "logprobs before": statistics.median(before),
        }

    def json(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        work = asdict(self.pairs[0]["eva"].work)
        return {
            "machine": machine(),
            "versions": versions(),
            "setup": asdict(self.setup),
            "work": work | {"prompts": sum(map(len, work["prompts"]))},
            "ratios": list(self.ratios),
            "ratio": spread(self.ratios),
            "stages": self.stages,
            "beside": self.beside,
            "pairs": [
                {
                    side: {"seconds": dict(p.seconds), "stages": p.stages()}
                    for side, p in pair.items()
                }
                for pair in self.pairs
            ],
        }

    def text(self) -> str:
        """Return the table."""
        work, host = self.pairs[0]["eva"].work, machine()
        lines = [
            f"{host['cpu']}, {host['cores']} cores, {host['threads']} threads, load {host['load']}",
            ", ".join(f"{name} {version}" for name, version in versions().items()),
            str(self.setup),
            f"on both sides, warm-up included: {work.prompt_tokens} tokens of prompts, "
            f"{work.generated_tokens} generated, {work.trained_tokens} trained on in "
            f"{work.updates} updates",
            "",
            f"{len(self.pairs)} pairs{'eva, s':>17}{'TRL, s':>10}{'eva / TRL':>12}   (min, max)",
        ]
        for stage, row in self.stages.items():
            ratio = row["ratio"]
            lines.append(
                f"{stage:<14}{row['eva']:>10.3f}{row['trl']:>10.3f}{ratio['median']:>12.3f}"
                f"   ({ratio['min']:.3f}, {ratio['max']:.3f})"
            )
        step, beside = self.stages["step"]["eva"], self.beside
        lines += [
            "",
            f"eva / TRL by pair: {', '.join(f'{ratio:.3f}' for ratio in self.ratios)}",
            f"of TRL's training, log-probs before the update: {beside['logprobs before']:.3f} s",
            f"eva's checkpoint: {beside['checkpoint']:.3f} s; every 50 steps it adds "
            f"{beside['checkpoint'] / 50 / step:.2%} to a step",
        ]
        return "\n".join(lines)


def compare(setup: Setup, *, pairs: int) -> Bench:
    """Play pairs of steps, taking turns at going first.

    Raises:
        RuntimeError: the sides did not do the same work.
    """
    played: list[Mapping[str, Played]] = []
    for index in range(pairs):
        order = list(SIDES) if index % 2 == 0 else list(reversed(SIDES))
        pair = {side: _alone(SIDES[side], setup, index) for side in order}
        works = {side: pair[side].work for side in pair}
        if works["eva"] != works["trl"]:
            raise RuntimeError(f"the sides did not do the same work: {works}")
        played.append(pair)
        took = ", ".join(f"{side} {pair[side].stages()['step']:.2f} s" for side in order)
        print(f"pair {index + 1} of {pairs}, a step: {took}", file=sys.stderr, flush=True)
    return Bench(setup, tuple(played))


def _alone(side: Callable[..., Played], setup: Setup, seed: int) -> Played:
    # what the other side left is not to be cleared away while the clock runs
    gc.collect()
    return side(setup, seed=seed)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, least and greatest; NaN of none."""
    if not values:
        return dict.fromkeys(("median", "min", "max"), float("nan"))
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def machine() -> dict[str, Any]:
    """Return what it ran on, and how busy that is."""
    # the name of the module is that of a builtin
    found: dict[str, Any] = import_module("round").machine()
    return found | {"load": ", ".join(f"{load:.1f}" for load in os.getloadavg())}


def quieten() -> None:
    """Turn off bars and the warnings of TRL's configs, which use deprecated names."""
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    os.environ.update(TQDM_DISABLE="1", TOKENIZERS_PARALLELISM="false")


def add_options(parser: argparse.ArgumentParser, setup: Setup) -> None:
    """Add a flag for every size."""
    for name, default in asdict(setup).items():
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=type(default), default=default, help=f"default: {default}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser, Setup())
    parser.add_argument("--pairs", type=int, default=5, help="default: 5")
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    options = vars(parser.parse_args(arguments))
    pairs, out = options.pop("pairs"), options.pop("json")
    setup = Setup(**options)
    if setup.threads:
        torch.set_num_threads(setup.threads)
    quieten()
    bench = compare(setup, pairs=pairs)
    print(bench.text())
    if out:
        out.write_text(json.dumps(bench.json(), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
