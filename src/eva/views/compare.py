"""`eva compare`: runs of several arms and seeds, held against each other.

Runs whose configs differ in the seed alone are one arm. The first arm is what the others are held
against, paired by seed and by prompt; one arm alone is held against the policy that it began with.
With several seeds the interval is over them: what another seed changes is more than what other
prompts would, and an interval over prompts takes no account of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from rich.console import Console
from rich.table import Table
from rich.text import Text

from eva.app.results import evaluations
from eva.errors import DataError
from eva.evals.compare import Result, compare
from eva.runs.folder import RunFolder
from eva.types import Json
from eva.views import wording
from eva.views.differences import Difference, sorted_out
from eva.views.show import comparison

_BESIDE = ("seed", "run")
"""Keys of a config in which the runs of one arm may differ: how they are played, not what."""
_NAMED = 3
"""Most keys by which an arm is named."""

Leaves: TypeAlias = Mapping[str, Json]
"""Values of a config by dotted key."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one run measured."""

    path: Path
    seed: int
    leaves: Leaves
    before: Mapping[str, Result]
    """Results by evaluation, of the first policy that was measured."""
    after: Mapping[str, Result]
    """Of the last one."""
    round: int
    """The round after which that was."""
    rounds: int
    """Rounds that the run is to have."""
    tokens: int
    """Generated until then."""


@dataclass(frozen=True, slots=True)
class Arm:
    """Runs of one config, by seed."""

    name: str
    runs: Mapping[int, Run]


def show(paths: Sequence[Path], *, as_json: bool = False, console: Console | None = None) -> None:
    """Print how runs compare.

    Raises:
        DataError: runs measured nothing, or cannot be paired.
        RunError: there is no run, or it is damaged.
    """
    found = compared(grouped([read(Path(path)) for path in paths]))
    console = console or Console(highlight=False)
    if as_json:
        print(json.dumps(found))
        return
    for number, arm in enumerate(found["arms"], 1):
        seeds, tokens = ([run[key] for run in arm["runs"]] for key in ("seed", "tokens"))
        told = f"seed {_list(seeds)}; {wording.count(sum(tokens) / len(tokens))} tokens generated"
        console.print(Text.assemble((f"arm {number}  {arm['name']}", "bold"), f"; {told}"))
    for note in found["notes"]:
        console.print(Text(note, style="yellow"))
    for number, pair in enumerate(found["comparisons"], 2):
        console.print()
        console.print(*_tables(number, pair), sep="\n\n")


def _tables(number: int, pair: Mapping[str, Json]) -> Iterator[Table]:
    unit = f"over {len(pair['seeds'])} seeds" if len(pair["seeds"]) > 1 else "over prompts"
    alone = pair["against"] == _BEFORE
    said = "before and after" if alone else f"arm {number} against arm 1"
    for name, result in pair["evaluations"].items():
        yield comparison(
            f"{wording.evaluation(name)}: {said}",
            [_by_seeds(d) for d in sorted_out(result["differences"]).main],
            columns=("before", "after") if alone else ("arm 1", f"arm {number}"),
            interval=f"95 % {unit}",
        )


_BEFORE = "the policy before"


def read(path: Path) -> Run:
    """Return what a run measured.

    Raises:
        DataError: it measured nothing.
    """
    with RunFolder.open_readonly(path) as folder:
        measured, records, config = evaluations(folder), folder.records(), folder.config
    if not measured:
        raise DataError(
            f"{path}: measured nothing, so there is nothing to compare: play it with an "
            "[evaluation] table"
        )
    last = max(measured)
    spent = [record["tokens"] for record in records[:last]]
    return Run(
        path,
        seed=config.get("seed", 0),
        leaves=dict(_leaves({k: v for k, v in config.items() if k not in _BESIDE})),
        before=measured[min(measured)],
        after=measured[last],
        round=last,
        rounds=config.get("rounds", last),
        tokens=sum(part["total"] - part["trained"] for part in spent),
    )


