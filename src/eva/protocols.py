"""The seams. Every part of the game is one of these, handed to a schedule by its caller.

Implementations live in `creator/`, `solver/`, `engines/`, `rewards/`, `evals/` and `runs/`; they
import neither each other nor the schedules. None of these calls may reorder what it was given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from eva.rng import Streams
from eva.types import (
    Estimates,
    Evolution,
    Example,
    Floats,
    Group,
    Ints,
    Json,
    Loss,
    Pairing,
    Prompt,
    Proposal,
    Ragged,
    SamplingParams,
    ScoredGroup,
    Stage,
    Step,
)

if TYPE_CHECKING:
    from torch import Tensor


class Generator(Protocol):
    """Answers prompts."""

    def sample(
        self, prompts: Sequence[Prompt], params: SamplingParams, streams: Streams
    ) -> list[Group]:
        """Return one group per prompt, in order.

        Response i of a prompt draws from `streams.of(prompt.id, i)` alone. A prompt too long for
        the model comes back with no responses, never with a shortened prompt.

        Raises:
            GenerationError: the model or server is broken as a whole.
        """
        ...


class Objective(Protocol):
    """A loss as a pure function of per-token log-probs; see `eva.solver.objectives`."""

    def __call__(
        self,
        policy: tuple[Ragged, ...],
        reference: tuple[Ragged, ...] | None,
        columns: Mapping[str, Tensor | Ragged],
    ) -> Loss:
        """Return per-example values, (B,).

        `policy` and `reference` hold one `Ragged` per completion slot of the examples: (chosen,
        rejected) for pairs. `columns` holds tensors of (B,), and the examples' `tokens` as
        `Ragged`. The result for one example must not depend on the others: so it depends neither
        on micro-batches nor on the engine.
        """
        ...


class Engine(Generator, Protocol):
    """A policy that can be trained: the local engine, later a Tinker server."""

    @property
    def version(self) -> str:
        """Names the weights; changes with every optimiser step and load."""
        ...

    def logprobs(
        self, examples: Sequence[Example], *, base: bool = False
    ) -> list[tuple[tuple[float, ...], ...]]:
        """Return log-probs of every completion token, aligned with `completions`.

        They are the current policy's, or with `base` those of the weights the engine was made with.
        """
        ...

    def forward_backward(
        self, examples: Sequence[Example], objective: Objective, normaliser: float
    ) -> Mapping[str, float]:
        """Add to the gradient that of `sum(values) / normaliser`.

        Returns the sums over the examples of the objective's metrics, and of its values as `loss`.
        Micro-batching by token budget lives inside.

        Raises:
            SolverError: the loss or the gradient is not finite.
        """
        ...

    def step(self, lr: float, clip: float | None) -> float:
        """Apply and clear the gradient; return its norm before clipping."""
        ...

    def save(self, folder: Path, *, optimiser: bool = False) -> None:
        """Write weights (and optimiser state) to an empty or new folder, as safetensors."""
        ...

    def load(self, folder: Path | None, *, optimiser: bool = False) -> None:
        """Restore what `save` wrote; None restores the weights the engine was made with."""
        ...


class RewardModel(Protocol):
    """Scores answers: higher is better."""

    def score(self, groups: Sequence[Group]) -> list[ScoredGroup]:
        """Return the groups, in order, each response with a score or with why it has none.

        Raises:
            RewardError: more than half of 20 or more responses could not be scored.
        """
        ...


class Informativeness(Protocol):
    """Says how much the solver can learn from each prompt (arXiv:2411.00062, eq. 5 and 6)."""

    def __call__(self, rewards: Sequence[Sequence[float | None]]) -> Estimates:
        """Map the rewards of P prompts, ragged (P, G), to P estimates; None is left out."""
        ...


class Sampler(Protocol):
    """Draws the informative subset."""

    def __call__(self, info: Floats, k: int, rng: np.random.Generator) -> Ints:
        """Return k distinct indices into `info`, (P,), in order of drawing; NaN is never drawn.

        Fewer than k come back where fewer can be drawn.
        """
        ...


class Evolver(Protocol):
    """Writes new prompts from informative ones."""

    @property
    def chain(self) -> bool:
        """Whether an accepted child is the next parent (EvolInstruct), or all are siblings."""
        ...

    def propose(self, parents: Sequence[Prompt], step: int, streams: Streams) -> list[Proposal]:
        """Return one proposal per parent, in order; `step` counts the rewrites of a seed from 0."""
        ...


class Gate(Protocol):
    """Refuses bad children."""

    @property
    def name(self) -> str:
        """How refusals name it."""
        ...

    def __call__(self, child: Prompt, lineage: Sequence[Prompt]) -> str | None:
        """Return why the child is refused, or None.

        `lineage` is the child's parent (last) and as many of its ancestors as are known.
        """
        ...

    def remember(self, prompt: Prompt) -> None:
        """Take note of a prompt that entered the population; most gates need not."""
        ...


class Creator(Protocol):
    """Chooses informative prompts and evolves them (arXiv:2411.00062, Algorithm 1)."""

    @property
    def estimates(self) -> bool:
        """Whether it wants rewards: `uniform` informativeness needs no answers."""
        ...

    def estimate(
        self, rewards: Sequence[Sequence[float | None]], noise: Sequence[float] = ()
    ) -> Estimates:
        """Return the informativeness of prompts from the rewards of their responses, (P, G).

        `noise` is the variance that an ensemble's disagreement adds to them, (P,).
        """
        ...

    def sample(self, info: Floats, streams: Streams, prompts: Sequence[Prompt] = ()) -> Ints:
        """Return the indices of the informative subset, in order of drawing.

        `prompts` are those that `info` is of, for a draw that looks at their topics.
        """
        ...

    def evolve(
        self, seeds: Sequence[Prompt], population: Population, streams: Streams
    ) -> list[Evolution]:
        """Return what became of each seed, in order; `population` is every prompt known so far."""
        ...

    def mix(
        self, evolutions: Sequence[Evolution], originals: Sequence[Prompt], streams: Streams
    ) -> list[Prompt]:
        """Return the solver's prompts: as many as there are originals, most of them evolved."""
        ...


