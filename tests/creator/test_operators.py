from __future__ import annotations

import pytest

from eva.creator.operators import Operator, builtin_operators, operator_set
from eva.errors import ConfigError

MINE = {"name": "cook", "family": "breadth", "template": "As {prompt}, said by a cook {x: 1}."}


def test_evol_complexity_is_evol_instruct_without_breadth():
    instruct, complexity = operator_set("evol_instruct"), operator_set("evol_complexity")
    assert [op.name for op in instruct if op.family == "depth"] == [op.name for op in complexity]
    assert [op.name for op in complexity] == ["constraints", "deepen", "concretise", "reasoning"]
    assert [op.family for op in instruct if op not in complexity] == ["breadth"]


SETS = {
    "evol_quality": ["useful", "relevant", "deepen", "creative", "detail"],
    "self_instruct": ["sibling"],
    "online_ten": [
        *("constraints", "deepen", "concretise", "reasoning", "expand"),
        *("persona", "shift_in", "shift_out", "mix", "abstract"),
    ],
}


@pytest.mark.parametrize("name", SETS)
def test_the_sets_that_the_paper_compares(name):
    assert [op.name for op in operator_set(name)] == SETS[name]


def test_the_ten_are_five_in_depth_and_five_in_breadth_and_one_mixes():
    ten = operator_set("online_ten")
    assert [op.family for op in ten] == ["depth"] * 5 + ["breadth"] * 5
    assert [op.name for op in ten if op.mixes] == ["mix"]
    assert {op.name for op in ten if not op.keeps_topic} == {"shift_out", "mix"}


def test_every_built_in_operator_is_in_a_set():
    used = {op.name for name in (*SETS, "evol_instruct") for op in operator_set(name)}
    assert used == {op.name for op in builtin_operators()}


@pytest.mark.parametrize("operator", builtin_operators(), ids=lambda op: op.name)
def test_every_template_asks_for_the_prompt_alone(operator):
    assert "Output only the new prompt" in operator.template
    asked = operator.request("Add {this}.", ["Show {prompt}."])
    assert asked.endswith("Prompt:\nAdd {this}.")
    assert ("Show {prompt}." in asked) == bool(operator.others)
    assert asked.count("Add {this}.") == 1


def test_others_stand_in_their_places_and_are_not_filled_in_again():
    mix = Operator("mix", "breadth", "One: {other}\nTwo: {prompt}")
    assert mix.request("{other}", ["{prompt}", "c"]) == "One: {prompt}\nTwo: {other}"
    assert (mix.others, mix.mixes) == (1, True)
    look = Operator("look", "breadth", "See\n\n{examples}\n\nPrompt:\n{prompt}")
    assert look.request("c", ["a", "b"]) == "See\n\nPrompt:\na\n\nPrompt:\nb\n\nPrompt:\nc"
    assert look.request("c") == "See\n\nPrompt:\nc"
    assert (look.others, look.mixes) == (3, False)


def test_a_config_adds_operators_and_sets():
    chosen = operator_set("kitchen", operators=[MINE], sets={"kitchen": ["cook", "deepen"]})
    assert [op.name for op in chosen] == ["cook", "deepen"]
    assert chosen[0].request("a poem") == "As a poem, said by a cook {x: 1}."


def test_names_may_be_listed_without_a_set():
    assert [op.name for op in operator_set(["breadth", "deepen"])] == ["breadth", "deepen"]


def test_every_fault_is_listed_at_once():
    broken = [
        MINE | {"template": "No place."},
        MINE | {"name": "twice", "template": "{prompt} {prompt}"},
        MINE | {"name": "typo", "template": "{prompt} {promt}"},
        MINE | {"name": "both", "template": "{prompt} {other} {examples}"},
        MINE | {"name": "kind", "family": "width"},
        MINE | {"name": "topic", "keeps_topic": "no"},
        {"name": "bare", "famly": "depth"},
        MINE | {"name": "deepen"},
    ]
    with pytest.raises(ConfigError) as caught:
        operator_set("evol_instuct", operators=broken)
    for part in (
        "operators[0] (cook): the template's placeholders are none; expected {prompt}, once",
        "operators[1] (twice): the template's placeholders are {prompt}, {prompt}",
        "operators[2] (typo): the template's placeholders are {prompt}, {promt}",
        "operators[3] (both): the template's placeholders are {prompt}, {other}, {examples}",
        "operators[4] (kind): unknown family 'width'",
        "operators[5] (topic): keeps_topic is 'no', expected true or false",
        "operators[6] (bare): unknown field 'famly': did you mean 'family'?",
        "template is None, expected a text",
        "operator 'deepen' is defined 2 times",
        "unknown set of operators 'evol_instuct': did you mean 'evol_instruct'?",
    ):
        assert part in str(caught.value)


def test_unknown_operator_and_empty_choice():
    with pytest.raises(ConfigError, match="did you mean 'deepen'"):
        operator_set(["depen"])
    with pytest.raises(ConfigError, match="expected at least one name"):
        operator_set([])
