"""How long a round of offline eva takes, against the same work written with TRL.

    python benchmarks/round.py                    five pairs of rounds, SmolLM2-135M-Instruct
    python benchmarks/round.py --json out.json    and the numbers as JSON
    python benchmarks/round.py --profile          one round of eva, and the functions it spends on

A round is the second one of a game, creator's step included: answer the prompts n times, score,
estimate, draw, evolve by rules, gates, mix; answer the mix, score, pair, reference log-probs, DPO
with LoRA, save. eva's side is `eva.offline` on a run folder, as `eva run` plays it. The other side
is what a good user of TRL writes: `generate` on prompts sorted by length, `DPOTrainer` with
`precompute_ref_log_probs`, the adapter saved at the end.

The work is the same, and that is checked, token by token counted. No answer can end before the
last token; both sides score with the rules, and then replace the scores by numbers drawn from
prompt and response index alone: so both draw, evolve and pair alike. Scoring, creator and pairing
are eva's code on both sides. Where the sides differ, TRL's is spared work: it trains on the sampled
token ids, so its data set is neither rendered nor tokenised.

Models are loaded before the clock starts, and one tiny round of each side goes before.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import io
import json
import os
import platform
import pstats
import statistics
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from round_game import MODEL_CALLS, STAGES, Played, Setup, eva_round
from round_trl import trl_round
from transformers.utils import logging

from eva.runs.folder import versions

SIDES: Mapping[str, Callable[..., Played]] = {"eva": eva_round, "trl": trl_round}


@dataclass(frozen=True)
class Bench:
    """Paired rounds, and what they say."""

    setup: Setup
    pairs: tuple[Mapping[str, Played], ...]
    """Rounds by side, in the order in which they were played."""

    @cached_property
    def stages(self) -> dict[str, dict[str, Any]]:
        """Median seconds of both sides by stage, and the ratios of the pairs."""
        shown: dict[str, dict[str, Any]] = {}
        for stage in (*STAGES, "rest", "round"):
            both = [[pair[side].stages()[stage] for pair in self.pairs] for side in SIDES]
            ratios = [eva / trl for eva, trl in zip(*both, strict=True) if trl > 0]
            medians = dict(zip(SIDES, map(statistics.median, both), strict=True))
            shown[stage] = medians | {"ratio": _spread(ratios)}
        return shown

    @cached_property
    def overhead(self) -> dict[str, dict[str, float]]:
        """Shares of eva's round: outside model calls, and of that on making it survive a crash."""
        rounds = [pair["eva"] for pair in self.pairs]
        whole = [played.seconds["round"] for played in rounds]

        def share(seconds: Sequence[float]) -> dict[str, float]:
            return _spread([s / w for s, w in zip(seconds, whole, strict=True)])

        inside = [played.sum(MODEL_CALLS) for played in rounds]
        return {
            "outside model calls": share([w - i for w, i in zip(whole, inside, strict=True)]),
            "of which fsync": share([played.sum(["os.fsync"]) for played in rounds]),
            "of which database commits": share([played.sum(["commit"]) for played in rounds]),
        }

    def json(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        work = asdict(self.pairs[0]["eva"].work)
        return {
            "machine": machine(),
            "versions": versions(),
            "setup": asdict(self.setup),
            "work": work | {"prompts": len(work["prompts"])},
            "stages": self.stages,
            "overhead": self.overhead,
            "pairs": [
                {side: {"losses": p.losses, "seconds": p.seconds} for side, p in pair.items()}
                for pair in self.pairs
            ],
        }

    def text(self) -> str:
        """Return the table."""
        work, host = self.pairs[0]["eva"].work, machine()
        lines = [
            f"{host['cpu']}, {host['cores']} cores, {host['threads']} threads",
            ", ".join(f"{name} {version}" for name, version in versions().items()),
            str(self.setup),
            f"on both sides: {work.generated_tokens} tokens generated, {work.pairs} pairs, "
            f"{work.trained_tokens} tokens trained in {work.updates} updates",
            "",
            f"{len(self.pairs)} pairs{'eva, s':>25}{'TRL, s':>10}{'eva / TRL':>12}   (min, max)",
        ]
        for stage, row in self.stages.items():
            ratio = row["ratio"]
            lines.append(
                f"{stage:<22}{row['eva']:>10.2f}{row['trl']:>10.2f}{ratio['median']:>12.2f}"
                f"   ({ratio['min']:.2f}, {ratio['max']:.2f})"
            )
        lines += ["", "share of eva's round, median (min, max)"]
        for name, row in self.overhead.items():
            shares = f"{row['median']:>10.2%}   ({row['min']:.2%}, {row['max']:.2%})"
            lines.append(f"{name:<30}{shares}")
        for side in SIDES:
            losses = [pair[side].losses for pair in self.pairs]
            first, last = (statistics.median(run[i] for run in losses) for i in (0, -1))
            lines.append(f"loss, {side}: first {first:.4f}, last {last:.4f}")
        return "\n".join(lines)


def compare(setup: Setup, *, pairs: int) -> Bench:
    """Warm both sides up, then play pairs of rounds, taking turns at going first.

    Raises:
        RuntimeError: the sides did not do the same work.
    """
    played: list[Mapping[str, Played]] = []
    for index in range(-1, pairs):
        order = list(SIDES) if index % 2 == 0 else list(reversed(SIDES))
        sizes = setup if index >= 0 else setup.tiny()
        pair = {side: _alone(SIDES[side], sizes, index + 1) for side in order}
        works = {side: pair[side].work for side in pair}
        if works["eva"] != works["trl"]:
            raise RuntimeError(f"the sides did not do the same work: {works}")
        if index >= 0:
            played.append(pair)
            took = ", ".join(f"{side} {pair[side].seconds['round']:.1f} s" for side in order)
            print(f"pair {index + 1} of {pairs}: {took}", file=sys.stderr, flush=True)
    return Bench(setup, tuple(played))


def _alone(side: Callable[..., Played], setup: Setup, seed: int) -> Played:
    # what the other side left is not to be cleared away while the clock runs
    gc.collect()
    return side(setup, seed=seed)


def _spread(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return dict.fromkeys(("median", "min", "max"), float("nan"))
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def machine() -> dict[str, Any]:
    """Return what the rounds ran on."""
    cpu, cores = platform.processor() or platform.machine(), os.cpu_count()
    listed = Path("/proc/cpuinfo")
    if listed.exists():
        names = [line for line in listed.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].partition(":")[2].strip() if names else cpu
    return {"cpu": cpu, "cores": cores, "threads": torch.get_num_threads()}


def profile(setup: Setup, *, lines: int = 30) -> str:
    """Return the seconds by call of one round of eva, and the functions that took most of them."""
    eva_round(setup.tiny(), seed=0)
    profiler = cProfile.Profile()
    played = eva_round(setup, seed=0, profiler=profiler)
    calls = sorted(played.seconds.items(), key=lambda item: -item[1])
    text = io.StringIO()
    pstats.Stats(profiler, stream=text).sort_stats("tottime").print_stats(lines)
    return "\n".join([*(f"{name:<28}{s:>9.3f} s" for name, s in calls), text.getvalue()])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in asdict(Setup()).items():
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=type(default), default=default, help=f"default: {default}")
    parser.add_argument("--pairs", type=int, default=5, help="default: 5")
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    parser.add_argument("--profile", action="store_true", help="one round of eva, profiled")
    options = vars(parser.parse_args(arguments))
    pairs, out, profiled = (options.pop(name) for name in ("pairs", "json", "profile"))
    setup = Setup(**options)
    if setup.threads:
        torch.set_num_threads(setup.threads)
    # TRL's configs still use names that transformers deprecates
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    os.environ.update(TQDM_DISABLE="1", TOKENIZERS_PARALLELISM="false")
    if profiled:
        print(profile(setup))
        return
    bench = compare(setup, pairs=pairs)
    print(bench.text())
    if out:
        out.write_text(json.dumps(bench.json(), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
