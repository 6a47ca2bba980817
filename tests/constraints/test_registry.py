from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from eva.constraints import (
    HELD_OUT,
    IF_NAMED,
    KINDS,
    Phrasing,
    compatible,
    conflict,
    find,
    meets,
    parse,
    partition,
    register,
)
from eva.constraints.dressing import dress
from eva.errors import ConfigError, DataError
from eva.types import Check, Prompt


def test_kinds_go_by_their_own_names_and_clash_with_known_ones():
    assert all(kind.name == name for name, kind in KINDS.items())
    assert set().union(*(kind.clashes for kind in KINDS.values())) <= KINDS.keys()
    assert len(KINDS) >= 28


def test_partition():
    trained, held_out = partition()
    assert held_out == HELD_OUT
    assert len(held_out) >= 2
    assert len(trained) >= 12
    assert sorted((*trained, *held_out, *IF_NAMED)) == sorted(KINDS)
    assert partition(()).trained == tuple(name for name in KINDS if name not in IF_NAMED)
    assert partition(("answers",)) == (partition(()).trained, ("answers",))
    with pytest.raises(ConfigError, match="did you mean 'bullets'"):
        partition(["bulets"])
    with pytest.raises(ConfigError, match="leave some"):
        partition(tuple(KINDS))


def test_an_unknown_kind_is_named_with_the_nearest_one():
    with pytest.raises(ConfigError, match="did you mean 'postscript'"):
        find("postcript")
    with pytest.raises(ConfigError, match="did you mean 'commas'"):
        meets("x", Check("comma"))


def test_register_refuses_what_could_not_be_used():
    with pytest.raises(ConfigError, match="exists already"):
        register(KINDS["bullets"])
    only_do = replace(KINDS["bullets"], name="mine", phrasings=(Phrasing("do", "x {count}"),))
    with pytest.raises(ConfigError, match="needs a level"):
        register(only_do)
    with pytest.raises(ConfigError, match="has 0 levels"):
        register(replace(KINDS["bullets"], name="mine", levels=()))
    assert "mine" not in KINDS


def test_an_empty_answer_meets_nothing():
    rng = np.random.default_rng(0)
    for kind in KINDS.values():
        assert not meets(" \n", kind.draw(1, rng, budget=40))


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (Check("bullets", {"count": 2}), Check("bullets", {"count": 3}), "two constraints of kind"),
        (Check("lowercase"), Check("uppercase"), "exclude each other"),
        (Check("min_words", {"words": 200}), Check("max_words", {"words": 50}), "200 words"),
        (Check("bullets", {"count": 6}), Check("max_words", {"words": 10}), "at least 18 words"),
        (Check("min_words", {"words": 60}), Check("sentences", {"count": 2}), "allows 50"),
        (Check("keywords", {"words": ["day"]}), Check("forbidden", {"words": ["day"]}), "'day'"),
        (
            Check("ends_with", {"phrase": "That is all for now."}),
            Check("forbidden", {"words": ["is"]}),
            "rules it out",
        ),
        (Check("ends_with", {"phrase": "Bye!"}), Check("sentences", {"count": 1}), "rules it out"),
        (Check("ends_with", {"phrase": "So, bye"}), Check("commas"), "rules it out"),
        (Check("json", {"keys": ["details"]}), Check("short_words", {"letters": 6}), "rules it"),
        (Check("sections", {"count": 3}), Check("max_words", {"words": 10}), "at least 15 words"),
        (Check("sections", {"count": 3}), Check("answers", {"count": 2}), "exclude each other"),
    ],
)
def test_conflicts_hold_both_ways(first, second, reason):
    assert reason in (conflict(first, second) or "")
    assert reason in (conflict(second, first) or "")
    assert not compatible(first, [Check("letter", {"letter": "m", "count": 2}), second])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Check("min_words", {"words": 20}), Check("max_words", {"words": 20})),
        (Check("bullets", {"count": 2}), Check("max_words", {"words": 10})),
        (Check("keywords", {"words": ["day"]}), Check("forbidden", {"words": ["time"]})),
        (Check("ends_with", {"phrase": "Bye!"}), Check("sentences", {"count": 2})),
        (Check("commas", {"most": 1}), Check("ends_with", {"phrase": "So, bye"})),
    ],
)
def test_arguments_decide_where_kinds_do_not(first, second):
    assert conflict(first, second) is None
    assert compatible(first, [second])


def test_parse_takes_what_a_data_set_says():
    row = {"kind": "repeat", "args": {"word": "day", "count": 2, "level": 1}}
    assert parse(row) == Check("repeat", row["args"])
    assert parse({"kind": "lowercase"}) == Check("lowercase")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({}, "checks.kind: unknown kind of constraint 'None'"),
        ({"kind": "repeats"}, "did you mean 'repeat'"),
        ({"kind": "lowercase", "args": 3}, "checks.args: got 3, expected an object"),
        ({"kind": "bullets", "args": {"cont": 2}}, "did you mean 'count'"),
        ({"kind": "bullets", "args": {"count": "2"}}, "checks.args.count: got '2', expected int"),
        ({"kind": "bullets", "args": {"count": True}}, "got True, expected int"),
        ({"kind": "keywords", "args": {"words": []}}, r"got \[\], expected list"),
        ({"kind": "repeat", "args": {"word": "day"}}, r"needs \['count', 'word'\], got \['word'\]"),
    ],
)
def test_parse_names_the_fault(row, message):
    with pytest.raises(DataError, match=message):
        parse(row)


LONG = 10**6


@pytest.mark.parametrize(
    "text",
    [
        *("[" + "a" * LONG, "<<" + "a" * LONG, "*" + "a" * LONG, "x" + " " * LONG + "y"),
        *("```json" + " " * LONG + "x", "[" * LONG, "P.S." + " " * LONG, "* " * (LONG // 2)),
    ],
    ids=lambda text: text[:6],
)
def test_no_answer_takes_time_that_grows_with_its_square(text):
    # with 10^12 steps the suite's own limit would end it
    prompt = Prompt.of("Tell me about rain.")
    for name in KINDS:
        dressed = dress(prompt, np.random.default_rng(0), kinds=(name,))
        assert [meets(text, check) for check in dressed.checks] != []
