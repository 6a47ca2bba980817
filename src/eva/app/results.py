"""What a run measured: evaluations, how the last policy compares with the first, and alarms."""

from __future__ import annotations

from collections.abc import Mapping

from eva.evals.compare import compare
from eva.runs.folder import RunFolder
from eva.types import Json

_STAGE = "evaluate/"


def evaluations(folder: RunFolder) -> dict[int, dict[str, Mapping[str, Json]]]:
    """Return the results of evaluators by round (0 is before the first) and name."""
    found: dict[int, dict[str, Mapping[str, Json]]] = {}
    for row in folder.population.table("commits"):
        stage = str(row["stage"])
        if stage.startswith(_STAGE):
            found.setdefault(row["round"], {})[stage.removeprefix(_STAGE)] = row["result"]
    return dict(sorted(found.items()))


def alarms(folder: RunFolder) -> list[Json]:
    """Return the alarms of a run in order, each with its `round`."""
    rows = folder.population.table("commits", stage="alarms")
    return [{"round": row["round"], **alarm} for row in rows for alarm in row["result"]]


def comparisons(folder: RunFolder) -> dict[str, dict[str, Json]]:
    """Return before against after by evaluator; empty where either is missing."""
    measured = evaluations(folder)
    if len(measured) < 2:
        return {}
    before, after = measured[min(measured)], measured[max(measured)]
    return {name: compare([before[name]], [after[name]]) for name in before if name in after}
