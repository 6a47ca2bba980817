"""The ladder's arms, and one run of one of them: a game of online eva with RLOO.

Arms of one seed have the same human prompts and random streams; the model and the held-out prompts
are the same for all.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from ladder_model import Warm
from ladder_task import EASY, LEVELS, MOVES, TASKS, Exact, Repeated, Rewrite, heldout, prompts

from eva import online, records
from eva.creator.informativeness import METRICS
from eva.creator.online import BufferCreator, OnlineSizes
from eva.creator.pace import AtOnce
from eva.creator.sampling import SAMPLERS
from eva.engines.local import LocalEngine
from eva.engines.policy import load_policy
from eva.protocols import Generator
from eva.rng import Streams
from eva.runs.checkpoints import Retention
from eva.runs.memory import MemoryJournal
from eva.solver.online import make_policy_gradient_learner
from eva.solver.updates import UpdateSettings
from eva.types import Json, Prompt, SamplingParams, ScoredGroup, Stage, Step

Row: TypeAlias = dict[str, Json]

DRAWN = 2
"""Answers sampled to each held-out prompt, at the temperature of training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bed:
    """What all arms have in common."""

    steps: int = 240
    every: int = 60
    """Steps between two evaluations."""
    human: int = 512
    heldout: int = 14
    """Held-out prompts of each task and level."""
    answers: int = 8
    max_tokens: int = 12
    lr: float = 1.5e-4
    warmup: int = 20
    """Steps until the learning rate is reached: AdamW's first ones are large for what they know."""
    warm: Warm = field(default_factory=Warm)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """What makes an arm different: the defaults are eva."""

    words: str = ""
    metric: str = "a_avg"
    sampler: str = "greedy"
    operators: tuple[str, ...] | None = tuple(MOVES)
    """None evolves nothing: the seeds themselves enter the buffer."""
    top: int = EASY
    """Highest level of the human prompts."""
    sizes: OnlineSizes = field(default_factory=lambda: OnlineSizes(buffer=256))


def _sized(**sizes: Any) -> OnlineSizes:
    return OnlineSizes(**{"buffer": 256, **sizes})


MAIN: Mapping[str, Arm] = MappingProxyType(
    {
        "eva": Arm(words="seeds are the top half by a_avg, the buffer is drawn by it"),
        "uniform evolving": Arm(
            # equal worth: ties are broken at random, and the buffer is drawn uniformly
            words="seeds and draws from the buffer are blind",
            metric="uniform",
        ),
        "no evolving": Arm(words="seeds themselves enter the buffer", operators=None),
        "static": Arm(words="the human prompts, over and over", sizes=_sized(children=0)),
        "static, all levels": Arm(
            words="human prompts of every level: no such set is there in earnest",
            top=LEVELS,
            sizes=_sized(children=0),
        ),
    }
)
"""The arms of the main table; the others are compared with the first."""


WIDE: Mapping[str, Arm] = MappingProxyType(
    {
        "eva, all levels": Arm(top=LEVELS),
        "uniform evolving, all levels": Arm(metric="uniform", top=LEVELS),
        "static, all levels": MAIN["static, all levels"],
    }
)
"""Arms whose human prompts are of every level, half of them without contrast: there is more to
choose among than in the main table. The others are compared with the first."""


def _without(operator: str) -> Arm:
    return Arm(operators=tuple(name for name in MOVES if name != operator))


ABLATIONS: Mapping[str, Mapping[str, Arm]] = MappingProxyType(
    {
        "metric": {
            "uniform evolving": MAIN["uniform evolving"],
            **{
                f"metric {name}": Arm(metric=name)
                for name in ("a_min", "a_dts", "var", "learnability", "avg", "inverse_avg")
            },
        },
        "sampler": {
            f"sampler {name}": Arm(sampler=name)
            for name in ("weighted", "stratified", "rank", "uniform")
        },
        "operators": {
            "only harder": Arm(operators=("harder",)),
            "only again": Arm(operators=("again",)),
            **{f"without {name}": _without(name) for name in ("harder", "easier", "switch")},
        },
        "shares": {
            "replayed 0.25": Arm(sizes=_sized(replayed=0.25)),
            "replayed 0.75": Arm(sizes=_sized(replayed=0.75)),
            "evolved 0.25": Arm(sizes=_sized(evolved=0.25)),
            "evolved 1": Arm(sizes=_sized(evolved=1.0)),
        },
        "buffer": {
            "buffer 64": Arm(sizes=_sized(buffer=64)),
            "buffer 1024": Arm(sizes=_sized(buffer=1024)),
            "drawn uniformly": Arm(sizes=_sized(draw="uniform")),
            "drawn greedily": Arm(sizes=_sized(draw="greedy")),
        },
        "staleness": {
            "staleness 0.02": Arm(sizes=_sized(staleness=0.02)),
            "staleness 0.1": Arm(sizes=_sized(staleness=0.1)),
            "shrink 0": Arm(sizes=_sized(shrink=0.0)),
            "shrink 1": Arm(sizes=_sized(shrink=1.0)),
        },
    }
)
"""Arms of the further tables; each is eva but for one thing."""

ARMS: Mapping[str, Arm] = MappingProxyType(
    {**MAIN, **WIDE, **{name: arm for table in ABLATIONS.values() for name, arm in table.items()}}
)


@cache
def heldout_of(bed: Bed) -> tuple[Prompt, ...]:
    """Return the held-out prompts."""
    return heldout(bed.heldout)