class Population(Protocol):
    """Every prompt ever."""

    def prompts(self, ids: Sequence[str] | None = None) -> list[Prompt]:
        """Return prompts by id, or all in order of entry."""
        ...


class Solver(Protocol):
    """Makes pairs of scored answers and trains the policy on them (Algorithm 1)."""

    @property
    def scratch(self) -> bool:
        """Whether every round trains the first weights on the pairs of all rounds so far."""
        ...

    @property
    def carries(self) -> bool:
        """Whether a round goes on with the optimiser's state of the last one."""
        ...

    def pair(self, scored: Sequence[ScoredGroup], streams: Streams) -> Pairing:
        """Return training examples, and why the other groups gave none."""
        ...

    def refer(self, engine: Engine, examples: Sequence[Example]) -> list[Example]:
        """Attach the reference's log-probs; the engine holds the round's first policy."""
        ...

    def cost(self, examples: Sequence[Example]) -> int:
        """Return how many tokens training on the examples processes."""
        ...

    def train(
        self, engine: Engine, examples: Sequence[Example], journal: Journal, streams: Streams
    ) -> Mapping[str, Json]:
        """Train, commit the round's policy to `journal.checkpoints`, and return a summary."""
        ...


class ResponseRewriter(Protocol):
    """Improves the policy's best answers before pairs are made of them."""

    def rewrite(
        self, scored: Sequence[ScoredGroup], policy: Generator, streams: Streams
    ) -> list[Group]:
        """Return a group per scored one, in order, with the rewrite of its best answer, or none."""
        ...


