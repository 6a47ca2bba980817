"""What both sides of `online_step.py` play, how it is timed, and eva's side."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from round_game import Clock, Lots, Timed

from eva import online
from eva.app.build import Parts
from eva.app.config import Config
from eva.app.load import parse_config
from eva.app.progress import Silent
from eva.rng import Streams
from eva.runs.folder import RunFolder
from eva.runs.memory import MemoryJournal
from eva.types import Group, Prompt, Response, SamplingParams, ScoredGroup, Stage, Step

WARM = 1
"""Steps that are played before the clock starts."""

STAGES: Mapping[str, tuple[str, ...]] = {
    "answer": ("engine.sample",),
    "score": ("reward.score",),
    "train": ("learner.learn",),
    "creator": tuple(
        f"creator.{call}" for call in ("draw", "rank", "seeds", "evolve", "add", "figures")
    ),
}
"""Calls that make up a stage; what is left of a step is its `rest`."""


@dataclass(frozen=True)
class Setup:
    """The sizes of the steps of one side."""

    model: str = "packaged:smollm2-135m-instruct"
    source: str = "packaged:alpaca"
    batch: int = 8
    """Prompts of a step."""
    n: int = 4
    """Answers to each."""
    tokens: int = 48
    steps: int = 2
    """Steps on the clock; those of the warm-up come before them."""
    buffer: int = 12
    """Small, so that half of each batch is evolved prompts after a step or two."""
    top_p: float = 1.0
    learning_rate: float = 1e-4
    threads: int = 0
    generate_batch: int = 4
    """TRL's side: prompts of one call of `generate`."""
    micro_batch: int = 4
    """TRL's side: answers of one forward pass; the rest of a batch is accumulated."""
    seed: int = 42

    def config(self) -> Config:
        """Return eva's config: RLOO, as TRL's trainer plays it, with prompts that evolve."""
        return parse_config(
            {
                "seed": self.seed,
                "rounds": 1,
                "schedule": "online",
                "policy": {
                    "model": self.model,
                    "device": "cpu",
                    "generation_dtype": "same",
                    "lora": {"rank": 16, "alpha": 32},
                },
                "prompts": {
                    "source": self.source,
                    "constraints": {"count": [1], "max_words": 40},
                },
                "online": {
                    "steps": WARM + self.steps,
                    "batch": self.batch,
                    "buffer": self.buffer,
                },
                "answers": {
                    "n": self.n,
                    "temperature": 1.0,
                    "top_p": self.top_p,
                    "max_tokens": self.tokens,
                },
                "reward": {"name": "rules"},
                "creator": {"evolver": {"name": "rules"}, "children": 4},
                "solver": {
                    "objective": {"name": "rloo"},
                    "learning_rate": self.learning_rate,
                    "schedule": "constant",
                    "warmup": 0.0,
                    "epochs": 1,
                },
                "evaluation": {"when": "never"},
                # every step is committed: by default it is a few at a time
                "run": {"threads": self.threads, "chunk": self.batch},
            }
        )


@dataclass(frozen=True)
class Work:
    """What the steps did, those of the warm-up among them, counted where it was done."""

    prompts: tuple[tuple[str, ...], ...]
    """Ids by step, sorted."""
    prompt_tokens: int
    generated_tokens: int
    trained_tokens: int
    updates: int


@dataclass(frozen=True)
class Played:
    """The steps of one side as they went."""

    work: Work
    steps: int
    """Steps on the clock."""
    seconds: Mapping[str, float]
    """By call, over all of them; `steps` is all of it, `checkpoint` beside it."""

    def stages(self) -> dict[str, float]:
        """Return seconds of a step by stage, `rest` and `step` last."""
        stages = {
            stage: sum(self.seconds.get(call, 0.0) for call in calls) / self.steps
            for stage, calls in STAGES.items()
        }
        whole = self.seconds["steps"] / self.steps
        return stages | {"rest": whole - sum(stages.values()), "step": whole}


