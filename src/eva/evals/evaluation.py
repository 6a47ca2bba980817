"""Answer held-out prompts once, measure the answers, and add up the rows.

    prompts ──answer──► groups ──measures──► rows ──summary──► metrics and intervals

Every evaluator of this package is an `Evaluation` with measures of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TypeAlias

from eva.errors import DataError, GenerationError
from eva.evals.rows import Measure, Row, make_row, summarise
from eva.n_grams import distinct
from eva.protocols import Generator
from eva.rng import Streams
from eva.types import Json, Prompt, SamplingParams

GREEDY = SamplingParams(n=1, temperature=0.0, top_p=1.0, max_tokens=512)
"""One greedy answer per prompt: the evaluation then has no noise of its own."""

Labeller: TypeAlias = Callable[[Prompt], Sequence[str]]
"""Says in which subsets of the prompts a prompt is reported."""


def unlabelled(prompt: Prompt) -> Sequence[str]:
    """Report a prompt in no subset."""
    return ()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """An evaluator: given prompts, given measures (implements `eva.protocols.Evaluator`)."""

    name: str
    """Prefix of its metrics."""
    prompts: Sequence[Prompt]
    measures: Sequence[Measure]
    labels: Labeller = unlabelled
    params: SamplingParams = GREEDY
    about: Mapping[str, Json] = field(default_factory=dict)
    """Facts of the set, put into the result: which prompts were set aside, versions."""
    counts: Mapping[str, float] = field(default_factory=dict)
    """Further metrics that are known beforehand, by name."""

    def __post_init__(self) -> None:
        twice = [i for i, n in Counter(p.id for p in self.prompts).items() if n > 1]
        if twice:
            raise DataError(
                f"evaluation {self.name!r}: {len(twice)} prompts are there twice, first {twice[0]};"
                " rows are aligned by id: leave duplicates out"
            )

    def evaluate(self, policy: Generator, streams: Streams) -> Mapping[str, Json]:
        """Answer all prompts in one call; return name, params, about, rows, metrics, intervals.

        `metrics` maps `name/value` and `name/value/label` to means over prompts; `intervals` has
        the same keys (see `summarise`).

        Raises:
            GenerationError: the policy returned other prompts than it was given.
        """
        groups = policy.sample(self.prompts, self.params, streams)
        if [g.prompt.id for g in groups] != [p.id for p in self.prompts]:
            raise GenerationError(
                f"evaluation {self.name!r}: asked for {len(self.prompts)} prompts, got "
                f"{len(groups)} groups, not the same in the same order: mend the generator"
            )
        results = [measure(groups) for measure in self.measures]
        rows = [
            make_row(group, self.labels(group.prompt), parts)
            for group, *parts in zip(groups, *results, strict=True)
        ]
        intervals = {f"{self.name}/{key}": value for key, value in summarise(rows).items()}
        metrics = {key: i.estimate for key, i in intervals.items() if i.n}
        totals = {**_totals(rows), **self.counts}
        metrics |= {f"{self.name}/{key}": value for key, value in totals.items()}
        return {
            "name": self.name,
            "params": asdict(self.params),
            "about": dict(self.about),
            "rows": rows,
            "metrics": metrics,
            "intervals": {key: value.json() for key, value in intervals.items()},
        }


def _totals(rows: Sequence[Row]) -> dict[str, float]:
    """Return what belongs to all rows together: counts, and how unlike the answers are."""
    unlike = distinct([text for row in rows for text in row["texts"]])
    return {
        "prompts": float(len(rows)),
        "unanswered": float(sum(not row["texts"] for row in rows)),
    } | ({} if unlike is None else {"distinct_2": unlike})
