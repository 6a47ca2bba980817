from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from eva.creator.best_of import BestOf
from eva.creator.evolving import evolve
from eva.creator.grading import Clauses, Grade
from eva.rng import Streams
from eva.types import Prompt, Proposal

STREAMS = Streams(0, 4, "creator/evolve")
SEED = Prompt.of("Write of tea.")


@dataclass
class Scripted:
    """Proposes texts from a list, "" being a failure; each costs its number of words."""

    texts: list[str]
    chain: bool = True
    stages: list[str] = field(default_factory=list)
    parents: list[str] = field(default_factory=list)

    def propose(self, parents, step, streams):
        self.stages.append(streams.stage)
        return [self._one(parent) for parent in parents]

    def _one(self, parent):
        self.parents.append(parent.text)
        text = self.texts.pop(0)
        if not text:
            return Proposal(parent, "bad", None, "empty", "raw", 5)
        child = parent.rewritten(text, operator="good", born=4)
        return Proposal(parent, "good", child, text=text, generated_tokens=len(text.split()))


@dataclass
class Listed:
    """Gives the values of a table, by text, at a token each."""

    values: dict[str, float | None]

    def grade(self, prompts, streams):
        return [
            Grade(value, {} if value is None else {"complexity": value}, 1)
            for value in (self.values[prompt.text] for prompt in prompts)
        ]


def best(texts, values, n=3):
    (proposal,) = BestOf(Scripted(list(texts)), n, Listed(values)).propose([SEED], 0, STREAMS)
    return proposal


def test_the_best_goes_on_and_the_losers_are_kept_with_their_cost():
    won = best(["a a", "b", ""], {"a a": 1.0, "b": 4.0})
    assert (won.child.text, won.generated_tokens, won.grades) == ("b", 2, {"complexity": 4.0})
    lost, failed = won.beaten
    assert (lost.text, lost.generated_tokens) == ("a a", 3)
    assert lost.reason == "not the best of 3: graded 1, the best 4"
    assert (failed.child, failed.reason, failed.generated_tokens) == (None, "empty", 5)


def test_without_a_grade_it_comes_after_those_with_one():
    won = best(["a", "b b b", "c"], {"a": None, "b b b": 1.0, "c": None})
    assert won.child.text == "b b b"
    assert won.beaten[0].reason == "not the best of 3: no grade could be read, the best 1"
    assert best(["a a", "b", "c"], dict.fromkeys(["a a", "b", "c"])).child.text == "b"


def test_equals_are_told_apart_by_length_then_by_order():
    assert best(["a a", "b", "c"], {"a a": 2.0, "b": 2.0, "c": 2.0}).child.text == "b"


def test_where_all_fail_the_failure_is_the_proposal():
    won = best(["", "", ""], {})
    assert (won.child, won.reason, len(won.beaten)) == (None, "empty", 2)


def test_candidates_have_streams_of_their_own():
    evolver = Scripted(["a", "b"])
    BestOf(evolver, 2, Listed({"a": 1.0, "b": 1.0})).propose([SEED], 0, STREAMS)
    assert evolver.stages[0] == STREAMS.stage != evolver.stages[1]
    assert BestOf(Scripted([], chain=False), 2, Clauses()).chain is False


def test_parents_keep_their_order():
    parents = [Prompt.of("p"), Prompt.of("q")]
    evolver = Scripted(["p0", "q0", "p1", "q1"])
    values = {"p0": 1.0, "p1": 2.0, "q0": 2.0, "q1": 1.0}
    proposals = BestOf(evolver, 2, Listed(values)).propose(parents, 0, STREAMS)
    assert [(p.parent.text, p.child.text) for p in proposals] == [("p", "p1"), ("q", "q0")]


def test_a_tree_grows_from_the_winners_and_its_books_add_up():
    texts = ["Write of tea. Say how it tastes.", "Write of hot tea.", "", "Write now."]
    evolver = Scripted(list(texts))
    (evolution,) = evolve(
        [SEED],
        evolver=BestOf(evolver, 2, Clauses()),
        gates=(),
        children=2,
        streams=STREAMS,
    )
    assert evolver.parents == [SEED.text] * 2 + [texts[0]] * 2
    assert [child.text for child in evolution.children] == [texts[0], "Write now."]
    assert [(r.gate, r.operator, r.text) for r in evolution.refusals] == [
        ("best_of", "good", "Write of hot tea."),
        ("evolver", "bad", "raw"),
    ]
    assert evolution.spent == {"good": 7 + 4 + 2, "bad": 5}
    assert (evolution.generated_tokens, evolution.refused) == (18, 1)
    assert evolution.grades == {}


def test_grades_of_accepted_children_are_summed():
    evolver = BestOf(
        Scripted(["a", "b", "c", "d"]), 2, Listed({"a": 1.0, "b": 3.0, "c": 2.0, "d": None})
    )
    (evolution,) = evolve([SEED], evolver=evolver, gates=(), children=2, streams=STREAMS)
    assert evolution.grades == {"complexity": 5.0, "graded": 2}


@given(
    st.lists(st.sampled_from(["", "a", "b b", "c c c"]), min_size=1, max_size=6),
    st.lists(st.one_of(st.none(), st.integers(2, 10)), min_size=3, max_size=3),
)
def test_no_candidate_is_lost_and_no_token_either(texts, values):
    table = dict(zip(["a", "b b", "c c c"], values, strict=True))
    won = best(texts, table, n=len(texts))
    every = [won, *won.beaten]
    assert sorted(p.text for p in every) == sorted(text or "raw" for text in texts)
    cost = sum(len(text.split()) + 1 if text else 5 for text in texts)
    assert sum(p.generated_tokens for p in every) == cost
    known = [table[t] for t in texts if t and table[t] is not None]
    if known:
        assert table[won.child.text] == max(known)
    assert (won.child is None) == (not any(texts))
