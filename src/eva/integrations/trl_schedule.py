"""Which prompt is in which slot: one schedule for all ranks, which the first of them owns.

Generation batches are judged in order, once each; the next ones are drawn as late as the trainer's
loader allows. Prompts, scores, refusals and lineage are in a population, which only grows; a
checkpoint says how far it had grown, and a resumed run takes back what came after.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from eva import disagreement
from eva.creator.online import BufferCreator
from eva.errors import RunError
from eva.integrations.trl_rewards import Answer
from eva.integrations.trl_rows import Format, Row
from eva.integrations.trl_slots import Layout
from eva.rng import Streams
from eva.runs.population import Population
from eva.types import (
    Draw,
    Estimates,
    Evolution,
    Group,
    Json,
    Prompt,
    Response,
    Score,
    ScoredGroup,
    Stage,
)

VERSION = 1
"""Version of the state in a checkpoint."""

PHASES = ("warm-up", "mix-up", "bootstrap")
"""The phases, by their number in the logs."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is: a checkpoint of another one is not taken."""

    human: tuple[Prompt, ...]
    """Human prompts, in order of use."""
    layout: Layout
    batches: int
    """Generation batches of the run."""
    format: Format
    seed: int

    def digest(self) -> str:
        """Return a hash of the human prompts in their order."""
        ids = "".join(prompt.id for prompt in self.human)
        return hashlib.blake2b(ids.encode(), digest_size=8).hexdigest()


