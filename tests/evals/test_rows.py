from __future__ import annotations

import pytest

from eva.evals.rows import (
    Measured,
    has_label,
    label_names,
    make_row,
    mean,
    summarise,
    value_names,
)
from eva.evals.statistics import mean_interval, wilson_interval
from eva.types import Group, Prompt, Response


def row(values, labels=(), weights=None):
    group = Group(Prompt.of(str(values)), (), (Response("a", (1,)),), "v")
    return make_row(group, labels, [Measured(values, weights or {})])


def test_mean_leaves_out_what_is_unknown() -> None:
    assert mean([None, 1.0, 0.0, 0.5]) == 0.5
    assert mean([None]) is None


def test_make_row_joins_the_measures() -> None:
    group = Group(Prompt.of("Hi"), (), (Response("a", (1,)), Response("b", (2,))), "v")
    got = make_row(
        group, ["x"], [Measured({"a": 1.0}, {"a": 2.0}), Measured({"b": None}, notes={"why": "no"})]
    )
    assert got == {
        "id": group.prompt.id,
        "prompt": "Hi",
        "labels": ["x"],
        "texts": ["a", "b"],
        "values": {"a": 1.0, "b": None},
        "weights": {"a": 2.0},
        "notes": {"why": "no"},
    }


def test_names_are_in_a_fixed_order() -> None:
    rows = [row({"b": 1.0}, ["y"]), row({"a": 1.0, "b": 0.0}, ["x", "y"])]
    assert value_names(rows) == ["b", "a"]
    assert label_names(rows) == ["", "x", "y"]
    assert [has_label(r, "x") for r in rows] == [False, True]
    assert all(has_label(r, "") for r in rows)


def test_summarise_reports_labels_apart_and_leaves_out_missing_values() -> None:
    rows = [
        row({"reward": 0.25}, ["seen"]),
        row({"reward": 0.75}, ["seen"]),
        row({"reward": 0.5}, ["unseen"]),
        row({"reward": None}, ["unseen"]),
    ]
    got = summarise(rows)
    assert got["reward"] == mean_interval([0.25, 0.75, 0.5])
    assert got["reward/seen"] == mean_interval([0.25, 0.75])
    assert (got["reward/unseen"].estimate, got["reward/unseen"].n) == (0.5, 1)


def test_summarise_of_passes_and_fails_is_wilsons() -> None:
    rows = [row({"prompt_strict": float(i < 3)}) for i in range(10)]
    assert summarise(rows)["prompt_strict"] == wilson_interval(3, 10)


def test_summarise_weighs_prompts_by_their_instructions() -> None:
    # 3 of 3 instructions of one prompt, 0 of 1 of the other: three quarters of the instructions
    rows = [row({"i": 1.0}, weights={"i": 3.0}), row({"i": 0.0}, weights={"i": 1.0})]
    got = summarise(rows)["i"]
    assert got.estimate == 0.75
    assert got.error == pytest.approx(mean_interval([1.0, 0.0], [3.0, 1.0]).error)


def test_a_value_that_no_row_has_is_reported_as_resting_on_none() -> None:
    assert summarise([row({"tokens": None})])["tokens"].n == 0