class Evaluator(Protocol):
    """Measures a policy on prompts it does not train on."""

    @property
    def name(self) -> str:
        """Prefix of its metrics."""
        ...

    def evaluate(self, policy: Generator, streams: Streams) -> Mapping[str, Json]:
        """Answer the held-out prompts; return `rows` by prompt and `metrics` by full name."""
        ...


class Watch(Protocol):
    """Looks for signs of trouble after every round; see `eva.alarms`."""

    def look(
        self,
        records: Sequence[Mapping[str, Json]],
        past: Sequence[Sequence[Mapping[str, Json]]],
        *,
        before: Mapping[str, Mapping[str, Json]],
        after: Mapping[str, Mapping[str, Json]],
    ) -> list[Json]:
        """Return the alarms of the round that ended, as JSON.

        Each has `alarm` (its name), `value`, `limit`, `says`, whether it `stops` the run, and
        `rolls_back`: the rounds whose policies it takes back. `records` are those of the rounds so
        far, `past` the alarms of the rounds before; `before` and `after` the results of evaluators
        for the first policy and the round's, by name, empty where it was not measured.
        """
        ...


R = TypeVar("R", Group, ScoredGroup, Evolution, Example, Step, Mapping[str, Json])
T = TypeVar("T")


class Journal(Population, Protocol):
    """Remembers what was done, so that a resumed run does not do it again; see `eva.runs`."""

    def map(
        self,
        stage: Stage,
        items: Sequence[T],
        produce: Callable[[Sequence[T]], Sequence[R]],
        *,
        rows: type[R],
        chunk: int,
    ) -> list[R]:
        """Return `produce` of all items, chunk by chunk, one result per item.

        A chunk is committed as it is done: its rows as Parquet, and what they say of prompts
        (scores, children, refusals) to the population. Committed chunks are read, not produced.
        """
        ...

    def once(self, stage: Stage, produce: Callable[[], Json]) -> Json:
        """Return what `produce` returns; if it was committed before, that, unproduced."""
        ...

    def checkpoints(self, stage: Stage) -> Checkpoints:
        """Return the checkpoints of a training stage."""
        ...

    def log(self, stage: Stage, metrics: Mapping[str, float], *, step: int | None = None) -> None:
        """Record metrics; they are kept with the next commit, and dropped if none follows."""
        ...

    def admit(self, prompts: Sequence[Prompt]) -> None:
        """Add human prompts to the population; those already there are left as they are."""
        ...

    def prompts(self, ids: Sequence[str] | None = None) -> list[Prompt]:
        """Return prompts of the population by id, or all in order of entry."""
        ...

    def read(self, stage: Stage, rows: type[R]) -> list[R]:
        """Return all committed rows of a stage that `map` went through; empty if it never ran."""
        ...


class Checkpoints(Protocol):
    """The checkpoints of one training stage."""

    def latest(self) -> tuple[int, Path] | None:
        """Return the optimiser step and folder of the newest committed checkpoint."""
        ...

    def commit(self, step: int, write: Callable[[Path], None], *, final: bool = False) -> Path:
        """Let `write` fill a new folder and commit it; older ones beyond the retention go.

        The `final` checkpoint of a stage is its policy and is kept under `policy/`.
        """
        ...


class Progress(Protocol):
    """Watches a run live."""

    def begin(self, stage: Stage, total: int, *, done: int = 0, unit: str = "prompts") -> None:
        """Say that a stage begins, or goes on with `done` of `total` behind it."""
        ...

    def advance(self, done: int, **figures: float) -> None:
        """Say that `done` units are behind it, with the newest figures (`reward`, `loss`).

        `tokens` are those since `begin`: the rate is made of them.
        """
        ...

    def end(self) -> None:
        """Say that the stage has ended."""
        ...


class Tracker(Protocol):
    """Receives metrics."""

    def log(self, metrics: Mapping[str, float], *, round: int, step: int) -> None:
        """Record metrics of a round (and of an optimiser step, counted over the run)."""
        ...

    def close(self) -> None:
        """Flush and end."""
        ...
