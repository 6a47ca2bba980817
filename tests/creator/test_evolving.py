from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from eva.creator.evolving import evolve, judge
from eva.creator.gates.duplicate import Duplicate
from eva.rng import Streams
from eva.types import Prompt, Proposal

STREAMS = Streams(0, 5, "creator/evolve")
A, B = Prompt.of("a"), Prompt.of("b")


@dataclass
class Appending:
    """Appends the step to the parent's text; fails where `fails` says so."""

    chain: bool = True
    fails: tuple[str, ...] = ()
    batches: list[list[str]] = field(default_factory=list)

    def propose(self, parents, step, streams):
        self.batches.append([parent.text for parent in parents])
        return [self._one(parent, f"{parent.text} {step}", streams.round) for parent in parents]

    def _one(self, parent, text, born):
        if text in self.fails:
            return Proposal(parent, "append", None, "failed", "raw", 2)
        child = parent.rewritten(text, operator="append", born=born)
        return Proposal(parent, "append", child, text=text, generated_tokens=3)


@dataclass
class Banning:
    """Refuses given texts; keeps the lineages and what it remembers."""

    banned: tuple[str, ...] = ()
    name: str = "banning"
    seen: list[tuple[str, list[str]]] = field(default_factory=list)
    remembered: list[str] = field(default_factory=list)

    def __call__(self, child, lineage):
        self.seen.append((child.text, [ancestor.text for ancestor in lineage]))
        return "banned" if child.text in self.banned else None

    def remember(self, prompt):
        self.remembered.append(prompt.text)


def play(seeds=(A, B), children=3, gates=(), evolver=None, **options):
    return evolve(
        seeds,
        evolver=evolver or Appending(),
        gates=gates,
        children=children,
        streams=STREAMS,
        **options,
    )


def texts(evolution):
    return [child.text for child in evolution.children]


def test_successive_rewrites_are_all_kept_and_the_seed_is_not():
    evolver = Appending()
    first, second = play(evolver=evolver)
    assert texts(first) == ["a 0", "a 0 1", "a 0 1 2"]
    assert texts(second) == ["b 0", "b 0 1", "b 0 1 2"]
    assert first.children[1].parents == (first.children[0].id,)
    assert {child.born for child in first.children} == {5}
    assert (first.parent_id, first.refusals, first.generated_tokens) == (A.id, (), 9)
    assert evolver.batches == [["a", "b"], ["a 0", "b 0"], ["a 0 1", "b 0 1"]]


def test_the_next_rewrite_starts_from_the_last_accepted():
    first, second = play(gates=[Banning(("a 0 1",))], evolver=Appending(fails=("b 0",)))
    assert texts(first) == ["a 0", "a 0 2"]
    assert texts(second) == ["b 1", "b 1 2"]
    (refusal,) = first.refusals
    assert refusal.parent_id == first.children[0].id
    assert (refusal.gate, refusal.reason, refusal.text) == ("banning", "banned", "a 0 1")
    assert (refusal.operator, refusal.round) == ("append", 5)
    (failure,) = second.refusals
    assert (failure.gate, failure.reason, failure.text) == ("evolver", "failed", "raw")
    assert second.generated_tokens == 2 + 3 + 3


def test_siblings_when_the_evolver_does_not_chain():
    evolution, _ = play(evolver=Appending(chain=False))
    assert texts(evolution) == ["a 0", "a 1", "a 2"]


def test_gates_see_the_whole_lineage_and_remember_only_the_accepted():
    gate, grandparent = Banning(("a 0 1",)), Prompt.of("g")
    play([A], gates=[gate], lineage=lambda seed: [grandparent])
    assert gate.seen == [
        ("a 0", ["g", "a"]),
        ("a 0 1", ["g", "a", "a 0"]),
        ("a 0 2", ["g", "a", "a 0"]),
    ]
    assert gate.remembered == ["a 0", "a 0 2"]


def test_a_child_is_remembered_before_the_next_is_judged():
    class Constant(Appending):
        def _one(self, parent, text, born):
            return super()._one(parent, "the same for all", born)

    first, second = play(children=1, gates=[Duplicate()], evolver=Constant())
    assert texts(first) == ["the same for all"]
    assert texts(second) == []
    assert second.refusals[0].gate == "duplicate"


def test_judge_names_the_first_gate_that_refuses():
    proposal = Appending().propose([A], 0, STREAMS)[0]
    first, second = Banning(("a 0",), name="first"), Banning(("a 0",), name="second")
    assert judge(proposal, [Banning(), first, second], [A]) == ("first", "banned")
    assert second.seen == []
    assert judge(proposal, [], [A]) is None


def test_judge_refuses_what_is_its_own_ancestor_even_without_gates():
    back = Proposal(B, "undo", B.rewritten("a", operator="undo", born=1))
    assert judge(back, [], [A, B]) == ("evolver", "unchanged, or changed back")
    assert judge(back, [], [B]) is None


def test_an_evolver_that_loses_proposals_is_an_error():
    class Lossy(Appending):
        def propose(self, parents, step, streams):
            return super().propose(parents[1:], step, streams)

    with pytest.raises(ValueError, match="1 proposals for 2 parents"):
        play(evolver=Lossy())


def test_nothing_to_do():
    assert play([]) == []
    assert texts(play([A], children=0)[0]) == []
