"""Tree best-of-N: several rewrites of every parent, of which the best goes on.

With an evolver in a chain the winner is the next parent, as in arXiv:2411.00062, fig. 10, which
tries this online.

Departures from the paper
- It does not say how the two scorers are combined; here they are added up.
- Losers are kept as refusals of `best_of`, and what they cost is counted.
- The best is chosen before the gates see it; a winner that they refuse is not replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from eva.complexity import words
from eva.creator.grading import Grade, Grader
from eva.protocols import Evolver
from eva.rng import Streams
from eva.types import Prompt, Proposal


@dataclass(frozen=True, slots=True)
class BestOf:
    """Proposes the best of n candidates; an `Evolver`."""

    evolver: Evolver
    """Writes the candidates, each with streams of its own."""
    n: int
    """1 chooses nothing, and grades."""
    grader: Grader

    @property
    def chain(self) -> bool:
        """Whether an accepted child is the next parent."""
        return self.evolver.chain

    def propose(self, parents: Sequence[Prompt], step: int, streams: Streams) -> list[Proposal]:
        """Return the best proposal per parent, in order, with those that it beat.

        Raises:
            GenerationError: the rewriter or the grader is broken as a whole.
        """
        # the first candidate is the one that there would be without the others
        at = [streams, *(streams.at(f"{streams.stage}/candidate{i}") for i in range(1, self.n))]
        tries = [self.evolver.propose(parents, step, own) for own in at]
        candidates = [proposal for one in zip(*tries, strict=True) for proposal in one]
        children = [p.child for p in candidates if p.child is not None]
        asked = streams.at(f"{streams.stage}/grade{step}")
        grades = iter(self.grader.grade(children, asked))
        graded = [(p, Grade(None) if p.child is None else next(grades)) for p in candidates]
        return [_best(graded[i : i + self.n]) for i in range(0, len(graded), self.n)]


def _best(candidates: Sequence[tuple[Proposal, Grade]]) -> Proposal:
    """Return the proposal that is graded best; of equals the shorter one, then the first.

    One without a grade comes after all that have one, one without a child last.
    """
    order = sorted(range(len(candidates)), key=lambda i: (*_rank(*candidates[i]), i))
    paid = [
        replace(
            proposal,
            generated_tokens=proposal.generated_tokens + grade.generated_tokens,
            grades=grade.parts,
        )
        for proposal, grade in candidates
    ]
    best = candidates[order[0]][1].value
    beaten = [_lost(paid[i], candidates[i][1].value, best, n=len(candidates)) for i in order[1:]]
    return replace(paid[order[0]], beaten=tuple(beaten))


def _rank(proposal: Proposal, grade: Grade) -> tuple[bool, bool, float, int]:
    child = proposal.child
    length = words(child.text) if child else 0
    return child is None, grade.value is None, -(grade.value or 0.0), length


def _lost(proposal: Proposal, own: float | None, best: float | None, *, n: int) -> Proposal:
    if proposal.child is None:
        return proposal
    graded = "no grade could be read" if own is None else f"graded {own:g}"
    won = "" if best is None else f", the best {best:g}"
    return replace(proposal, reason=f"not the best of {n}: {graded}{won}")
