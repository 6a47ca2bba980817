"""What both sides of `round.py` play, how it is timed, and eva's side."""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from eva import offline
from eva.app.build import Parts
from eva.app.config import Config
from eva.app.load import parse_config
from eva.app.progress import Silent
from eva.protocols import RewardModel
from eva.rng import Streams
from eva.runs.folder import RunFolder
from eva.runs.ledger import Ledger
from eva.types import Example, Group, ScoredGroup, Stage

ROUND = 2

STAGES: Mapping[str, tuple[str, ...]] = {
    "answer": ("engine.sample",),
    "score, evolve, pair": (
        *("reward.score", "creator.estimate", "creator.sample", "creator.evolve", "creator.mix"),
        "solver.pair",
    ),
    "reference": ("engine.logprobs",),
    "train": ("engine.forward_backward", "engine.step"),
}
"""Calls that make up a stage; what is left of a round is its `rest`."""

MODEL_CALLS = (
    *("engine.sample", "engine.logprobs", "engine.forward_backward", "engine.step"),
    *("engine.load", "engine.save", "reward.score"),
)
"""What a round has to do whoever drives it; all else is overhead."""


@dataclass(frozen=True)
class Setup:
    """The sizes of a round; prompts are pairs too, since no answers tie."""

    model: str = "packaged:smollm2-135m-instruct"
    source: str = "packaged:alpaca"
    prompts: int = 12
    tokens: int = 48
    n: int = 6
    epochs: int = 1
    batch_size: int = 8
    top_p: float = 0.95
    threads: int = 0
    generate_batch: int = 3
    """TRL's side: prompts of one call of `generate`."""
    micro_batch: int = 2
    """TRL's side: most pairs of one forward pass; the rest of a batch is accumulated."""
    seed: int = 42

    def tiny(self) -> Setup:
        """Return the same in small, for warming up."""
        return replace(self, prompts=2, tokens=4, n=2, epochs=1)

    def config(self) -> Config:
        """Return eva's config: that of the quickstart but for sizes and reward."""
        return parse_config(
            {
                "seed": self.seed,
                "rounds": ROUND,
                "policy": {"model": self.model, "device": "cpu", "lora": {"rank": 16, "alpha": 32}},
                "prompts": {
                    "source": self.source,
                    "per_round": self.prompts,
                    "constraints": {"count": [1], "max_words": 40},
                },
                "answers": {
                    "n": self.n,
                    "temperature": 1.0,
                    "top_p": self.top_p,
                    "max_tokens": self.tokens,
                },
                "reward": {"name": "rules", "min_words": 3},
                "creator": {"evolver": {"name": "rules"}, "fraction": 0.25, "children": 4},
                "solver": {
                    "objective": {"name": "dpo", "beta": 0.1},
                    "pairs": {"truncated_chosen": True},
                    "learning_rate": 2e-4,
                    "schedule": "linear",
                    "warmup": 0.0,
                    "epochs": self.epochs,
                    "batch_size": self.batch_size,
                },
                "evaluation": {"when": "never"},
                "run": {"threads": self.threads},
            }
        )


@dataclass(frozen=True)
class Lots:
    """Scores answers, then replaces the scores: by the prompt and the answer's index alone."""

    inner: RewardModel
    seed: int

    def score(self, groups: Sequence[Group]) -> list[ScoredGroup]:
        """Return the groups with scores between 0 and 1 that differ, as good as surely."""
        streams = Streams(self.seed, ROUND, "lots")
        return [self._drawn(group, streams) for group in self.inner.score(groups)]

    def _drawn(self, group: ScoredGroup, streams: Streams) -> ScoredGroup:
        lots = streams.of(group.prompt.id).random(len(group.scores))
        scores = zip(group.scores, lots, strict=True)
        drawn = tuple(replace(score, reward=float(lot)) for score, lot in scores)
        return ScoredGroup(group.group, drawn)


