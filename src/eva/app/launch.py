"""Training in processes of its own: the driver starts them, hears from them, and commits for them.

The driver writes the examples and the policy to start from into the run folder and starts torchrun.
The processes (`eva.app.training_process`) train as one; the first of them reports metrics and
checkpoints, one JSON object a line, and the driver logs and commits these as if it had trained
itself. So a killed stage resumes from the journal alone, and memory is free when the stage ends.

    rounds/003/train_job/     examples.parquet · job.json · start/ · step-000050/ · stderr.txt
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from eva.app.config import Config
from eva.errors import SolverError
from eva.protocols import Checkpoints, Engine, Journal
from eva.rng import Streams
from eva.runs import parquet
from eva.solver.fitting import plan_updates
from eva.solver.solver import PairSolver
from eva.types import Example, Json, Stage

ENTRY = ("-m", "eva.app.training_process")
"""What every process runs."""

_PATIENCE_S = 30.0
"""Seconds that processes have to end once they are told to."""


@dataclass(frozen=True, kw_only=True)
class LaunchedSolver(PairSolver):
    """A solver whose training runs in `game.run.processes` processes; the rest runs here."""

    game: Config
    folder: Path
    """The run folder."""
    entry: tuple[str, ...] = ENTRY

    def train(
        self, engine: Engine, examples: Sequence[Example], journal: Journal, streams: Streams
    ) -> Mapping[str, Json]:
        """Train and commit the round's policy; return updates and trained tokens.

        Raises:
            SolverError: a process ended with an error, whose words the message has; or all ended
                without one before the last update was made.
        """
        plan = plan_updates(examples, settings=self.fitting, streams=streams)
        stage = Stage(streams.round, streams.stage)
        checkpoints = journal.checkpoints(stage)
        latest = checkpoints.latest()
        done = latest[0] if latest else 0
        self.progress.begin(stage, len(plan), done=done, unit="updates")
        if done != len(plan):
            job = self._prepare(engine, examples, streams, latest=latest)
            self._train(job, journal, stage)
            latest = checkpoints.latest()
        if latest is None or latest[0] != len(plan):
            raise SolverError(
                f"round {stage.round}, {stage.name}: the training processes ended without an error "
                f"after {latest[0] if latest else 0} of {len(plan)} updates; resuming goes on from "
                "there"
            )
        # also where an interrupted attempt came as far as the last update
        shutil.rmtree(self._job(stage.round), ignore_errors=True)
        self.progress.end()
        engine.load(latest[1], optimiser=self.carries)
        tokens = sum(examples[i].trained_tokens for batch in plan for i in batch)
        return {"updates": len(plan), "trained_tokens": tokens}

    def _job(self, round: int) -> Path:
        return self.folder / f"rounds/{round:03d}/train_job"

    def _prepare(
        self,
        engine: Engine,
        examples: Sequence[Example],
        streams: Streams,
        *,
        latest: tuple[int, Path] | None,
    ) -> Path:
        """Write the job's folder, in place of what an interrupted attempt left."""
        job = self._job(streams.round)
        shutil.rmtree(job, ignore_errors=True)
        job.mkdir(parents=True)
        parquet.write(job / "examples.parquet", examples, kind=Example)
        step, start = latest or (0, job / "start")
        if latest is None:
            engine.save(start, optimiser=self.carries)
        described = {
            "game": self.game.model_dump(mode="json"),
            "streams": [streams.seed, streams.round, streams.stage],
            "step": step,
            "start": str(start.absolute()),
        }
        (job / "job.json").write_text(json.dumps(described, indent=1), encoding="utf-8")
        return job

    def _train(self, job: Path, journal: Journal, stage: Stage) -> None:
        """Start the processes, and do what they report until they have ended."""
        run = self.game.run
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += ["--nproc_per_node", str(run.processes), *self.entry, str(job)]
        checkpoints = journal.checkpoints(stage)
        trained = 0.0
        with _processes(command, job, threads=run.threads, share=run.processes) as process:
            for line in process.stdout or ():
                if not line.startswith("{"):
                    continue  # a library's own words
                event = json.loads(line)
                if "metrics" in event:
                    step, metrics = event["step"], event["metrics"]
                    journal.log(stage, metrics, step=step)
                    figures = {name.rpartition("/")[2]: value for name, value in metrics.items()}
                    trained += figures["tokens"]
                    self.progress.advance(step, **figures | {"tokens": trained})
                else:
                    _adopt(checkpoints, event)
            code = process.wait()
        if code:
            raise SolverError(
                f"round {stage.round}, {stage.name}: of {run.processes} training processes one "
                f"ended with an error (exit code {code}): {_words(job, code)}\n"
                f"(all they wrote is in {job}; resuming goes on from the last checkpoint)"
            )


def launched(solver: PairSolver, game: Config, folder: Path) -> LaunchedSolver:
    """Return a solver that does the same, and trains in processes of its own."""
    fields = {name: getattr(solver, name) for name in PairSolver.__dataclass_fields__}
    return LaunchedSolver(**fields, game=game, folder=folder)


def _adopt(checkpoints: Checkpoints, event: Mapping[str, Json]) -> None:
    """Commit a checkpoint that a process wrote: its files are moved, not copied."""
    written = Path(event["folder"])

    def move(folder: Path) -> None:
        for path in written.iterdir():
            path.rename(folder / path.name)

    checkpoints.commit(event["step"], move, final=event["final"])
    written.rmdir()


@contextmanager
def _processes(
    command: Sequence[str], job: Path, *, threads: int, share: int
) -> Iterator[subprocess.Popen[str]]:
    """Run the launcher; whatever happens here, its processes do not outlive the block."""
    each = threads or max(1, (os.cpu_count() or 1) // share)
    environment = {"OMP_NUM_THREADS": str(each)} | dict(os.environ)
    with (job / "stderr.txt").open("wb") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, env=environment, encoding="utf-8"
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout:
            process.stdout.close()


_KILLED = re.compile(
    r"Root Cause .*?rank +: (\d+).*?exitcode +: -\d+ .*?\((SIG(?!TERM)\w+)\)", re.DOTALL
)
"""How the launcher says that a process ended by a signal, its own to the others aside."""


def _words(job: Path, code: int) -> str:
    """Return what the process that failed first says; else the launcher's last lines.

    One that was killed says nothing, and the others that they lost it: then the signal is named.
    """
    if code < 0:
        return f"the launcher was ended by {signal.Signals(-code).name}"
    launcher = (job / "stderr.txt").read_text(encoding="utf-8", errors="replace")
    if killed := _KILLED.search(launcher):
        rank, name = killed.groups()
        hint = ", as a system does that has no memory left" if name == "SIGKILL" else ""
        return f"process {rank} was ended by {name}{hint}"
    errors = sorted(job.glob("error-*.txt"), key=lambda path: path.stat().st_mtime_ns)
    said = errors[0].read_text(encoding="utf-8", errors="replace") if errors else launcher
    lines = said.strip().splitlines()
    return "\n".join(lines[-20:])
