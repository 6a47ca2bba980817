"""Alarms of a config: defaults, what one key leaves alone, and what cannot be."""

import pytest

from eva.alarms import SIGNS
from eva.app.config_alarms import Alarms
from eva.app.load import parse_config
from eva.errors import ConfigError

GAME = {
    "policy": {"model": "m"},
    "prompts": {"source": "p"},
    "reward": {"name": "python", "function": "m:f"},
    "solver": {"objective": "dpo"},
    "creator": {"name": "static"},
}


def test_every_sign_has_an_alarm_which_warns():
    limits = Alarms().limits()
    assert set(limits) == set(SIGNS)
    assert {limit.action for limit in limits.values()} == {"warn"}


@pytest.mark.parametrize("given", ["stop", {"action": "stop"}])
def test_an_action_alone_leaves_the_limit(given):
    game = parse_config(GAME | {"alarms": {"length": given}})
    assert game.alarms.limits()["length"] == Alarms().limits()["length"].__class__(1.5, "stop")
    assert game.alarms.repetition == Alarms().repetition


@pytest.mark.parametrize(
    ("alarms", "fault"),
    [
        ({"lenght": {}}, "alarms: unknown key 'lenght': did you mean 'length'"),
        ({"length": {"action": "panic"}}, "alarms.length.action"),
        ({"length": "panic"}, "alarms.length.action"),
        ({"length": {"limit": 1.0}}, "alarms.length.limit"),
        ({"diversity": {"limit": 1.5}}, "alarms.diversity.limit"),
    ],
)
def test_faults_are_named(alarms, fault):
    with pytest.raises(ConfigError, match=fault):
        parse_config(GAME | {"alarms": alarms})


BACK = {"alarms": {"truncation": {"action": "rollback"}}}


def test_going_back_needs_a_policy_to_go_back_to():
    with pytest.raises(ConfigError, match="keep_policies = 2 keeps too few"):
        parse_config(GAME | BACK)
    kept = GAME | BACK | {"run": {"keep_policies": 3}}
    parse_config(kept)
    with pytest.raises(ConfigError, match="'scratch' no round begins from one"):
        parse_config(kept | {"solver": {"objective": "dpo", "start": "scratch"}})
