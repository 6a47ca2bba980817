from __future__ import annotations

import pytest

from eva.errors import ConfigError, SolverError
from eva.solver.reference import attach_reference, reference_for
from eva.types import Example

EXAMPLES = [Example(f"p{i}", (1,), ((2,) * (i + 1), (3,)), {"win_chosen": 0.5}) for i in range(5)]


class Scripted:
    """Log-probs that name policy, example and token; records the sizes it was asked for."""

    def __init__(self, cut=0):
        self.asked, self.cut = [], cut

    def logprobs(self, examples, *, base=False):
        self.asked.append(len(examples))
        level = -10.0 if base else -1.0
        made = [
            tuple(
                tuple(level - int(e.prompt_id[1:]) - t / 8 for t in range(len(ids)))
                for ids in e.completions
            )
            for e in examples
        ]
        return made[self.cut :]


@pytest.mark.parametrize(("reference", "level"), [("previous", -1.0), ("base", -10.0)])
def test_log_probs_of_the_right_policy_are_attached_in_order(reference, level):
    engine = Scripted()
    attached = attach_reference(EXAMPLES, engine, reference, chunk=2)
    assert engine.asked == [2, 2, 1]
    assert [e.prompt_id for e in attached] == [e.prompt_id for e in EXAMPLES]
    assert attached[2].reference == ((level - 2, level - 2.125, level - 2.25), (level - 2,))
    assert attached[2].columns == EXAMPLES[2].columns
    assert attached[2].completions == EXAMPLES[2].completions


def test_none_asks_nothing_and_removes_what_was_there():
    before = attach_reference(EXAMPLES, Scripted(), "base")
    engine = Scripted()
    assert attach_reference(before, engine, "none") == EXAMPLES
    assert engine.asked == []


def test_an_engine_that_loses_an_example_is_broken():
    with pytest.raises(SolverError, match="'base': log-probs of 4 examples, expected 5"):
        attach_reference(EXAMPLES, Scripted(cut=1), "base")


def test_an_engine_that_loses_a_token_is_broken():
    class Short(Scripted):
        def logprobs(self, examples, *, base=False):
            return [tuple(row[1:] for row in rows) for rows in super().logprobs(examples)]

    with pytest.raises(SolverError, match=r"prompt p0: log-probs of lengths \[0, 0\]"):
        attach_reference(EXAMPLES, Short(), "previous")


def test_an_unknown_reference_is_refused():
    with pytest.raises(ConfigError, match="did you mean 'previous'"):
        attach_reference(EXAMPLES, Scripted(), "previus")


def test_an_objective_brings_its_reference():
    assert reference_for("rpo") == "previous"
    assert reference_for("orpo") == "none"
    assert reference_for("ipo", "base") == reference_for("simpo", "base") == "base"


@pytest.mark.parametrize(
    ("objective", "asked", "message"),
    [
        ("dpo", "none", "dpo compares with one"),
        ("dpo", "bas", "did you mean 'base'"),
        ("dop", "auto", "did you mean 'dpo'"),
    ],
)
def test_a_reference_that_does_not_fit_is_refused(objective, asked, message):
    with pytest.raises(ConfigError, match=message):
        reference_for(objective, asked)


def test_the_samplers_log_probs_are_taken_as_recorded():
    recorded = Example("p", (1,), ((2, 3), (4,)), reference=((-0.5, -1.0), (-2.0,)))
    assert attach_reference([recorded], None, "sampler") == [recorded]


@pytest.mark.parametrize("reference", [None, ((-0.5,), (-2.0,))])
def test_missing_or_short_recordings_are_refused(reference):
    example = Example("p", (1,), ((2, 3), (4,)), reference=reference)
    with pytest.raises(SolverError, match="'sampler', prompt p"):
        attach_reference([example], None, "sampler")
