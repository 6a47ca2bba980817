from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from eva.app.config_rewards import Reward
from eva.app.load import parse_config
from eva.errors import ConfigError

GAME = {
    "policy": {"model": "random:tiny"},
    "prompts": {"source": "prompts.jsonl"},
    "solver": {"objective": "sppo_soft"},
    "reward": {"name": "pairwise", "model": "random:tiny"},
}
SERVER = {"url": "http://localhost:1/v1", "model": "m"}


def section(**keys):
    return TypeAdapter(Reward).validate_python(keys)


@pytest.mark.parametrize("name", ["judge", "pairwise"])
def test_a_judge_is_a_model_or_a_server(name):
    assert section(name=name, model="m").self_test
    assert section(name=name, server=SERVER).server.model == "m"
    for keys in ({}, {"model": "m", "server": SERVER}):
        with pytest.raises(ValidationError, match="set either model or server"):
            section(name=name, **keys)


@pytest.mark.parametrize(
    ("name", "template", "fault"),
    [
        ("judge", "Grade {answer}", r"\{prompt\}, once"),
        ("judge", "{prompt} {answer} {answer}", r"\{answer\}, once"),
        ("pairwise", "{prompt} {answer}", r"\{first\}, \{second\}, once"),
    ],
)
def test_a_template_without_its_placeholders_is_refused(name, template, fault):
    with pytest.raises(ValidationError, match=fault):
        section(name=name, model="m", template=template)


def test_a_template_of_your_own():
    template = "Is {answer} good for {prompt}? Mind {this}."
    assert section(name="judge", model="m", template=template).template == template


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ({"lowest": 5, "highest": 5}, "lowest must be below highest"),
        ({"samples": 3}, "all samples are the same"),
        ({"samples": 0}, "greater than 0"),
    ],
)
def test_a_scale_and_samples_that_make_no_sense_are_refused(keys, fault):
    with pytest.raises(ValidationError, match=fault):
        section(name="judge", model="m", **keys)


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ({"solver": {"objective": "dpo", "rewrite": {}}}, "solver.rewrite has one answer"),
        ({"evaluation": {"heldout": {}}}, "'pairwise' compares .*heldout has one answer"),
        (
            {"reward": {"name": "preference", "model": "m"}, "evaluation": {"heldout": {}}},
            "'preference' compares .*heldout has one answer",
        ),
        (
            {
                "reward": {
                    "name": "combined",
                    "weights": [1],
                    "parts": [{"name": "pairwise", "model": "m"}],
                },
                "solver": {"objective": "dpo", "rewrite": {}},
            },
            "solver.rewrite has one answer",
        ),
    ],
)
def test_a_game_that_would_compare_an_answer_alone_is_refused(keys, fault):
    with pytest.raises(ConfigError, match=fault):
        parse_config(GAME | keys)


def test_a_judge_grades_an_answer_alone():
    reward = {"name": "judge", "model": "m"}
    parse_config(GAME | {"reward": reward, "evaluation": {"heldout": {}}})
    parse_config(GAME | {"evaluation": {"heldout": {}, "when": "never"}})
