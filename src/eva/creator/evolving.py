"""Evolving: informative seeds become new prompts (arXiv:2411.00062, sec. 3.2).

Departures from the paper
- As there, a seed is rewritten k times in a row and every rewrite is kept, not only the last; but
  rewrites pass through gates, and the next one starts from the last that was accepted. After a
  refusal the same parent is tried again, in the next of the k steps; so k attempts, not k children.
- Evolvers whose `chain` is false make k children of the seed itself.
- Every refusal is kept with its gate, reason and text; the paper has no gates. So is every
  candidate that lost to a better one, by "gate" `best_of`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from eva.protocols import Evolver, Gate
from eva.rng import Streams
from eva.types import Evolution, Prompt, Proposal, Refusal


def evolve(
    seeds: Sequence[Prompt],
    *,
    evolver: Evolver,
    gates: Sequence[Gate],
    children: int,
    streams: Streams,
    lineage: Callable[[Prompt], Sequence[Prompt]] = lambda seed: (),
) -> list[Evolution]:
    """Return what became of each seed, in order.

    All seeds take a step together, so that the evolver sees one batch per step; their proposals are
    judged in the order of the seeds, and an accepted child is remembered before the next is judged.

    Args:
        seeds: the informative prompts.
        evolver: writes the children.
        gates: judge them, in order; they remember those that enter.
        children: attempts per seed, k.
        streams: of this round's evolving stage; their round is the children's birth.
        lineage: the known ancestors of a seed, the oldest first, the seed not among them.

    Raises:
        ValueError: the evolver does not return one proposal per parent.
    """
    lines = [[*lineage(seed), seed] for seed in seeds]
    books = [_Book() for _ in seeds]
    for step in range(children):
        proposals = evolver.propose([line[-1] for line in lines], step, streams)
        for book, line, proposal in zip(books, lines, _one_each(proposals, seeds), strict=True):
            verdict = judge(proposal, gates, line)
            book.enter(proposal, verdict, round=streams.round)
            if verdict or proposal.child is None:
                continue
            for gate in gates:
                gate.remember(proposal.child)
            if evolver.chain:
                line.append(proposal.child)
    return [book.closed(seed) for book, seed in zip(books, seeds, strict=True)]


@dataclass(slots=True)
class _Book:
    """What has become of one seed so far."""

    children: list[Prompt] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    spent: Counter[str] = field(default_factory=Counter)
    grades: Counter[str] = field(default_factory=Counter)

    def enter(self, proposal: Proposal, verdict: tuple[str, str] | None, *, round: int) -> None:
        """Take note of a proposal, of the candidates that it was chosen over, and of their cost."""
        for each in (proposal, *proposal.beaten):
            self.spent[each.operator] += each.generated_tokens
        for lost in proposal.beaten:
            gate = "evolver" if lost.child is None else "best_of"
            self.refusals.append(_refusal(lost, gate, lost.reason, round=round))
        if verdict:
            self.refusals.append(_refusal(proposal, *verdict, round=round))
        elif proposal.child is not None:
            self.children.append(proposal.child)
            if proposal.grades:
                self.grades.update({**proposal.grades, "graded": 1})

    def closed(self, seed: Prompt) -> Evolution:
        """Return what became of the seed."""
        return Evolution(
            seed.id,
            tuple(self.children),
            tuple(self.refusals),
            self.spent.total(),
            spent={name: tokens for name, tokens in self.spent.items() if tokens},
            grades=dict(self.grades),
        )


def judge(
    proposal: Proposal, gates: Sequence[Gate], lineage: Sequence[Prompt]
) -> tuple[str, str] | None:
    """Return who refuses a proposal and why, the first that does, or None.

    `evolver` refuses where no child came out, or one that is its own ancestor: `lineage` is the
    parent, last, and its ancestors.
    """
    child = proposal.child
    if child is None:
        return "evolver", proposal.reason
    if child.id in {ancestor.id for ancestor in lineage}:
        return "evolver", "unchanged, or changed back"
    for gate in gates:
        reason = gate(child, lineage)
        if reason is not None:
            return gate.name, reason
    return None


def _one_each(proposals: Sequence[Proposal], seeds: Sequence[Prompt]) -> Sequence[Proposal]:
    if len(proposals) != len(seeds):
        raise ValueError(
            f"the evolver returned {len(proposals)} proposals for {len(seeds)} parents"
        )
    return proposals


def _refusal(proposal: Proposal, gate: str, reason: str, *, round: int) -> Refusal:
    text = proposal.text if proposal.child is None else proposal.child.text
    return Refusal(proposal.parent.id, proposal.operator, gate, reason, text, round)
