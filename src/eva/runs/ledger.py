"""The commit point: one transaction per unit of work, and what follows from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from eva.errors import RunError
from eva.protocols import Tracker
from eva.runs import tracking
from eva.runs.durable import is_full
from eva.runs.faults import reach
from eva.runs.population import Population
from eva.runs.tables import Commit, Logged
from eva.types import Stage


class Ledger:
    """Commits work, with the metrics that were logged since the last commit."""

    def __init__(
        self,
        population: Population,
        *,
        lines: Path | None = None,
        tracker: Tracker | None = None,
    ) -> None:
        self.population = population
        self._lines = lines
        self._tracker = tracker
        self._pending: list[Logged] = []
        self._at = 0
        self._wrote: set[int] = set()

    def log(self, stage: Stage, metrics: Mapping[str, float], step: int | None) -> None:
        """Keep metrics for the next commit."""
        numbers = {name: float(value) for name, value in metrics.items()}
        self._pending.append(Logged(stage.round, stage.name, step, time.time(), numbers))

    def recall(self, commit: Commit) -> None:
        """Say that committed work is read.

        A resumed run that comes to it has logged anew what is kept with it already, and forgets
        that. A run that looks back at it, being further on, forgets nothing.
        """
        if (commit.seq or 0) > self._at:
            self._at = commit.seq or 0
            self._pending.clear()

    def wrote(self, commit: Commit) -> bool:
        """Whether this process made the commit."""
        return commit.seq in self._wrote

    def commit(self, commit: Commit, effects: Callable[[Population], None]) -> None:
        """Commit a unit of work; `effects` writes what it brings to the population."""
        metrics = list(self._pending)
        reach(f"{commit.stage}:before_commit")
        with self.population.transaction():
            effects(self.population)
            seq = self.population.add_commit(commit, metrics, time=time.time())
            reach(f"{commit.stage}:mid_commit")
        self._at = seq
        self._wrote.add(seq)
        self._pending.clear()
        reach(f"{commit.stage}:after_commit")
        self._publish(metrics)

    @contextmanager
    def reading(self, commit: Commit) -> Iterator[None]:
        """Add to a complaint about a damaged file what is whole, and what to do."""
        try:
            yield
        except RunError as error:
            policies = self.population.table("commits", kind="policy")
            whole = [
                row["file"] for row in policies if row["round"] < commit.round and row["result"]
            ]
            good = f"the last good state is {whole[-1]}" if whole else "no earlier policy is there"
            raise RunError(
                f"{error}. It belongs to round {commit.round}, {commit.stage}, {commit.kind} "
                f"{commit.part}; {good}. Put back a copy of the file, or start a new run"
            ) from error

    @contextmanager
    def saving(self, what: Path | str) -> Iterator[None]:
        """Say in plain words that the disk is full, if that is what stops the block."""
        try:
            yield
        except Exception as error:
            if not is_full(error):
                raise
            raise RunError(
                f"the disk is full: {what} could not be saved ({error}); the run is whole up to "
                f"{self.population.last()}. Free some space and resume the run"
            ) from error

    def _publish(self, rows: list[Logged]) -> None:
        if self._lines:
            tracking.append(self._lines, rows)
        if not self._tracker:
            return
        for row in rows:
            # Trackers count steps over the run; what has no step stands at the newest one.
            before = self.population.steps_before(row.round)
            newest = self.population.steps_before(row.round + 1)
            step = newest if row.step is None else before + row.step
            self._tracker.log(row.metrics, round=row.round, step=step)
