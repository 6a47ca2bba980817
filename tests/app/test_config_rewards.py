import pytest
from pydantic import TypeAdapter, ValidationError

from eva.app.config_rewards import Combined, Reward, Rules


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
