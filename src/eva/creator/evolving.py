"""Evolving: informative seeds become new prompts (arXiv:2411.00062, sec. 3.2).

Departures from the paper
- As there, a seed is rewritten k times in a row and every rewrite is kept, not only the last; but
  rewrites pass through gates, and the next one starts from the last that was accepted. After a
  refusal the same parent is tried again, in the next of the k steps; so k attempts, not k children.
- Evolvers whose `chain` is false make k children of the seed itself.
- Every refusal is kept with its gate, reason and text; the paper has no gates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
    accepted: list[list[Prompt]] = [[] for _ in seeds]
    refused: list[list[Refusal]] = [[] for _ in seeds]
    tokens = [0] * len(seeds)
    for step in range(children):
        proposals = evolver.propose([line[-1] for line in lines], step, streams)
        for i, proposal in enumerate(_one_each(proposals, seeds)):
            tokens[i] += proposal.generated_tokens
            verdict = judge(proposal, gates, lines[i])
            if verdict:
                refused[i].append(_refusal(proposal, *verdict, round=streams.round))
            elif proposal.child is not None:
                accepted[i].append(proposal.child)
                for gate in gates:
                    gate.remember(proposal.child)
                if evolver.chain:
                    lines[i].append(proposal.child)
    return [
        Evolution(seed.id, tuple(accepted[i]), tuple(refused[i]), tokens[i])
        for i, seed in enumerate(seeds)
    ]


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
