"""What a run folder says, read once, for everything that is shown of a run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from eva.app.results import alarms, comparisons, evaluations
from eva.runs.folder import RunFolder
from eva.runs.tables import Logged
from eva.schedule import TRAINING, taken_back
from eva.types import Json
from eva.views import steps
from eva.views.lineage import Lineage, Row
from eva.views.steps import StepLine


@dataclass(frozen=True)
class Findings:
    """A run as it stands: finished, interrupted, or being played."""

    path: Path
    info: Mapping[str, Json]
    """What `run.json` says."""
    records: Sequence[Mapping[str, Json]]
    """Of the rounds that are done, in order; see `eva.records`."""
    measured: Mapping[int, Mapping[str, Mapping[str, Json]]]
    """Results of evaluators by round (0 is before the first) and name."""
    compared: Mapping[str, Mapping[str, Json]]
    """Before against after by evaluator; empty where either is missing."""
    lineage: Lineage
    training: Sequence[Logged]
    """Metrics of the optimiser's steps, or online of the schedule's, in order."""
    set_aside: Sequence[Row]
    commits: Sequence[Row]
    alarms: Sequence[Row] = ()
    """Signs of trouble, by round; see `eva.alarms`."""
    steps: Sequence[StepLine] = ()
    """The committed steps of an online run."""

    @classmethod
    def read(cls, run: Path) -> Findings:
        """Read a run folder, whether or not a process is playing the run.

        Raises:
            RunError: there is no run, or it is damaged.
        """
        with RunFolder.open_readonly(run) as folder:
            population = folder.population
            commits = population.table("commits")
            lines = steps.read(folder.path, commits)
            return cls(
                path=run,
                info=folder.info,
                records=folder.records(),
                measured=evaluations(folder),
                compared=comparisons(folder),
                lineage=Lineage.read(population, lines),
                training=[
                    row
                    for row in population.metrics()
                    if row.stage == TRAINING and row.step is not None
                ],
                set_aside=population.table("set_aside"),
                commits=commits,
                alarms=alarms(folder),
                steps=lines,
            )

    @property
    def config(self) -> Mapping[str, Json]:
        """The config as played."""
        config: Mapping[str, Json] = self.info["config"]
        return config

    @property
    def online(self) -> bool:
        """Whether prompts evolve step by step."""
        return self.config.get("schedule") == "online"

    @property
    def rounds(self) -> int:
        """Rounds that the run is to have."""
        return int(self.config.get("rounds", len(self.records)))

    @property
    def status(self) -> str:
        """How far the run is."""
        done = f"{len(self.records)} of {self.rounds} rounds"
        if self.online:
            total = self.rounds * int(self.config["online"]["steps"])
            done += f", {len(self.steps):,} of {total:,} steps"
        if self.info.get("status") == "finished":
            return f"finished, {done}"
        if self.stopped:
            return f"stopped by an alarm, {done}"
        return f"not finished: {done}, last commit {self.last}"

    @property
    def stopped(self) -> bool:
        """Whether an alarm of the newest round stopped the run."""
        if self.info.get("status") == "finished" or len(self.records) == self.rounds:
            return False
        passed = self.info.get("past_alarms", 0)
        newest = {
            (alarm["round"], "alarms")
            for alarm in self.alarms
            if alarm["stops"] and alarm["round"] > passed
        }
        return bool(self.commits) and _place(self.commits[-1]) in newest

    @property
    def after(self) -> str:
        """What to know of the policy that `compared` has as the last; mostly nothing."""
        round = len(self.records)
        if not (round in taken_back(self.alarms) and self.compared):
            return ""
        return f"After is the policy of round {round}, which was taken back: an earlier one stands."

    @property
    def last(self) -> str:
        """Where the newest commit stands."""
        if not self.commits:
            return "none"
        round, stage = _place(self.commits[-1])
        return f"round {round}, {stage}"

    @property
    def began(self) -> datetime:
        """When the folder was made."""
        return datetime.fromisoformat(self.info["created"])

    @property
    def seconds(self) -> float:
        """Time from the folder's making to the newest commit, pauses included."""
        if not self.commits:
            return 0.0
        return max(0.0, float(self.commits[-1]["time"]) - self.began.timestamp())

    def seconds_by_stage(self) -> dict[str, float]:
        """Return where the time went: what passed before each commit counts to its stage."""
        spent: dict[str, float] = defaultdict(float)
        before = self.began.timestamp()
        for row in self.commits:
            stage = "evaluate" if row["stage"].startswith("evaluate") else row["stage"]
            if "/block-" in stage:
                stage = f"solver/{stage.rpartition('/')[2]}"
            spent[stage] += max(0.0, row["time"] - before)
            before = row["time"]
        return {stage: seconds for stage, seconds in spent.items() if seconds >= 0.005}

    def refusals(self) -> list[Row]:
        """Return every refusal, in order."""
        rows = [row for some in self.lineage.refusals.values() for row in some]
        return sorted(rows, key=lambda row: int(row["seq"]))

    def by_step(self) -> list[tuple[int, Mapping[str, float]]]:
        """Return the metrics of an online run's steps, by the step's number over the run."""
        size = int(self.config["online"]["steps"])
        return [((row.round - 1) * size + (row.step or 0), row.metrics) for row in self.training]


def _place(commit: Row) -> tuple[int, str]:
    return int(commit["round"]), str(commit["stage"])