def play(name: str, seed: int, *, bed: Bed, model: Path) -> list[Row]:
    """Play a run; return a row for the beginning and one for every evaluation after it."""
    begun, worked = time.perf_counter(), time.process_time()
    game, journal = make_game(ARMS[name], seed, bed=bed, model=model), _journal()
    rows: list[Row] = []
    for record in online.rounds(game, journal, until=bed.steps // bed.every):
        rounds = (0, 1) if not rows else (record["round"],)
        for t in rounds:
            rows.append(_row(journal, t, before=rows[-1] if rows else {}))
    spent = {"seconds": time.perf_counter() - begun, "cpu": time.process_time() - worked}
    rows[-1] |= {name: round(value, 1) for name, value in spent.items()}
    return [{"arm": name, "seed": seed, "step": i * bed.every, **row} for i, row in enumerate(rows)]


def make_game(arm: Arm, seed: int, *, bed: Bed, model: Path) -> online.Game:
    """Return the game of an arm."""
    held = heldout_of(bed)
    rng = Streams(seed, 0, "ladder/human").of()
    human = prompts(bed.human, range(1, arm.top + 1), rng, without=held)
    creator = BufferCreator(
        human,
        informativeness=METRICS[arm.metric],
        sampler=SAMPLERS[arm.sampler],
        evolver=Rewrite(arm.operators) if arm.operators else None,
        gates=(Repeated(held),),
        sizes=arm.sizes,
    )
    answers = SamplingParams(n=bed.answers, temperature=1.0, top_p=1.0, max_tokens=bed.max_tokens)
    return online.Game(
        human=human,
        engine=LocalEngine(load_policy(model)),
        reward=Exact(),
        answers=answers,
        evaluators=(Climbed(held, max_tokens=bed.max_tokens),),
        per_round=len(human),
        seed=seed,
        evaluate_every_round=True,
        learner=make_policy_gradient_learner(
            "rloo", updates=UpdateSettings(lr=bed.lr, warmup=bed.warmup)
        ),
        creator=creator,
        pace=AtOnce(),
        steps=bed.every,
        total=bed.steps,
        commit_every=bed.every,
        checkpoint_every=bed.every,
    )


@dataclass(frozen=True, slots=True)
class Climbed:
    """Answers the held-out prompts: success by task and level."""

    prompts: tuple[Prompt, ...]
    max_tokens: int
    name: str = "climbed"

    def evaluate(self, policy: Generator, streams: Streams) -> dict[str, Json]:
        """Return success of sampled and of greedy answers; see `eva.protocols.Evaluator`."""
        ways = {"sampled": (DRAWN, 1.0), "greedy": (1, 0.0)}
        found: dict[str, Json] = {}
        for name, (n, temperature) in ways.items():
            params = SamplingParams(n, temperature, 1.0, self.max_tokens)
            scored = Exact().score(policy.sample(self.prompts, params, streams))
            found[name] = {task: _by_level(scored, task) for task in TASKS}
        return {"metrics": {}, "rows": [], **found}


def _by_level(scored: Sequence[ScoredGroup], task: str) -> list[float]:
    """Return the mean reward of a task's prompts, from level 1 on."""
    rewards: dict[int, list[float]] = {level: [] for level in range(1, LEVELS + 1)}
    for one in scored:
        if one.prompt.columns["task"] == task:
            rewards[one.prompt.columns["level"]] += [r for r in one.rewards if r is not None]
    return [float(np.mean(some)) for some in rewards.values()]


def _row(journal: MemoryJournal, t: int, *, before: Row) -> Row:
    """Return what the policy can do after round t, and what that round was made of."""
    result = journal.once(Stage(t, "evaluate/climbed"), dict)
    steps = journal.read(Stage(t, "online/steps"), Step) if t else []
    spent = sum(group.group.generated_tokens for step in steps for group in step.scored)
    return {
        "tokens": before.get("tokens", 0) + spent,
        "success": _short(np.mean([*result["sampled"].values()], axis=0)),
        "greedy": _short(np.mean([*result["greedy"].values()], axis=0)),
        "tasks": {task: _short(values) for task, values in result["sampled"].items()},
        **(_window(steps) if steps else {}),
    }


def _window(steps: Sequence[Step]) -> Row:
    """Return what steps were made of: levels are lists of counts, from level 1 on."""
    scored = [group for step in steps for group in step.scored]
    seeds = [step.scored[i].prompt for step in steps for i in step.seeds]
    evolutions = [evolution for step in steps for evolution in step.evolutions]
    children = [child for evolution in evolutions for child in evolution.children]
    refusals = Counter(r.gate for evolution in evolutions for r in evolution.refusals)
    answers = records.of_answers(scored)
    return {
        "phases": dict(Counter(step.phase for step in steps)),
        "trained": _levels(group.prompt for group in scored),
        "contrast": _levels(group.prompt for group in scored if _contrast(group)),
        "seeds": _levels(seeds),
        "children": _levels(children),
        "evolved": sum(group.prompt.evolved for group in scored),
        "evolved_contrast": sum(group.prompt.evolved and _contrast(group) for group in scored),
        "different": len({group.prompt.id for group in scored}),
        "refused": dict(sorted(refusals.items())),
        **{k: round(answers[k], 3) for k in ("reward_mean", "length_mean")},
        **{
            k.removeprefix("creator/"): round(v, 3)
            for k, v in steps[-1].figures.items()
            if "buffer" in k
        },
    }


def _contrast(group: ScoredGroup) -> bool:
    return len(set(group.rewards)) > 1


def _levels(prompts: Iterable[Prompt]) -> list[int]:
    found = Counter(prompt.columns["level"] for prompt in prompts)
    return [found[level] for level in range(1, LEVELS + 1)]


def _short(values: Iterable[float]) -> list[float]:
    return [round(float(value), 4) for value in values]


def _journal() -> MemoryJournal:
    return MemoryJournal(keep=Retention(policies=2))
