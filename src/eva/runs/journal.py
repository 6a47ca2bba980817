"""The journal of a run: what was done is kept, and not done again.

What a call returns is always what would be read back, never the objects that were produced: so a
resumed run and an unbroken one work on the same values, to the bit.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from eva.errors import RunError
from eva.protocols import Progress, R
from eva.runs import parquet
from eva.runs.checkpoints import KEEP, Retention, RunCheckpoints
from eva.runs.durable import Files, Mark
from eva.runs.faults import reach
from eva.runs.ledger import Ledger
from eva.runs.population import Population
from eva.runs.tables import Commit
from eva.runs.tracking import strict
from eva.types import Evolution, Group, Json, Prompt, ScoredGroup, Stage, Step

T = TypeVar("T")

ESTIMATES = "creator/sample"
"""The stage whose result is also kept as estimates: it has `ids`, `values`, `errors`, (P,), and
`drawn`, indices into them, in order of drawing."""


class RunJournal:
    """Implements `eva.protocols.Journal` on a population and a set of files."""

    def __init__(
        self,
        ledger: Ledger,
        files: Files,
        *,
        progress: Progress | None = None,
        keep: Retention = KEEP,
    ) -> None:
        self._ledger = ledger
        self._files = files
        self._progress = progress
        self._keep = keep

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

        Raises:
            RunError: a committed chunk is damaged or does not fit the items, `produce` returned
                another number of rows than it got items, or the disk is full.
        """
        done = {commit.part: commit for commit in self._ledger.population.commits(stage, "chunk")}
        parts = [items[start : start + chunk] for start in range(0, len(items), chunk)]
        results: list[R] = []
        tally: Counter[str] = Counter()
        unit = "steps" if rows is Step else "prompts"
        with self._watched(stage, len(items), done.values(), unit=unit) as advance:
            for part, batch in enumerate(parts):
                if part in done:
                    results += self._recall(done[part], len(batch), rows)
                else:
                    made = self._produce(stage, batch, produce, part=part, kind=rows)
                    results += made
                    tally.update(counts(made))
                    advance(len(results), figures(tally))
        return results

    def once(self, stage: Stage, produce: Callable[[], Json]) -> Json:
        """Return what `produce` returns; if it was committed before, that, unproduced."""
        done = self._ledger.population.commits(stage, "once")
        if done:
            self._ledger.recall(done[0])
            return done[0].result
        reach(f"{stage.name}:before_work")
        result = json.loads(json.dumps(produce()))
        name = f"{_folder(stage)}.json"
        with self._ledger.saving(self._files.root / name):
            text = json.dumps(strict(result), ensure_ascii=False, indent=1) + "\n"
            mark = self._files.write(name, text.encode(), stage=stage.name)
            self._ledger.commit(
                _commit(stage, "once", 0, rows=0, file=name, mark=mark, result=result),
                lambda population: _keep_estimates(population, stage, result),
            )
        return result

    def checkpoints(self, stage: Stage) -> RunCheckpoints:
        """Return the checkpoints of a training stage."""
        return RunCheckpoints(self._ledger, self._files, stage, keep=self._keep)

    def log(self, stage: Stage, metrics: Mapping[str, float], *, step: int | None = None) -> None:
        """Record metrics; they are kept with the next commit, and dropped if none follows."""
        self._ledger.log(stage, metrics, step)

    def admit(self, prompts: Sequence[Prompt]) -> None:
        """Add human prompts to the population; those already there are left as they are."""
        population = self._ledger.population
        with self._ledger.saving("the population"), population.transaction():
            population.add_prompts(prompts)

    def set_aside(self, source: str, rows: Iterable[tuple[str, str]]) -> None:
        """List what could not be used of a data set: where in it, and why."""
        population = self._ledger.population
        with self._ledger.saving("the population"), population.transaction():
            population.add_set_aside(source, rows)

    def prompts(self, ids: Sequence[str] | None = None) -> list[Prompt]:
        """Return prompts of the population by id, or all in order of entry."""
        return self._ledger.population.prompts(ids)

    def read(self, stage: Stage, rows: type[R]) -> list[R]:
        """Return all committed rows of a stage that `map` went through; empty if it never ran.

        Raises:
            RunError: a chunk is damaged.
        """
        chunks = self._ledger.population.commits(stage, "chunk")
        return [row for chunk in chunks for row in self._recall(chunk, chunk.rows, rows)]

    def _produce(
        self,
        stage: Stage,
        batch: Sequence[T],
        produce: Callable[[Sequence[T]], Sequence[R]],
        *,
        part: int,
        kind: type[R],
    ) -> list[R]:
        reach(f"{stage.name}:before_work")
        made = produce(batch)
        if len(made) != len(batch):
            raise RunError(
                f"{stage}: got {len(made)} rows for {len(batch)} items, expected one each"
            )
        table = parquet.encode(made, kind)
        rows = parquet.decode(table, kind)
        name = f"{_folder(stage)}/{part:05d}.parquet"
        with self._ledger.saving(self._files.root / name):
            mark = self._files.write(name, parquet.to_bytes(table), stage=stage.name)
            self._ledger.commit(
                _commit(stage, "chunk", part, rows=len(rows), file=name, mark=mark),
                lambda population: population.add_rows(stage, rows),
            )
        return rows

    def _recall(self, commit: Commit, expected: int, kind: type[R]) -> list[R]:
        self._ledger.recall(commit)
        with self._ledger.reading(commit):
            if commit.rows != expected:
                raise RunError(
                    f"{self._files.root / commit.file} holds {commit.rows} rows, "
                    f"expected {expected}: was it written with another chunk size or prompt set?"
                )
            data = self._files.read(commit.file, Mark(commit.size, commit.digest))
            return parquet.decode(parquet.from_bytes(data), kind, file=commit.file)

    @contextmanager
    def _watched(
        self, stage: Stage, total: int, done: Iterable[Commit], *, unit: str
    ) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
        progress = self._progress
        if progress is None:
            yield lambda count, figures: None
            return
        progress.begin(stage, total, done=sum(commit.rows for commit in done), unit=unit)
        try:
            yield lambda count, figures: progress.advance(count, **figures)
        finally:
            progress.end()


