"""One of the processes that train a launched stage as one; `eva.app.launch` starts them.

What its driver needs to know goes to standard output, one JSON object a line; an error goes to
`error-RANK.txt` in the job's folder.
"""

from __future__ import annotations

import json
import os
import select
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import TextIO

from eva.app.build import solver
from eva.app.load import parse_config
from eva.app.policy import local_engine
from eva.engines.distributed import join
from eva.errors import EvaError
from eva.rng import Streams
from eva.runs import parquet
from eva.solver.fitting import fit
from eva.types import Example, Json, Stage


class _Reports:
    """What a process tells the driver: progress, metrics and checkpoints of a stage."""

    def __init__(
        self, job: Path, send: Callable[[Json], None], latest: tuple[int, Path] | None
    ) -> None:
        self._job = job
        self._send = send
        self._latest = latest

    def begin(self, stage: Stage, total: int, *, done: int = 0, unit: str = "prompts") -> None:
        """Say nothing: the driver knows."""

    def advance(self, done: int, **figures: float) -> None:
        """Say nothing: metrics say it."""

    def end(self) -> None:
        """Say nothing: the process ends."""

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Report the metrics of an update."""
        self._send({"step": step, "metrics": dict(metrics)})

    def latest(self) -> tuple[int, Path] | None:
        """Return the checkpoint that the stage goes on from, if it has one."""
        return self._latest

    def commit(self, step: int, write: Callable[[Path], None], *, final: bool = False) -> Path:
        """Write a checkpoint and report it; the driver moves it into the run."""
        folder = self._job / f"step-{step:06d}"
        write(folder)
        self._send({"step": step, "folder": str(folder.absolute()), "final": final})
        return folder


def train(job: Path, events: TextIO) -> None:
    """Train as one of the processes of a job, and report to `events` if it is the first."""
    import torch.distributed as dist

    described = json.loads((job / "job.json").read_text(encoding="utf-8"))
    game = parse_config(described["game"], where=str(job / "job.json"))
    # processes join first: that gives each its device
    ranks = join(game.run.strategy)

    def send(event: Json) -> None:
        if ranks.rank == 0:
            events.write(json.dumps(event) + "\n")
            events.flush()

    if ranks.rank == 0:
        Thread(target=_end_with_reader, args=(events.fileno(),), daemon=True).start()
    step, start = described["step"], Path(described["start"])
    reports = _Reports(job, send, (step, start) if step else None)
    parts = solver(game, reports)
    engine = local_engine(game, ranks=ranks)
    if not step:
        engine.load(start, optimiser=parts.carries)
    fit(
        engine,
        parquet.read(job / "examples.parquet", kind=Example),
        objective=parts.objective,
        settings=parts.fitting,
        checkpoints=reports,
        streams=Streams(*described["streams"]),
        log=reports.log,
        progress=reports,
    )
    if dist.is_initialized():
        dist.destroy_process_group()


def _end_with_reader(descriptor: int) -> None:
    """End this process when nobody reads its reports: a killed driver leaves none behind."""
    watch = select.poll()
    watch.register(descriptor, 0)  # hang-ups and errors are always told
    watch.poll()
    os._exit(1)


def main(arguments: Sequence[str]) -> int:
    """Run one process of a job; its errors go to a file for the driver."""
    job = Path(arguments[0])
    # reports have the standard output to themselves: prints of libraries go to standard error
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as events:
        os.dup2(2, 1)
        try:
            train(job, events)
        except Exception as error:
            words = f"{type(error).__name__}: {error}"
            if not isinstance(error, EvaError):
                words = traceback.format_exc()
            name = f"error-{os.environ.get('RANK', '0')}.txt"
            (job / name).write_text(words, encoding="utf-8")
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
