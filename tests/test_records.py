import json

import numpy as np
import pytest

from eva import records
from eva.types import (
    Estimates,
    Evolution,
    Group,
    Pairing,
    Prompt,
    Refusal,
    Response,
    Score,
    ScoredGroup,
)


def group(text, rewards, *, lengths=None, finish="stop"):
    lengths = lengths or [2] * len(rewards)
    responses = tuple(Response("r", (1,) * n, finish=finish) for n in lengths)
    scores = tuple(Score(r, "" if r is not None else "nan") for r in rewards)
    return ScoredGroup(Group(Prompt.of(text), (1,), responses, "p"), scores)


def test_answers_leave_unscored_ones_out_and_count_them():
    figures = records.of_answers([group("a", [1.0, None, 0.0]), group("b", [None, None])])
    assert figures["reward_mean"] == 0.5
    assert figures["reward_best"] == 1.0
    assert figures["unscored"] == {"nan": 3}
    assert figures["generated_tokens"] == 10


def test_contrast_is_counted_over_groups_with_a_score():
    figures = records.of_answers([group("a", [1.0, 1.0]), group("b", [0.0, 1.0])])
    assert figures["without_contrast"] == 0.5


def test_nothing_answered_has_no_invented_numbers():
    assert records.of_answers([]) == {"generated_tokens": 0}
    assert records.mean([]) is None


def test_a_round_adds_up_its_tokens_and_is_json():
    originals = [Prompt.of("a"), Prompt.of("b")]
    info = Estimates(np.array([1.0, np.nan]), np.array([0.1, np.nan]), np.array([2, 0]))
    sample = records.of_sample(originals, info, np.array([0]))
    child = originals[0].rewritten("c", operator="add", born=2)
    refusal = Refusal(originals[0].id, "add", "duplicate", "same", "c", 2)
    evolution = Evolution(originals[0].id, (child,), (refusal,), generated_tokens=7)
    creator = records.of_creator([group("a", [0.0, 1.0])], sample, [evolution])
    assert sample["values"] == [1.0, None]
    assert creator["acceptance"] == 0.5
    assert creator["refusals"] == {"duplicate": 1}

    solver = records.of_solver(Pairing((), {"no_contrast": 1}), {"trained_tokens": 11})
    record = records.of_round(
        2,
        prompts=[child, originals[1]],
        creator=creator,
        scored=[group("c", [0.0, 1.0], lengths=[3, 5])],
        solver=solver,
    )
    assert record["tokens"] == {
        "creator": 4,
        "rewriter": 7,
        "solver": 8,
        "trained": 11,
        "total": 30,
    }
    assert record["counts"] == {"prompts": 2, "evolved": 1, "human": 1}
    assert json.loads(json.dumps(record)) == record
    assert records.tokens(record, creator) == 30 + 4 + 7


def test_figures_are_numbers_by_slash_paths():
    flat = records.figures({"a": {"b": 1, "c": None, "d": [1]}, "e": True, "f": "x"})
    assert flat == {"a/b": 1.0, "e": pytest.approx(1.0)}