def counts(rows: Sequence[object]) -> Counter[str]:
    """Return what a chunk's rows add to the figures of its stage."""
    tally: Counter[str] = Counter()
    for row in rows:
        if isinstance(row, Group | Evolution):
            tally["tokens"] += row.generated_tokens
        if isinstance(row, Evolution):
            tally["refused"] += row.refused
        if isinstance(row, ScoredGroup):
            rewards = [reward for reward in row.rewards if reward is not None]
            tally["scored"] += len(rewards)
            tally["rewards"] += sum(rewards)  # type: ignore[assignment]
        if isinstance(row, Step):
            tally.update(counts([*(s.group for s in row.scored), *row.scored, *row.evolutions]))
    return tally


def figures(tally: Mapping[str, float]) -> dict[str, float]:
    """Return what a watcher sees of a stage, from what this process has done of it.

    Tokens sampled, proposals refused, and the mean reward.
    """
    shown = {name: float(tally[name]) for name in ("tokens", "refused") if name in tally}
    if tally.get("scored"):
        shown["reward"] = tally["rewards"] / tally["scored"]
    return shown


def _folder(stage: Stage) -> str:
    return f"rounds/{stage.round:03d}/{stage.name}"


def _commit(
    stage: Stage, kind: str, part: int, *, rows: int, file: str, mark: Mark, result: Json = None
) -> Commit:
    where = (stage.round, stage.name, kind, part)
    return Commit(*where, rows, file, mark.size, mark.digest, result)


def _keep_estimates(population: Population, stage: Stage, result: Json) -> None:
    if stage.name == ESTIMATES and isinstance(result, dict):
        population.add_informativeness(stage.round, result)