class Schedule:
    """Judges answered batches, evolves their seeds, and draws the batches that come."""

    def __init__(self, plan: Plan, creator: BufferCreator, population: Population) -> None:
        """Make a schedule; it needs `begin` or `restore`."""
        self.population = population
        self.figures: list[Mapping[str, float]] = []
        """What to log of the batches judged since it was last emptied."""
        self._plan = plan
        self._creator = creator
        self._draws: dict[int, Draw] = {}
        self._drawn = 0
        self._judged = 0

    def begin(self) -> None:
        """Begin with an empty population."""
        with self.population.transaction():
            self.population.add_prompts(self._plan.human)
        self._creator.remember(self._plan.human)

    def judge(self, answers: Sequence[Answer], *, step: int) -> None:
        """Rank and evolve the generation batches that these are answers to; all ranks' answers.

        A batch that was judged before is left alone: a trainer that resumes in the middle of one
        answers it again.

        Raises:
            RunError: answers of a batch are missing.
        """
        size = self._plan.layout.prompts
        groups: dict[int, list[Answer]] = {}
        for answer in answers:
            groups.setdefault(answer.slot, []).append(answer)
        for batch in sorted({slot // size for slot in groups}):
            slots = range(batch * size, (batch + 1) * size)
            self._refuse_incomplete(slots, groups)
            if batch >= self._judged:
                self._judge(batch, [groups[slot] for slot in slots], step)
                self._judged = batch + 1

    def draw(self, last: int) -> dict[int, list[Row]]:
        """Return the rows of the batches up to `last` that were not drawn before."""
        begin = self._drawn
        for batch in range(begin, min(last + 1, self._plan.batches)):
            streams = self._streams(batch, "draw")
            draw = self._creator.draw(
                self.population, streams, step=batch + 1, count=self._plan.layout.prompts
            )
            if len(draw.prompts) != self._plan.layout.prompts:
                raise RunError(
                    f"generation batch {batch}: {len(draw.prompts)} prompts, expected "
                    f"{self._plan.layout.prompts}: too few human prompts, add some"
                )
            self._draws[batch] = draw
            self._drawn = batch + 1
        return self.rows(begin)

    def rows(self, begin: int) -> dict[int, list[Row]]:
        """Return the rows of the batches held, from `begin` on."""
        size, row = self._plan.layout.prompts, self._plan.format.row
        return {
            batch: [row(prompt, batch * size + i) for i, prompt in enumerate(draw.prompts)]
            for batch, draw in self._draws.items()
            if batch >= begin
        }

    def forget(self, before: int) -> None:
        """Forget the batches that are trained on no more."""
        self._draws = {batch: draw for batch, draw in self._draws.items() if batch >= before}

    # ── a checkpoint ──────────────────────────────────────────────────────────────────────────

    def state(self) -> dict[str, Json]:
        """Return what `restore` needs, as JSON."""
        from safetensors.numpy import save

        position = self.population.position()
        return {
            "version": VERSION,
            "layout": asdict(self._plan.layout),
            "human": self._plan.digest(),
            "seed": self._plan.seed,
            "judged": self._judged,
            "drawn": self._drawn,
            "draws": {
                str(batch): asdict(draw) | {"prompts": [prompt.id for prompt in draw.prompts]}
                for batch, draw in self._draws.items()
            },
            "creator": base64.b64encode(save(self._creator.state())).decode(),
            "population": position,
            "newest": self._newest(position),
        }

    def restore(self, state: Mapping[str, Json]) -> None:
        """Go on from a checkpoint; what the population got after it is taken back.

        Raises:
            RunError: it is of another run, or the population is.
        """
        from safetensors.numpy import load

        self._refuse_other(state)
        with self.population.transaction():
            self.population.rewind(state["population"])
        self._judged, self._drawn = state["judged"], state["drawn"]
        self._draws = {
            int(batch): Draw(
                **(draw | {"prompts": tuple(self.population.prompts(draw["prompts"]))})
            )
            for batch, draw in state["draws"].items()
        }
        self._creator.restore(load(base64.b64decode(state["creator"])))
        self._creator.remember(self.population.prompts())

    def _refuse_other(self, state: Mapping[str, Json]) -> None:
        plan = self._plan
        if state["version"] > VERSION:
            raise RunError(f"checkpoint: eva's state has version {state['version']}: update eva")
        for name, now, remedy in (
            ("seed", plan.seed, "seed"),
            ("layout", asdict(plan.layout), "batch size, generations, accumulation and processes"),
            ("human", plan.digest(), "data set, constraints and shuffle_dataset"),
        ):
            if state[name] != now:
                raise RunError(
                    f"checkpoint: {name} was {state[name]} and is {now}: resume with the same "
                    f"{remedy}, or begin anew"
                )
        newest = self._newest(state["population"])
        if newest != state["newest"]:
            raise RunError(
                f"the population does not go with the checkpoint: its prompt "
                f"{state['population']['prompts']} is {newest or 'missing'}, expected "
                f"{state['newest']}: put back the population.sqlite that was beside the "
                "checkpoint, or name its folder by Creator(folder=...)"
            )

    def _newest(self, position: Mapping[str, int]) -> str:
        found = self.population.table("prompts", entry=position["prompts"])
        return str(found[0]["id"]) if found else ""

    # ── a batch ───────────────────────────────────────────────────────────────────────────────

    def _refuse_incomplete(self, slots: Sequence[int], groups: Mapping[int, list[Answer]]) -> None:
        wanted = self._plan.layout.answers
        for slot in slots:
            got = len(groups.get(slot, ()))
            if got != wanted:
                raise RunError(
                    f"slot {slot}: {got} answers were scored, expected {wanted}: a reward "
                    "function was called for part of the batch; leave it to the trainer to call"
                )

    def _judge(self, batch: int, answers: Sequence[Sequence[Answer]], step: int) -> None:
        creator, draw = self._creator, self._draws[batch]
        groups = [
            _scored(prompt, given, policy=f"step-{step}")
            for prompt, given in zip(draw.prompts, answers, strict=True)
        ]
        estimates = creator.rank([group.rewards for group in groups], disagreement.noise(groups))
        seeds = creator.seeds(estimates.values, self._streams(batch, "seeds"))
        evolutions = creator.evolve(
            [draw.prompts[i] for i in seeds],
            self.population,
            self._streams(batch, "evolve"),
            phase=draw.phase,
        )
        self._record(batch, groups, estimates=estimates, seeds=seeds, evolutions=evolutions)
        worth = {draw.prompts[i].id: float(estimates.values[i]) for i in seeds}
        creator.add(evolutions, worth, step=batch + 1)
        self.figures.append(
            _figures(draw, groups, estimates=estimates, evolutions=evolutions)
            | {
                name.removeprefix("creator/"): value
                for name, value in creator.figures(step=batch + 1).items()
            }
        )

    def _record(
        self,
        batch: int,
        groups: Sequence[ScoredGroup],
        *,
        estimates: Estimates,
        seeds: Sequence[int],
        evolutions: Sequence[Evolution],
    ) -> None:
        rows: dict[str, Sequence[Json]] = {
            "ids": [group.prompt.id for group in groups],
            "values": _known(estimates.values.tolist()),
            "errors": _known(estimates.errors.tolist()),
            "drawn": seeds,
        }
        with self.population.transaction():
            self.population.add_rows(Stage(batch + 1, "trl/score"), groups)
            self.population.add_informativeness(batch + 1, rows)
            self.population.add_rows(Stage(batch + 1, "trl/evolve"), evolutions)

    def _streams(self, batch: int, what: str) -> Streams:
        return Streams(self._plan.seed, batch + 1, f"trl/{what}")


def open_population(path: Path, *, new: bool) -> Population:
    """Open a run's population; one of an earlier run is moved aside where a new run begins.

    Raises:
        RunError: a run is resumed, and it is not there, or damaged.
    """
    if not new and not path.is_file():
        raise RunError(
            f"{path}: no such file, expected the population of the run that is resumed: put it "
            "back, or name its folder by Creator(folder=...)"
        )
    if new:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            path.rename(_free(path))
        path.touch()
    population = Population(path)
    if new:
        population.create()
    population.check()
    return population


def _free(path: Path) -> Path:
    number = 1
    while (free := path.with_name(f"{path.stem}.{number}{path.suffix}")).exists():
        number += 1
    return free


def _scored(prompt: Prompt, answers: Sequence[Answer], *, policy: str) -> ScoredGroup:
    # texts and tokens stay with the trainer: what counts here are numbers
    responses = tuple(
        Response("", (), finish="length" if answer.truncated else "stop") for answer in answers
    )
    scores = tuple(
        Score(a.reward, cause="none" if a.reward is None else "", members=a.members)
        for a in answers
    )
    return ScoredGroup(Group(prompt, (), responses, policy), scores)


def _figures(
    draw: Draw,
    groups: Sequence[ScoredGroup],
    *,
    estimates: Estimates,
    evolutions: Sequence[Evolution],
) -> dict[str, float]:
    rewards = [group.rewards for group in groups]
    disagreed = disagreement.figures(groups, _known(estimates.values.tolist()))
    info = [value for value in estimates.values.tolist() if not math.isnan(value)]
    flat = sum(len({r for r in group if r is not None}) < 2 for group in rewards)
    unscored = sum(reward is None for group in rewards for reward in group)
    return {
        "phase": float(PHASES.index(draw.phase)),
        **({"info_mean": sum(info) / len(info)} if info else {}),
        **{name: value for name, value in disagreed.items() if value is not None},
        "without_contrast": flat / len(groups),
        "unscored": unscored / sum(map(len, rewards)),
        "replayed": float(draw.replayed),
        "recycled": float(draw.recycled),
        "children": float(sum(len(evolution.children) for evolution in evolutions)),
        "refused": float(sum(evolution.refused for evolution in evolutions)),
    }


def _known(values: Sequence[float]) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values]
