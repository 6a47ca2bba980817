"""Online eva (arXiv:2411.00062, sec. 3.3.2): prompts evolve batch by batch, as the policy trains.

    draw a batch ─► answer ─► score ─► update the policy
                                 └───► rank the batch ─► evolve its top half ─► buffer ─► next draw

A step is one such batch; `eva.creator.online` says where its prompts come from. A round is a number
of steps: what is recorded, evaluated and kept as a policy together.

Departures from the paper, and what it leaves open

- Every draw has a random stream of its own; a step's answers, scores and evolved prompts are
  committed, a few steps at a time, and the policy with the buffer every so many steps. A resumed
  run goes from the newest checkpoint through the recorded steps again, without asking the policy,
  the reward or the rewriter: to the same bits.
- The batch is evolved after the update, so a policy that rewrites its own prompts is the new one.
- Added, off by default: prompts whose answers all earn the same are dropped and others drawn
  (`refills`), a bounded number of times; then the batch is smaller.
- Added, off by default: another model rewrites in the background (`eva.creator.pace`), and
  updates do not wait for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from eva import records, schedule
from eva.disagreement import noise
from eva.errors import RunError
from eva.protocols import Journal, Progress
from eva.protocols_online import Learner, OnlineCreator, Pace
from eva.rng import Streams
from eva.schedule import TRAINING, Record
from eva.types import Draw, Prompt, ScoredGroup, Stage, Step

__all__ = ["Game", "rounds"]

STEPS = "online/steps"
"""The stage whose rows are the steps of a round."""


@dataclass(frozen=True, kw_only=True)
class Game(schedule.Game):
    """The parts of a game of online eva."""

    learner: Learner
    creator: OnlineCreator
    pace: Pace
    """When seeds are evolved: at once, or in the background."""
    steps: int = 100
    """Steps of a round."""
    total: int = 100
    """Steps of the run, which the schedule of the learning rate spans."""
    refills: int = 0
    """How often a step draws again for prompts without contrast."""
    commit_every: int = 8
    """Steps between two commits."""
    checkpoint_every: int = 50
    """Steps between two checkpoints of policy and buffer."""
    progress: Progress | None = None
    """Hears of every step, also of those not committed yet."""


def rounds(game: Game, journal: Journal, *, until: int) -> Iterator[Record]:
    """Play rounds 1 to `until` and yield their records; committed ones are not played again.

    To go on after an interruption, make the game anew: its gates know what was never committed.
    """
    return schedule.rounds(game, journal, until=until, play=partial(play_round, game, journal))


def play_round(game: Game, journal: Journal, history: Sequence[Record]) -> Record:
    """Play the steps of the next round and commit its policy, with the creator beside it."""
    t = len(history) + 1
    player = Player(game, journal, t)
    steps = journal.map(
        Stage(t, STEPS), player.numbers, player.play, rows=Step, chunk=game.commit_every
    )
    player.end()
    record = records.of_steps(t, steps) | game.servers()
    journal.log(Stage(t, "record"), records.figures(record))
    return record


class Player:
    """Plays the steps of one round, from wherever the run is."""

    def __init__(self, game: Game, journal: Journal, t: int) -> None:
        self.game = game
        self.journal = journal
        self.t = t
        self.numbers = range((t - 1) * game.steps + 1, t * game.steps + 1)
        """The round's steps, counted over the run from 1."""
        self._next: int | None = None
        self._kept = 0
        self._fresh: dict[str, Prompt] = {}
        self._tokens = 0
        self._refused = 0.0

    def play(self, numbers: Sequence[int]) -> list[Step]:
        """Play steps that are committed together; those before them are committed."""
        self._catch_up(numbers[0])
        if numbers[0] - self._kept > self.game.checkpoint_every:
            self._checkpoint(numbers[0] - 1)
        return [self._play(number) for number in numbers]

    def end(self) -> None:
        """Commit the round's policy."""
        self._catch_up(self.numbers.stop)
        self._checkpoint(self.numbers.stop - 1, final=True)

    def prompts(self, ids: Sequence[str] | None = None) -> list[Prompt]:
        """Return prompts by id: of the population, or written since the last commit."""
        fresh = self._fresh  # never changed, only replaced: a background thread may be here, too
        if ids is None:
            return [*self.journal.prompts(), *fresh.values()]
        known = [id for id in ids if id not in fresh]
        found = {prompt.id: prompt for prompt in self.journal.prompts(known)} | fresh
        return [found[id] for id in ids]

    # ── a step ────────────────────────────────────────────────────────────────────────────────

    def _play(self, number: int) -> Step:
        """Draw, answer, score, update, rank, evolve, buffer."""
        game = self.game
        draws, scored, dropped = self._batch(number)
        learned = game.learner.learn(game.engine, scored, step=number - 1, total=game.total)
        estimates = game.creator.rank([group.rewards for group in scored], noise(scored))
        seeds = game.creator.seeds(estimates.values, self._streams(number, "seeds"))
        arrivals = game.pace.evolve(
            partial(
                game.creator.evolve,
                [scored[i].prompt for i in seeds],
                self,
                self._streams(number, "evolve"),
                phase=draws[0].phase,
            ),
            step=number,
            worth=[float(estimates.values[i]) for i in seeds],
        )
        if number == game.total:
            # no step comes after this one, and what the rewriter is at is paid for
            arrivals += game.pace.finish()
        step = records.of_step(
            number,
            draws=draws,
            dropped_tokens=dropped,
            scored=scored,
            estimates=estimates,
            seeds=seeds,
            arrivals=arrivals,
        )
        self._add(step)
        update = {f"solver/{name}": value for name, value in learned.items()}
        step = replace(step, figures=update | self._standing(number))
        place = number - self.numbers.start + 1
        figures = records.step_figures(step)
        self.journal.log(Stage(self.t, TRAINING), figures, step=place)
        self._tell(place, step, figures)
        return step

    def _standing(self, number: int) -> dict[str, float]:
        """Return figures of what waits: the buffer, and seeds that found no room."""
        not_evolved = {"creator/not_evolved": float(self.game.pace.dropped)}
        return not_evolved | self.game.creator.figures(step=number)

    def _tell(self, place: int, step: Step, figures: Mapping[str, float]) -> None:
        self._tokens += sum(group.group.generated_tokens for group in step.scored)
        self._tokens += step.dropped_tokens
        self._refused += figures["creator/refused"]
        if self.game.progress is None:
            return
        shown = {"reward": "solver/reward_mean", "info": "creator/info_mean"}
        known = {name: figures[path] for name, path in shown.items() if path in figures}
        self.game.progress.advance(place, tokens=self._tokens, refused=self._refused, **known)

    def _batch(self, number: int) -> tuple[list[Draw], list[ScoredGroup], int]:
        """Draw, answer and score; with refills, draw again for prompts without contrast.

        The number is that of the tokens sampled for prompts that were dropped.
        """
        game = self.game
        draws: list[Draw] = []
        kept: list[ScoredGroup] = []
        missing = sampled = 0
        for _ in range(1 + game.refills):
            drawn = [prompt.id for draw in draws for prompt in draw.prompts]
            draws.append(self._draw(number, drawn, missing))
            groups = game.engine.sample(
                draws[-1].prompts, game.answers, self._streams(number, "answer")
            )
            scored = game.reward.score(groups)
            sampled += sum(group.generated_tokens for group in groups)
            kept += [g for g in scored if not (game.refills and records.lacks_contrast(g))]
            missing = len(draws[0].prompts) - len(kept)
            if not missing:
                break
        return draws, kept, sampled - sum(group.group.generated_tokens for group in kept)

    def _draw(self, number: int, beside: Sequence[str], count: int) -> Draw:
        """Draw prompts for a step, beside those that were drawn for it before."""
        streams = self._streams(number, f"draw-{len(beside)}")
        draw = self.game.creator.draw
        return draw(self, streams, step=number, count=count, beside=beside)

    def _add(self, step: Step) -> None:
        """Let what was evolved into the buffer."""
        info = {e.parent_id: w for e, w in zip(step.evolutions, step.worth, strict=True)}
        self.game.creator.add(step.evolutions, info, step=step.number)
        children = [child for evolution in step.evolutions for child in evolution.children]
        self._fresh = self._fresh | {child.id: child for child in children}
        self._next = step.number + 1

    def _again(self, step: Step) -> None:
        """Go through a recorded step: the same state follows, and nobody is asked anything."""
        game = self.game
        drawn: list[str] = []
        missing = 0
        for i, size in enumerate(step.draws):
            draw = self._draw(step.number, drawn, missing)
            drawn += [prompt.id for prompt in draw.prompts]
            known = [group.prompt.id for group in step.scored if group.prompt.id in drawn]
            missing = step.draws[0] - len(known)
            last = i + 1 == len(step.draws)
            if len(draw.prompts) != size or (last and len(known) != len(step.scored)):
                raise RunError(
                    f"step {step.number}: other prompts are drawn now than were recorded: the "
                    "population, the config or the code has changed; begin a new run"
                )
        game.learner.learn(game.engine, step.scored, step=step.number - 1, total=game.total)
        game.creator.rank([group.rewards for group in step.scored], noise(step.scored))
        self._add(step)

    def _streams(self, number: int, what: str) -> Streams:
        return Streams(self.game.seed, self.t, f"online/step-{number}/{what}")

    # ── where the run is ──────────────────────────────────────────────────────────────────────

    def _catch_up(self, number: int) -> None:
        """Bring policy and creator to where step `number` begins."""
        self._fresh = {}  # what came before is committed
        if self._next is None:
            self._next = self._load()
        if self._next < number:
            first = self.numbers.start
            recorded = self.journal.read(Stage(self.t, STEPS), Step)
            for step in recorded[self._next - first : number - first]:
                self._again(step)

    def _load(self) -> int:
        """Load the newest checkpoint of policy and creator; return the step that comes next."""
        game = self.game
        latest = self._latest(self.t)
        done = latest[0] if latest else 0
        policy = creator = latest
        if latest is None and self.t > 1:
            # where a round was taken back its policy goes, and its prompts stay
            creator = self._latest(self.t - 1)
            before = schedule.standing(game, self.journal, self.t - 1)
            policy = self._latest(before) if before else None
        game.engine.load(policy[1] if policy else None, optimiser=policy is not None)
        game.creator.load(creator[1] if creator else None)
        game.creator.remember(self.journal.prompts())
        self._kept = self.numbers.start + done - 1
        return self._kept + 1

    def _latest(self, t: int) -> tuple[int, Path] | None:
        return self.journal.checkpoints(Stage(t, TRAINING)).latest()

    def _checkpoint(self, number: int, *, final: bool = False) -> None:
        """Commit policy, optimiser and creator as step `number` left them, unless they are."""
        checkpoints = self.journal.checkpoints(Stage(self.t, TRAINING))
        place = number - self.numbers.start + 1
        latest = checkpoints.latest()
        if latest is None or latest[0] < place:
            checkpoints.commit(place, self._write, final=final)
        self._kept = number

    def _write(self, folder: Path) -> None:
        self.game.engine.save(folder, optimiser=True)
        self.game.creator.save(folder)
