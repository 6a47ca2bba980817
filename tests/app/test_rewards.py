import pytest
from pydantic import TypeAdapter

from eva.app.config_parts import Reward
from eva.app.rewards import reward_model
from eva.errors import ConfigError
from eva.types import Check, Group, Prompt, Response


def made(**section):
    return reward_model(TypeAdapter(Reward).validate_python(section), device="cpu")


def answered(text):
    prompt = Prompt.of("Say yes.", checks=(Check("lowercase", {"capitals": 0, "level": 3}),))
    return Group(prompt, (1,), (Response(text, (1,)),), "p")


def test_combinations_weigh_their_parts(tmp_path):
    code = tmp_path / "own.py"
    code.write_text("def length(prompt, response):\n    return float(len(response))\n")
    function = {"name": "python", "function": f"{code}:length"}
    reward = made(name="combined", parts=[function, function], weights=[1.0, 0.5])
    (scored,) = reward.score([answered("yes")])
    assert scored.rewards == (4.5,)


def test_a_missing_function_is_named():
    with pytest.raises(ConfigError, match="no_such_module"):
        made(name="python", function="no_such_module:f")


def test_a_missing_reward_model_is_named(tmp_path):
    with pytest.raises(ConfigError, match="nowhere"):
        made(name="classifier", model=str(tmp_path / "nowhere"))