def grouped(runs: Sequence[Run]) -> list[Arm]:
    """Return the arms of some runs, in order of their first runs.

    Raises:
        DataError: two runs have the same config and seed.
    """
    arms: dict[str, dict[int, Run]] = {}
    for run in runs:
        same = arms.setdefault(json.dumps(run.leaves, sort_keys=True), {})
        if run.seed in same:
            raise DataError(
                f"{same[run.seed].path} and {run.path} are runs of one config with seed "
                f"{run.seed}: name one of them"
            )
        same[run.seed] = run
    first, *others = [next(iter(same.values())).leaves for same in arms.values()]
    names = [_name(first, others), *(_name(leaves, [first]) for leaves in others)]
    return [Arm(name, same) for name, same in zip(names, arms.values(), strict=True)]


def compared(arms: Sequence[Arm]) -> dict[str, Json]:
    """Return arms and comparisons as plain data: what `eva compare --json` prints.

    Raises:
        DataError: an arm has no seed of the first one's, or measured something else.
    """
    first = arms[0]
    pairs = [_pair(arm, first) for arm in arms[1:]] or [_alone(first)]
    runs = [run for arm in arms for run in arm.runs.values()]
    return {
        "arms": [
            {
                "name": arm.name,
                "runs": [
                    {"run": str(r.path), "seed": r.seed, "round": r.round, "tokens": r.tokens}
                    for r in arm.runs.values()
                ],
            }
            for arm in arms
        ],
        "notes": [
            f"{run.path} is measured after round {run.round} of {run.rounds}"
            for run in runs
            if run.round < run.rounds
        ]
        + [
            f"{arm.name}: seeds {_list(left)} have no run of the other arm, and are left out"
            for arm, pair in zip(arms[1:], pairs, strict=False)
            if (left := sorted((arm.runs.keys() | first.runs.keys()) - set(pair["seeds"])))
        ],
        "comparisons": pairs,
    }


def _pair(arm: Arm, first: Arm) -> dict[str, Json]:
    seeds = sorted(arm.runs.keys() & first.runs.keys())
    if not seeds:
        raise DataError(
            f"runs are paired by seed, and {arm.name} has seeds {_list(arm.runs)}, {first.name} "
            f"{_list(first.runs)}: play both with the same seeds"
        )
    old = [first.runs[seed].after for seed in seeds]
    new = [arm.runs[seed].after for seed in seeds]
    return _compared(arm.name, first.name, seeds, sides=(old, new))


def _alone(arm: Arm) -> dict[str, Json]:
    runs = [arm.runs[seed] for seed in sorted(arm.runs)]
    sides = [run.before for run in runs], [run.after for run in runs]
    return _compared(arm.name, _BEFORE, sorted(arm.runs), sides=sides)


def _compared(
    of: str,
    against: str,
    seeds: Sequence[int],
    *,
    sides: tuple[Sequence[Mapping[str, Result]], Sequence[Mapping[str, Result]]],
) -> dict[str, Json]:
    old, new = sides
    names = [name for name in old[0] if all(name in results for results in (*old, *new))]
    if not names:
        raise DataError(
            f"{of} and {against} have no evaluation in common: play both with the same "
            "[evaluation] table"
        )
    found = {name: compare([r[name] for r in old], [r[name] for r in new]) for name in names}
    return {"of": of, "against": against, "seeds": list(seeds), "evaluations": found}


def _by_seeds(difference: Difference) -> Difference:
    """Return a difference with the interval and verdict over seeds, where there are several."""
    return {**difference, **(difference["over_seeds"] or {})}


def _leaves(config: Mapping[str, Json], at: str = "") -> Iterator[tuple[str, Json]]:
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{at}{key}.")
        else:
            yield f"{at}{key}", value


def _name(leaves: Leaves, others: Sequence[Leaves]) -> str:
    """Name an arm by the values in which others differ.

    Where a part has another name, keys that only one of the two knows go without saying.
    """
    told = []
    for key, value in leaves.items():
        differs = any(
            other[key] != value if key in other else not _renamed(key, leaves, other)
            for other in others
        )
        if differs:
            told.append(f"{key}={value if isinstance(value, str) else json.dumps(value)}")
    more = f" and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
    return ", ".join(told[:_NAMED]) + more or "all runs"


def _renamed(key: str, leaves: Leaves, other: Leaves) -> bool:
    name = f"{key.rpartition('.')[0]}.name"
    return name in leaves and leaves[name] != other.get(name)


def _list(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(seeds)))
