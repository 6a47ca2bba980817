"""What both schedules do: play round after round, answer and score, hold a policy, evaluate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from eva.errors import RunError
from eva.protocols import Engine, Evaluator, Journal, RewardModel
from eva.rng import Streams
from eva.types import Group, Json, Prompt, SamplingParams, ScoredGroup, Stage

Record: TypeAlias = Mapping[str, Json]

TRAINING = "solver/train"
"""The stage whose final checkpoint is a round's policy."""


@dataclass(frozen=True, kw_only=True)
class Game:
    """The parts that a game has whatever its schedule."""

    human: tuple[Prompt, ...]
    """Human prompts, in order of use."""
    engine: Engine
    reward: RewardModel
    answers: SamplingParams
    evaluators: tuple[Evaluator, ...] = ()
    per_round: int = 10_000
    """Human prompts that are there from the beginning: the first ones."""
    seed: int = 42
    chunk: int = 64
    """Prompts between two commits."""
    servers: Callable[[], dict[str, Json]] = dict
    """Returns what a record says of servers: what they were asked and cost so far."""
    evaluate_before: bool = True
    evaluate_every_round: bool = False


def rounds(
    game: Game, journal: Journal, *, until: int, play: Callable[[Sequence[Record]], Record]
) -> Iterator[Record]:
    """Play rounds 1 to `until` and yield their records; committed ones are not played again.

    `play` plays the next round, given the records of those before it.
    """
    refuse_other_prompts(game, journal)
    journal.admit(game.human[: game.per_round])
    if game.evaluators and game.evaluate_before:
        journal.once(Stage(0, "evaluate"), partial(evaluate, game, journal, 0))
    history: list[Record] = []
    for t in range(1, until + 1):
        record = journal.once(Stage(t, "record"), partial(play, history))
        history.append(record)
        if game.evaluators and (t == until or game.evaluate_every_round):
            journal.once(Stage(t, "evaluate"), partial(evaluate, game, journal, t))
        yield record


def refuse_other_prompts(game: Game, journal: Journal) -> None:
    """Raise where a resumed run is given other human prompts than it began with."""
    given = [prompt.id for prompt in game.human]
    if journal.once(Stage(0, "prompts"), lambda: given) != given:
        raise RunError(
            "the human prompts are not those that the run began with: their source has changed; "
            "restore it, or begin a new run"
        )


def answer_and_score(
    game: Game, journal: Journal, stage: Stage, *, prompts: Sequence[Prompt], draws: str = ""
) -> list[ScoredGroup]:
    """Let the current policy answer the prompts n times each, then the reward score the answers.

    `draws` names the random streams, by default after the stage.
    """
    streams = Streams(game.seed, stage.round, draws or f"{stage.name}/answer")
    groups = journal.map(
        Stage(stage.round, f"{stage.name}/answer"),
        prompts,
        lambda chunk: game.engine.sample(chunk, game.answers, streams),
        rows=Group,
        chunk=game.chunk,
    )
    return journal.map(
        Stage(stage.round, f"{stage.name}/score"),
        groups,
        game.reward.score,
        rows=ScoredGroup,
        chunk=game.chunk,
    )


def hold_policy(game: Game, journal: Journal, t: int, *, optimiser: bool = False) -> None:
    """Make the engine hold the policy that round t ended with; 0 is the first policy."""
    latest = journal.checkpoints(Stage(t, TRAINING)).latest() if t else None
    if t and latest is None:
        raise RunError(f"round {t}: its policy was never committed: the solver must commit one")
    game.engine.load(latest[1] if latest else None, optimiser=optimiser and latest is not None)


def evaluate(game: Game, journal: Journal, t: int) -> Json:
    """Measure the policy that round t ended with; every evaluator is committed as it is done."""
    hold_policy(game, journal, t)
    metrics: dict[str, float] = {}
    for evaluator in game.evaluators:
        # the round of the streams is 0: before and after are answered with the same draws
        streams = Streams(game.seed, 0, f"evaluate/{evaluator.name}")
        result = journal.once(
            Stage(t, f"evaluate/{evaluator.name}"),
            partial(evaluator.evaluate, game.engine, streams),
        )
        metrics |= result["metrics"]
    journal.log(Stage(t, "evaluate"), metrics)
    return metrics
