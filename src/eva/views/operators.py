"""What became of each operator's proposals over a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eva.views.findings import Findings
from eva.views.wording import count, counts, number, share


@dataclass(frozen=True, slots=True)
class OperatorLine:
    """One operator's account."""

    name: str
    entered: int
    """Children that passed the gates."""
    refused: Mapping[str, int]
    """Proposals by the gate that refused them; `best_of` lost to a better candidate."""
    tokens: int
    """Sampled for its proposals, in rounds that are done."""
    means: Sequence[float]
    """Mean rewards of the children that were answered, the first time that they were."""
    contrasts: Sequence[float]
    """Best minus worst reward of those children, then."""

    @property
    def tried(self) -> int:
        """Proposals made."""
        return self.entered + sum(self.refused.values())

    @property
    def fates(self) -> dict[str, int]:
        """Proposals that did not enter: refused, and beaten by a better candidate if any were."""
        beaten = self.refused.get("best_of", 0)
        lost = {"beaten": beaten} if beaten else {}
        return {"refused": sum(self.refused.values()) - beaten} | lost

    @property
    def acceptance(self) -> float | None:
        """Children among those that were judged; None where all lost to others."""
        judged = self.tried - self.refused.get("best_of", 0)
        return self.entered / judged if judged else None

    @property
    def with_contrast(self) -> float | None:
        """Share of the answered children whose rewards differ."""
        differ = [contrast > 0 for contrast in self.contrasts]
        return sum(differ) / len(differ) if differ else None

    def cells(self) -> tuple[str, ...]:
        """Return the line for a table of `HEAD`."""
        return (
            self.name,
            count(self.tried),
            count(self.entered),
            share(self.acceptance),
            share(self.with_contrast),
            number(_mean(self.contrasts)),
            number(_mean(self.means)),
            count(len(self.means)),
            count(self.tokens),
            counts(self.refused),
        )


HEAD = (
    *("operator", "tried", "entered", "accepted", "with contrast", "contrast", "reward", "played"),
    *("tokens", "refused by"),
)
"""Columns of the table of operators."""


def by_operator(found: Findings) -> list[OperatorLine]:
    """Return the account of every operator that was tried, by name."""
    lineage = found.lineage
    evolved = [prompt for prompt in lineage.prompts.values() if prompt.evolved]
    entered = Counter(prompt.operator for prompt in evolved)
    refused = Counter((row["operator"], row["gate"]) for row in found.refusals())
    tokens = Counter[str]()
    for record in found.records:
        tokens.update(record["creator"].get("operator_tokens", {}))
    first = {
        prompt.id: scores[0]
        for prompt in evolved
        if (scores := lineage.scores.get(prompt.id)) and scores[0]["mean"] is not None
    }
    lines = []
    for name in sorted({*entered, *(operator for operator, _ in refused)}):
        played = [first[p.id] for p in evolved if p.operator == name and p.id in first]
        lines.append(
            OperatorLine(
                name,
                entered[name],
                {gate: n for (operator, gate), n in sorted(refused.items()) if operator == name},
                tokens[name],
                means=[float(row["mean"]) for row in played],
                contrasts=[float(row["max"] - row["min"]) for row in played],
            )
        )
    return lines


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
