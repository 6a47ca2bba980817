"""The checkpoints of a training stage: folders that are committed, then thinned out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from eva.errors import RunError
from eva.runs.durable import Files, Mark
from eva.runs.faults import reach
from eva.runs.ledger import Ledger
from eva.runs.population import Population
from eva.runs.tables import Commit
from eva.types import Stage


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept of checkpoints."""

    steps: int = 1
    """Newest checkpoints of a stage in training; none stays once the final one is there."""
    policies: int | None = None
    """Final checkpoints of the newest rounds, at least 2; None keeps all."""


KEEP = Retention()


class RunCheckpoints:
    """The checkpoints of one stage: `rounds/003/solver/train/step-000020/`, then `policy/`."""

    def __init__(self, ledger: Ledger, files: Files, stage: Stage, *, keep: Retention) -> None:
        self._ledger = ledger
        self._files = files
        self._stage = stage
        self._keep = keep

    def latest(self) -> tuple[int, Path] | None:
        """Return the optimiser step and folder of the newest committed checkpoint.

        Raises:
            RunError: a file of it is missing, or is not what was committed.
        """
        population = self._ledger.population
        commits = population.commits(self._stage, "policy") or self._steps(population)
        if not commits:
            return None
        # a kill right after a commit leaves folders that the commit retired
        self._remove_retired()
        newest = commits[-1]
        self._ledger.recall(newest)
        if newest.result is None:
            raise RunError(
                f"{self._files.root / newest.file} was removed, as the policies of the newest "
                "rounds alone are kept; keep more of them in the next run"
            )
        marks = {name: Mark(**mark) for name, mark in newest.result.items()}
        with self._ledger.reading(newest):
            # What this process wrote it need not read again: a policy can take many gigabytes.
            thorough = not self._ledger.wrote(newest)
            return newest.part, self._files.check_folder(newest.file, marks, thorough=thorough)

    def commit(self, step: int, write: Callable[[Path], None], *, final: bool = False) -> Path:
        """Let `write` fill a new folder and commit it; older ones beyond the retention go."""
        round, stage = self._stage.round, self._stage.name
        name = f"rounds/{round:03d}/policy" if final else f"{self._folder}/step-{step:06d}"
        kind = "policy" if final else "step"
        reach(f"{stage}:before_work")
        with self._ledger.saving(self._files.root / name):
            marks = self._files.write_folder(name, write, stage=stage)
            size = sum(mark.size for mark in marks.values())
            result = {file: asdict(mark) for file, mark in marks.items()}
            commit = Commit(round, stage, kind, step, rows=0, file=name, size=size, result=result)
            self._ledger.commit(commit, self._retire(final=final))
        self._remove_retired()
        return self._files.root / name

    def _steps(self, population: Population) -> list[Commit]:
        return population.commits(self._stage, "step")

    @property
    def _folder(self) -> str:
        return f"rounds/{self._stage.round:03d}/{self._stage.name}"

    def _retire(self, *, final: bool) -> Callable[[Population], None]:
        keep = self._keep

        def effects(population: Population) -> None:
            older = self._steps(population)
            # The checkpoint being committed is not among them yet, and counts.
            stay = 0 if final else keep.steps - 1
            population.drop_commits(older[: len(older) - stay])
            if final and keep.policies:
                # A round that is resumed before its record is written begins with the last policy.
                kept = max(2, keep.policies)
                population.retire_policies(before=self._stage.round - kept + 1)

        return effects

    def _remove_retired(self) -> None:
        root, population = self._files.root, self._ledger.population
        kept = {commit.file for commit in self._steps(population)}
        for folder in (root / self._folder).glob("step-*"):
            if folder.relative_to(root).as_posix() not in kept:
                shutil.rmtree(folder)
        for row in population.table("commits", kind="policy"):
            if row["result"] is None:
                shutil.rmtree(root / row["file"], ignore_errors=True)
