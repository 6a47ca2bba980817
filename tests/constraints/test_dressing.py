from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eva.constraints import (
    KINDS,
    TOPICS,
    compatible,
    conflict,
    dress,
    fitting,
    level_of,
    partition,
    request,
)
from eva.errors import ConfigError
from eva.types import Check, Message, Prompt

TRAINED = partition().trained


@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 5))
def test_dress_gives_compatible_checks_of_allowed_kinds(seed, count, level):
    prompt = Prompt.of(TOPICS[seed % len(TOPICS)], columns={"source": "own"})
    made = dress(prompt, np.random.default_rng(seed), kinds=TRAINED, count=count, level=level)
    assert len(made.checks) == count
    assert all(check.kind in TRAINED for check in made.checks)
    assert all(level_of(c) == min(level, len(KINDS[c.kind].levels)) for c in made.checks)
    assert all(conflict(a, b) is None for a in made.checks for b in made.checks if a is not b)
    assert made.topic == request(made) == prompt.text
    assert made.id != prompt.id
    assert (made.operator, made.parents, made.columns) == ("human", (), prompt.columns)


def test_dress_keeps_earlier_turns():
    turns = (Message("system", "Be kind."), Message("user", "Name a fruit."))
    made = dress(Prompt(turns), np.random.default_rng(0), kinds=["lowercase"])
    assert made.messages[0] == turns[0]
    assert made.topic == "Name a fruit."


def test_dress_says_when_too_few_kinds_go_together():
    with pytest.raises(ConfigError, match="cannot put 2 constraints"):
        dress(Prompt.of("Hi."), np.random.default_rng(0), kinds=["lowercase", "uppercase"], count=2)
    with pytest.raises(ConfigError, match="did you mean 'lowercase'"):
        dress(Prompt.of("Hi."), np.random.default_rng(0), kinds=["lower_case"])


def test_dress_refuses_a_prompt_with_checks():
    with pytest.raises(ValueError, match="already"):
        dress(
            Prompt.of("Hi.", checks=(Check("lowercase"),)),
            np.random.default_rng(0),
            kinds=["commas"],
        )


@given(st.integers(0, 10**6), st.sampled_from([10, 20, 40, 200]))
def test_fitting_stays_within_the_budget_of_words(seed, budget):
    rng = np.random.default_rng(seed)
    others = [Check("commas")]
    check = fitting(others, TRAINED, rng, level=int(rng.integers(1, 6)), budget=budget)
    if check is not None:
        assert compatible(check, others)
        assert KINDS[check.kind].least_words(check.args) <= budget


def test_arguments_grow_with_the_budget():
    words = [
        KINDS["min_words"].draw(5, np.random.default_rng(0), budget=budget).args["words"]
        for budget in (40, 400)
    ]
    assert words[1] >= 9 * words[0]