def eva_steps(setup: Setup, *, seed: int) -> Played:
    """Play the steps with eva; `seed` is not read, as eva's answers hang on the setup's own."""
    clock, config = Clock(), setup.config()
    parts = Parts(config, progress=Silent())
    game = parts.game()
    parts.engine.policy.end_ids = frozenset()
    assert isinstance(game, online.Game)
    game = replace(
        game,
        engine=Timed(game.engine, "engine", clock),
        reward=Timed(Lots(game.reward, setup.seed), "reward", clock),
        creator=Timed(game.creator, "creator", clock),
        learner=Timed(game.learner, "learner", clock),
    )
    with (
        tempfile.TemporaryDirectory() as place,
        RunFolder.create(Path(place) / "run", config.model_dump(mode="json")) as folder,
        _on_the_clock(clock) as seconds,
    ):
        journal = folder.journal()
        for _ in online.rounds(game, journal, until=1):
            pass
        steps = journal.read(Stage(1, online.STEPS), Step)
    scored = [group for step in steps for group in step.scored]
    work = Work(
        prompts=tuple(_ids(group.prompt for group in step.scored) for step in steps),
        prompt_tokens=sum(len(one.group.prompt_ids) for one in scored),
        generated_tokens=sum(one.group.generated_tokens for one in scored),
        trained_tokens=int(sum(step.figures["solver/trained_tokens"] for step in steps)),
        updates=int(sum(step.figures["solver/updates"] for step in steps)),
    )
    return Played(work, setup.steps, seconds)


@contextmanager
def _on_the_clock(clock: Clock) -> Iterator[dict[str, float]]:
    """Time from the first step after the warm-up to the commit of the last; then the checkpoint."""
    seconds: dict[str, float] = {}
    play, end = online.Player.play, online.Player.end
    began = 0.0

    def played(player: online.Player, numbers: Sequence[int]) -> list[Step]:
        nonlocal began
        if numbers[0] == WARM + 1:
            clock.seconds.clear()
            began = time.perf_counter()
        return play(player, numbers)

    def ended(player: online.Player) -> None:
        seconds.update(clock.seconds, steps=time.perf_counter() - began)
        with clock.at("checkpoint"):
            end(player)
        seconds["checkpoint"] = clock.seconds["checkpoint"]

    with (
        patch.object(online.Player, "play", played),
        patch.object(online.Player, "end", ended),
    ):
        yield seconds


@cache
def batches(setup: Setup) -> tuple[tuple[Prompt, ...], ...]:
    """Return the prompts of every step, in order: the game is played without a model.

    They hang on the rewards alone, which are drawn; so they are those of eva's side.
    """
    parts = Parts(setup.config(), progress=Silent())
    parts.engine = Mute()
    parts.learner = Mute()
    game = parts.game()
    assert isinstance(game, online.Game)
    game, journal = replace(game, reward=Lots(game.reward, setup.seed)), MemoryJournal()
    for _ in online.rounds(game, journal, until=1):
        pass
    steps = journal.read(Stage(1, online.STEPS), Step)
    return tuple(tuple(group.prompt for group in step.scored) for step in steps)


class Mute:
    """A policy that says nothing, and a learner that learns nothing."""

    def sample(
        self, prompts: Sequence[Prompt], params: SamplingParams, streams: Streams
    ) -> list[Group]:
        """Return groups of empty answers."""
        answers = (Response("", (0,), finish="length"),) * params.n
        return [Group(prompt, (0,), answers, "mute") for prompt in prompts]

    def learn(self, engine: Any, scored: Sequence[ScoredGroup], **place: int) -> dict[str, float]:
        """Learn nothing."""
        return {}

    def load(self, folder: Path | None, *, optimiser: bool = False) -> None:
        """Load nothing."""

    def save(self, folder: Path, *, optimiser: bool = False) -> None:
        """Save nothing."""


def _ids(prompts: Iterator[Prompt]) -> tuple[str, ...]:
    return tuple(sorted(prompt.id for prompt in prompts))
