from __future__ import annotations

import pytest

from eva.creator.operators import operator_set
from eva.errors import ConfigError

MINE = {"name": "persona", "family": "breadth", "template": "As {prompt}, said by a cook {x: 1}."}


def test_evol_complexity_is_evol_instruct_without_breadth():
    instruct, complexity = operator_set("evol_instruct"), operator_set("evol_complexity")
    assert [op.name for op in instruct if op.family == "depth"] == [op.name for op in complexity]
    assert [op.name for op in complexity] == ["constraints", "deepen", "concretise", "reasoning"]
    assert [op.family for op in instruct if op not in complexity] == ["breadth"]


@pytest.mark.parametrize("operator", operator_set("evol_instruct"), ids=lambda op: op.name)
def test_every_template_asks_for_the_prompt_alone(operator):
    assert "Output only the new prompt" in operator.template
    assert operator.request("Add {this}.").endswith("Prompt:\nAdd {this}.")


def test_a_config_adds_operators_and_sets():
    chosen = operator_set("kitchen", operators=[MINE], sets={"kitchen": ["persona", "deepen"]})
    assert [op.name for op in chosen] == ["persona", "deepen"]
    assert chosen[0].request("a poem") == "As a poem, said by a cook {x: 1}."


def test_names_may_be_listed_without_a_set():
    assert [op.name for op in operator_set(["breadth", "deepen"])] == ["breadth", "deepen"]


def test_every_fault_is_listed_at_once():
    broken = [
        MINE | {"template": "No place."},
        MINE | {"name": "twice", "template": "{prompt} {prompt}"},
        MINE | {"name": "typo", "template": "{prompt} {promt}"},
        MINE | {"name": "kind", "family": "width"},
        {"name": "bare", "famly": "depth"},
        MINE | {"name": "deepen"},
    ]
    with pytest.raises(ConfigError) as caught:
        operator_set("evol_instuct", operators=broken)
    for part in (
        "operators[0] (persona): the template's placeholders are none; expected {prompt}, once",
        "operators[1] (twice): the template's placeholders are {prompt}, {prompt}",
        "operators[2] (typo): the template's placeholders are {prompt}, {promt}",
        "operators[3] (kind): unknown family 'width'",
        "operators[4] (bare): unknown field 'famly': did you mean 'family'?",
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
