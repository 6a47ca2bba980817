import json

import pytest
from pydantic import TypeAdapter

from eva.app.config_rewards import Reward
from eva.app.load import parse_config
from eva.app.prompts import prompt_sets
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


def test_a_kept_column_of_the_data_reaches_the_function(tmp_path):
    data, code = tmp_path / "prompts.jsonl", tmp_path / "own.py"
    rows = [{"prompt": f"What is {n} + {n}?", "answer": 2 * n, "other": "x"} for n in range(3)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code.write_text("def right(response, answer):\n    return float(response == str(answer))\n")
    game = parse_config(
        {
            "policy": {"model": "random:tiny"},
            "prompts": {"source": str(data), "keep": ["answer"]},
            "reward": {"name": "python", "function": f"{code}:right"},
            "solver": {"objective": "dpo"},
        }
    )
    human = prompt_sets(game).human
    assert [set(prompt.columns) for prompt in human] == [{"answer"}] * 3
    groups = [Group(p, (1,), (Response("2", (1,)), Response("5", (1,))), "p") for p in human]
    scored = reward_model(game.reward, device="cpu").score(groups)
    rewards = {one.group.prompt.text: one.rewards for one in scored}
    assert rewards["What is 1 + 1?"] == (1.0, 0.0)
    assert rewards["What is 2 + 2?"] == (0.0, 0.0)