@dataclass(frozen=True)
class Work:
    """What a round did, counted where it was done."""

    prompts: tuple[str, ...]
    """Ids of those that were trained on."""
    pairs: int
    prompt_tokens: int
    """Of the prompts answered for the solver."""
    generated_tokens: int
    """By creator and solver."""
    reference_tokens: int
    trained_tokens: int
    updates: int


@dataclass
class Clock:
    """Seconds spent by name."""

    seconds: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def at(self, name: str) -> Iterator[None]:
        """Count the block."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - began

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, its calls counted."""

        def counted(*args: Any, **kwargs: Any) -> Any:
            with self.at(name):
                return call(*args, **kwargs)

        return counted


class Timed:
    """A part of the game whose calls are counted under its name: `engine.sample`, ..."""

    def __init__(self, part: Any, name: str, clock: Clock) -> None:
        self._part, self._name, self._clock = part, name, clock

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._part, name)
        return self._clock.timed(f"{self._name}.{name}", value) if callable(value) else value


@dataclass(frozen=True)
class Played:
    """A round as it went."""

    work: Work
    losses: tuple[float, ...]
    """Of every update."""
    seconds: Mapping[str, float]
    """By call; `round` is all of it."""

    def stages(self) -> dict[str, float]:
        """Return seconds by stage, `rest` and `round` last."""
        stages = {stage: self.sum(calls) for stage, calls in STAGES.items()}
        whole = self.seconds["round"]
        return stages | {"rest": whole - sum(stages.values()), "round": whole}

    def sum(self, calls: Sequence[str]) -> float:
        """Return the seconds of some calls."""
        return sum(self.seconds.get(call, 0.0) for call in calls)


def eva_round(
    setup: Setup, *, seed: int, profiler: AbstractContextManager[Any] | None = None
) -> Played:
    """Play a round with eva; `seed` is not looked at, as eva's answers hang on the setup's own."""
    clock, config = Clock(), setup.config()
    parts = Parts(config, progress=Silent())
    game = parts.game()
    parts.engine.policy.end_ids = frozenset()
    assert game.creator is not None
    game = replace(
        game,
        engine=Timed(game.engine, "engine", clock),
        reward=Timed(Lots(game.reward, setup.seed), "reward", clock),
        creator=Timed(game.creator, "creator", clock),
        solver=Timed(game.solver, "solver", clock),
    )
    with (
        tempfile.TemporaryDirectory() as place,
        RunFolder.create(Path(place) / "run", config.model_dump(mode="json")) as folder,
        patch.object(os, "fsync", clock.timed("os.fsync", os.fsync)),
        patch.object(Ledger, "commit", _timed_method(clock, "commit", Ledger.commit)),
    ):
        journal = folder.journal()
        # the first round is taken as played: it had these prompts, and left the first policy
        human = game.human[: setup.prompts]
        journal.checkpoints(Stage(1, "solver/train")).commit(0, parts.engine.save, final=True)
        first = {"prompts": [prompt.id for prompt in human], "counts": {"prompts": len(human)}}
        journal.once(Stage(1, "record"), lambda: first | {"creator": {}, "solver": {}})
        clock.seconds.clear()
        with clock.at("round"), profiler or nullcontext():
            *_, record = offline.rounds(game, journal, until=ROUND)
        seconds = dict(clock.seconds)
        groups = journal.read(Stage(ROUND, "solver/answer"), Group)
        examples = journal.read(Stage(ROUND, "solver/pairs"), Example)
        logged = [row.metrics for row in folder.population.metrics()]
    work = Work(
        prompts=tuple(record["prompts"]),
        pairs=len(examples),
        prompt_tokens=sum(len(group.prompt_ids) for group in groups),
        generated_tokens=record["tokens"]["creator"] + record["tokens"]["solver"],
        reference_tokens=sum(len(lp) for e in examples for lp in e.reference or ()),
        trained_tokens=record["tokens"]["trained"],
        updates=record["solver"]["training"]["updates"],
    )
    return Played(work, tuple(m["solver/loss"] for m in logged if "solver/loss" in m), seconds)


def _timed_method(clock: Clock, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    def counted(self: Any, *args: Any) -> Any:
        with clock.at(name):
            return method(self, *args)

    return counted
