import pytest
from pydantic import TypeAdapter, ValidationError

from eva.app.config_rewards import Combined, Reward, Rules, has_ensemble


def reward(**section):
    return TypeAdapter(Reward).validate_python(section)


def test_a_reward_is_chosen_by_its_name():
    assert isinstance(reward(name="rules", credit="all"), Rules)
    with pytest.raises(ValidationError):
        reward(name="classifier")


def test_leaves_are_what_a_combination_is_made_of():
    parts = [{"name": "rules"}, {"name": "relevance"}]
    combined = reward(name="combined", parts=parts, weights=[1, 2])
    assert isinstance(combined, Combined)
    assert [leaf.name for leaf in combined.leaves()] == ["rules", "relevance"]
    assert [leaf.name for leaf in combined.parts[0].leaves()] == ["rules"]


RULES = {"name": "rules"}


def nested(levels):
    section = RULES
    for _ in range(levels - 1):
        section = {"name": "combined", "parts": [section], "weights": [1]}
    return section


def test_rewards_are_made_of_rewards_down_to_their_leaves():
    ensemble = {"name": "ensemble", "members": [{"name": "relevance"}, RULES]}
    gated = {"name": "gated", "gate": RULES, "reward": ensemble, "threshold": 1}
    made = reward(name="combined", parts=[gated, {"name": "length", "limit": 9}], weights=[1, 1])
    assert [leaf.name for leaf in made.leaves()] == ["rules", "relevance", "rules", "length"]
    assert has_ensemble(made)
    assert not has_ensemble(reward(**nested(3)))


def test_a_fault_within_a_fault_says_where():
    with pytest.raises(ValidationError) as error:
        reward(name="gated", gate=RULES, reward={"name": "length"}, threshold=0)
    assert error.value.errors()[0]["loc"] == ("gated", "reward", "length", "limit")


def test_nobody_nests_deeper_than_can_be_read():
    assert reward(**nested(5)).leaves()
    with pytest.raises(ValidationError, match="more than 5 levels"):
        reward(**nested(6))


def test_an_ensemble_has_two_members():
    with pytest.raises(ValidationError, match="at least 2"):
        reward(name="ensemble", members=[RULES])
