"""The seams of the online schedule, beside those of `eva.protocols`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from eva.protocols import Engine, Population
from eva.rng import Streams
from eva.types import Arrival, Draw, Estimates, Evolution, Floats, Prompt, ScoredGroup


class OnlineCreator(Protocol):
    """Chooses and evolves prompts batch by batch (arXiv:2411.00062, sec. 3.3.2)."""

    def draw(
        self,
        population: Population,
        streams: Streams,
        *,
        step: int,
        count: int = 0,
        beside: Sequence[str] = (),
    ) -> Draw:
        """Return the next batch of prompts, no prompt twice; 0 takes the creator's batch size.

        Fewer come back where there are too few. Those of `beside`, drawn for the same step before,
        are not drawn again.

        They leave the human set or the buffer at once, so that none is drawn twice by callers who
        fetch batches ahead. `population` holds the text of every prompt in the buffer.
        """
        ...

    def rank(
        self, rewards: Sequence[Sequence[float | None]], noise: Sequence[float] = ()
    ) -> Estimates:
        """Return the informativeness of a batch's prompts from their rewards, ragged (P, G).

        `noise` is the variance that an ensemble's disagreement adds to them, (P,).
        """
        ...

    def seeds(self, info: Floats, streams: Streams) -> tuple[int, ...]:
        """Return which of a batch's prompts are evolved, most informative first."""
        ...

    def evolve(
        self, seeds: Sequence[Prompt], population: Population, streams: Streams, *, phase: str
    ) -> list[Evolution]:
        """Return what became of each seed of a batch of that phase, in order."""
        ...

    def add(
        self, evolutions: Sequence[Evolution], info: Mapping[str, float], *, step: int
    ) -> list[str]:
        """Let children into the buffer, evict the oldest where it is full; return the evicted.

        `info` is the informativeness of a batch's prompts by id; NaN where there is none.
        """
        ...

    def remember(self, prompts: Sequence[Prompt]) -> None:
        """Let the gates know prompts that are in the population already."""
        ...

    def figures(self, *, step: int) -> dict[str, float]:
        """Return what to log of the buffer."""
        ...

    def save(self, folder: Path) -> None:
        """Write buffer and counters into a checkpoint's folder; texts are the population's."""
        ...

    def load(self, folder: Path | None) -> None:
        """Go on as the creator that wrote there; None begins anew. `remember` tells the gates."""
        ...


class Pace(Protocol):
    """Says when seeds are evolved."""

    @property
    def dropped(self) -> int:
        """Batches of seeds that are not evolved, for want of room or of time; so far."""
        ...

    def evolve(
        self, evolve: Callable[[], list[Evolution]], *, step: int, worth: Sequence[float]
    ) -> list[Arrival]:
        """See to it that `evolve` is called for the seeds of a step; return what has arrived.

        `worth` is the informativeness of the seeds, and comes back with what became of them.
        """
        ...

    def finish(self) -> list[Arrival]:
        """Drop what has not begun, wait for what has and return it; called in the last step."""
        ...

    def close(self) -> None:
        """Drop what has not begun, and wait for what has; called when the run ends or breaks."""
        ...


class Learner(Protocol):
    """Trains the policy on a batch of scored answers, step by step: online."""

    def learn(
        self, engine: Engine, scored: Sequence[ScoredGroup], *, step: int, total: int
    ) -> Mapping[str, float]:
        """Update the policy on the answers of one step; return what to log.

        `step` counts the run's steps from 0, of `total`: the learning rate follows from them.
        Figures are means over the batch, with `updates` and `trained_tokens` as sums. A batch that
        gives nothing to learn makes no update.

        Raises:
            SolverError: the loss or the gradient is not finite.
        """
        ...
