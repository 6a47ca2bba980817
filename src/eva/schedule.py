"""What both schedules do: play rounds, answer and score, hold a policy, evaluate, raise alarms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from eva.errors import AlarmError, RunError
from eva.protocols import Engine, Evaluator, Journal, RewardModel, Watch
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
    watch: Watch | None = None
    """Looks for signs of trouble after every round; None raises no alarm."""
    past_alarms: int = 0
    """The round up to which alarms have been seen, and stop the run no more."""


def rounds(
    game: Game, journal: Journal, *, until: int, play: Callable[[Sequence[Record]], Record]
) -> Iterator[Record]:
    """Play rounds 1 to `until` and yield their records; committed ones are not played again.

    `play` plays the next round, given the records of those before it.

    Raises:
        AlarmError: an alarm stops the run; what was played is committed.
    """
    refuse_other_prompts(game, journal)
    journal.admit(game.human[: game.per_round])
    if game.evaluators and game.evaluate_before:
        journal.once(Stage(0, "evaluate"), partial(evaluate, game, journal, 0))
    history: list[Record] = []
    for t in range(1, until + 1):
        record = journal.once(Stage(t, "record"), partial(play, history))
        history.append(record)
        evaluated = bool(game.evaluators) and (t == until or game.evaluate_every_round)
        if evaluated:
            journal.once(Stage(t, "evaluate"), partial(evaluate, game, journal, t))
        if game.watch:
            asked = partial(look, game, journal, history, evaluated=evaluated)
            journal.once(Stage(t, "alarms"), asked)
        yield record
        if game.watch and game.past_alarms < t < until:
            obey(alarms(journal, t), t)


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


def obey(raised: Sequence[Mapping[str, Json]], t: int) -> None:
    """Raise if an alarm of round t stops the run."""
    stops = [f"{alarm['alarm']}: {alarm['says']}" for alarm in raised if alarm["stops"]]
    if stops:
        raise AlarmError(
            f"stopped after round {t}. {'. '.join(stops)}. Everything played is kept; see "
            "`eva report`, and go on with `eva resume RUN --past-alarms`"
        )


def look(game: Game, journal: Journal, history: Sequence[Record], *, evaluated: bool) -> Json:
    """Return the alarms of the round whose record is the last one."""
    assert game.watch is not None, "nobody looks"
    t = len(history)
    measured = {0: game.evaluate_before, t: evaluated}
    before, after = (_results(game, journal, i) if measured[i] else {} for i in (0, t))
    past = [alarms(journal, i) for i in range(1, t)]
    return game.watch.look(history, past, before=before, after=after)


def alarms(journal: Journal, t: int) -> Sequence[Mapping[str, Json]]:
    """Return the alarms of a round that is over."""
    found: Sequence[Mapping[str, Json]] = journal.once(Stage(t, "alarms"), _missing)
    return found


def standing(game: Game, journal: Journal, t: int) -> int:
    """Return the round whose policy holds after round t: an earlier one where t was taken back."""
    if not game.watch:
        return t
    back = taken_back(alarm for i in range(1, t + 1) for alarm in alarms(journal, i))
    return next(i for i in range(t, -1, -1) if i not in back)


def taken_back(raised: Iterable[Mapping[str, Json]]) -> set[int]:
    """Return the rounds whose policies alarms take back; the first policy, 0, is never one."""
    return {t for alarm in raised for t in alarm["rolls_back"]} - {0}


def _results(game: Game, journal: Journal, t: int) -> dict[str, Mapping[str, Json]]:
    """Return what the evaluators said of the policy of round t, by name."""
    return {e.name: journal.once(Stage(t, f"evaluate/{e.name}"), _missing) for e in game.evaluators}


def _missing() -> Json:
    raise RunError("a result that the run needs was never committed: begin a new run")


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
