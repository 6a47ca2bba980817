"""How much of a step of TRL's RLOOTrainer is spent in eva, attached to it as a guest.

    python benchmarks/trl_guest.py                    SmolLM2-135M-Instruct
    python benchmarks/trl_guest.py --quick            a random tiny model: whether it runs
    python benchmarks/trl_guest.py --json out.json    and the numbers as JSON

The trainer is the one of `online_step.py`, with generation batches of a whole step, as by default;
`Creator` evolves its prompts by rules, its population on disk. What is timed is every call by which
the trainer enters eva: the callback's events, the watching of rewards, the reading of slots. A step
goes from the end of one to the end of the next. The reward is not among them: it would be called
without eva, too.

The first step is left out, and `attach` and the beginning of training, which happen once, are shown
beside. The share hangs on the model: eva's time is the same whatever trains.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from online_step import add_options, machine, quieten, spread
from online_step_game import WARM, Setup
from online_step_trl import make_trainer, rows
from round_game import Clock
from transformers import TrainerCallback

from eva.app.build import Parts
from eva.app.progress import Silent
from eva.creator.online import OnlineSizes
from eva.integrations.trl import Creator, constraints_met
from eva.integrations.trl_callback import EvaCallback
from eva.integrations.trl_rewards import Observer
from eva.integrations.trl_slots import Slots
from eva.rng import Streams
from eva.runs.folder import versions

HUMAN = 512
"""Prompts of the data set, where the source has so many."""

CALLS: Mapping[str, tuple[type, str]] = {
    "on_step_begin": (EvaCallback, "on_step_begin"),
    "on_substep_end": (EvaCallback, "on_substep_end"),
    "on_step_end": (EvaCallback, "on_step_end"),
    "on_log": (EvaCallback, "on_log"),
    "rewards": (Observer, "_called"),
    "slots": (Slots, "__getitem__"),
}
"""How a trainer enters eva between two steps. No call is inside another."""

ONCE: Mapping[str, tuple[type, str]] = {
    "attach": (Creator, "attach"),
    "on_train_begin": (EvaCallback, "on_train_begin"),
}
"""How it does at the beginning."""


@dataclass(frozen=True)
class Bench:
    """The steps of a guest's run."""

    setup: Setup
    steps: tuple[Mapping[str, float], ...]
    """Seconds by call of every step, `step` the whole of it."""
    once: Mapping[str, float]
    """Seconds before the first step, by call."""
    figures: Mapping[str, float]
    """What was done, over all steps: prompts evolved and refused, rows watched."""

    @property
    def shares(self) -> list[float]:
        """The share of eva's calls, by step."""
        return [sum(step[name] for name in CALLS) / step["step"] for step in self.steps]

    @property
    def total(self) -> float:
        """The share of eva's calls in all steps together."""
        whole = sum(step["step"] for step in self.steps)
        return sum(step[name] for step in self.steps for name in CALLS) / whole

    def json(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        return {
            "machine": machine(),
            "versions": versions(),
            "setup": {"steps": len(self.steps), "model": self.setup.model},
            "share": self.total,
            "shares": spread(self.shares),
            "calls": {name: spread([step[name] for step in self.steps]) for name in CALLS},
            "steps": [dict(step) for step in self.steps],
            "once": dict(self.once),
            "figures": dict(self.figures),
        }

    def text(self) -> str:
        """Return the table."""
        host, shares = machine(), spread(self.shares)
        step = statistics.median(step["step"] for step in self.steps)
        lines = [
            f"{host['cpu']}, {host['cores']} cores, {host['threads']} threads, load {host['load']}",
            ", ".join(f"{name} {version}" for name, version in versions().items()),
            str(self.setup),
            ", ".join(f"{name} {value:.0f}" for name, value in self.figures.items()),
            "",
            f"{len(self.steps)} steps, median of {step:.2f} s{'ms':>12}   (min, max)",
        ]
        for name in CALLS:
            took = spread([1000 * step[name] for step in self.steps])
            lines.append(
                f"{name:<30}{took['median']:>10.2f}   ({took['min']:.2f}, {took['max']:.2f})"
            )
        lines += [
            "",
            f"share of a step in eva: median {shares['median']:.3%} "
            f"({shares['min']:.3%}, {shares['max']:.3%}); of all steps together {self.total:.3%}",
            "once: " + ", ".join(f"{name} {s:.2f} s" for name, s in self.once.items()),
        ]
        return "\n".join(lines)


class Marks(TrainerCallback):
    """Keeps what the clock says after everything that a step's end brings."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.ends: list[Mapping[str, float]] = []
        """Seconds by call so far, and the time as `step`, at the end of every step."""

    def on_step_end(self, *event: Any, **more: Any) -> None:
        """Note where the clock is: added after eva's callback, it is called after it."""
        now = {name: self._clock.seconds[name] for name in CALLS}
        self.ends.append(now | {"step": time.perf_counter()})

    def steps(self) -> tuple[Mapping[str, float], ...]:
        """Return the seconds of every step after the warm-up."""
        later = self.ends[WARM:]
        return tuple(
            {name: end[name] - begin[name] for name in end}
            for begin, end in zip(self.ends[WARM - 1 :], later, strict=False)
        )


def play(setup: Setup) -> Bench:
    """Train with a guest, and see how long it is inside."""
    clock = Clock()
    human = Parts(setup.config(), progress=Silent()).prompts.human[:HUMAN]
    with tempfile.TemporaryDirectory() as place, timed(clock):
        trainer = make_trainer(setup, rows(human), reward=reward, folder=Path(place), seed=1)
        Creator(sizes=OnlineSizes(buffer=setup.buffer)).attach(trainer)
        marks = Marks(clock)
        trainer.add_callback(marks)
        trainer.train()
        logged = trainer.state.log_history
    figures = {
        name: sum(row.get(f"eva/{name}", 0.0) for row in logged)
        for name in ("children", "refused", "replayed")
    }
    return Bench(setup, marks.steps(), {name: clock.seconds[name] for name in ONCE}, figures)


def reward(
    *, completions: Sequence[Any], checks: Sequence[str], eva_prompt: Sequence[str], **columns: Any
) -> list[float | None]:
    """Score with the rules, then draw rewards that differ: so that every prompt may evolve."""
    constraints_met(completions=completions, checks=checks, **columns)
    return [float(Streams(0, 0, "guest").of(id, i).random()) for i, id in enumerate(eva_prompt)]


@contextmanager
def timed(clock: Clock) -> Iterator[None]:
    """Count eva's calls under their names, whoever is attached."""
    with ExitStack() as stack:
        for name, (owner, method) in {**CALLS, **ONCE}.items():
            counted = clock.timed(name, getattr(owner, method))
            stack.enter_context(patch.object(owner, method, counted))
        yield


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser, Setup(steps=5, generate_batch=8))
    parser.add_argument("--quick", action="store_true", help="a random tiny model, short answers")
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    options = vars(parser.parse_args(arguments))
    quick, out = options.pop("quick"), options.pop("json")
    setup = Setup(**options)
    if quick:
        setup = replace(setup, model="random:tiny", tokens=4)
    if setup.threads:
        torch.set_num_threads(setup.threads)
    quieten()
    bench = play(setup)
    print(bench.text())
    if out:
        out.write_text(json.dumps(bench.json(), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
