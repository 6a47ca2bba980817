import re

import pytest

from eva.errors import ConfigError
from eva.probing.arguments import game_of

MODEL, PROMPTS = "random:tiny", "prompts.jsonl"


@pytest.mark.parametrize(
    ("said", "name", "key", "value"),
    [
        ("rules", "rules", "credit", "share"),
        ("classifier:some/model", "classifier", "model", "some/model"),
        ("python:my.py:f", "python", "function", "my.py:f"),
        ("relevance", "relevance", "model", "packaged:minilm-l6-v2"),
    ],
)
def test_rewards_by_name(said, name, key, value):
    reward = game_of((MODEL, PROMPTS, said)).reward
    assert (reward.name, getattr(reward, key)) == (name, value)


def test_a_reward_from_a_file_stands_beside_it(tmp_path):
    (tmp_path / "mine.py").write_text("def f(prompt, response): return 1.0\n")
    file = tmp_path / "game.toml"
    file.write_text('rounds = 3\n[reward]\nname = "python"\nfunction = "mine.py:f"\n')
    assert game_of((MODEL, PROMPTS, str(file))).reward.function == f"{tmp_path}/mine.py:f"
    file.write_text('reward = "rules"\n')
    assert game_of((MODEL, PROMPTS, str(file))).reward.name == "rules"


def test_options_reach_the_config():
    game = game_of(
        (MODEL, PROMPTS, "rules"),
        constraints=2,
        seed=7,
        answers={"n": 4, "temperature": 1.0, "max_tokens": None},
    )
    assert (game.seed, game.answers.n, game.answers.temperature) == (7, 4, 1.0)
    assert game.answers.max_tokens == 256
    assert game.prompts.constraints.count == (2,)


def test_options_change_a_config_and_nothing_else_does(tmp_path):
    file = tmp_path / "game.toml"
    file.write_text(
        'seed = 3\npolicy = { model = "random:tiny" }\nprompts = { source = "p.jsonl" }\n'
        'answers = { n = 5, max_tokens = 9 }\nreward = "relevance"\n'
        'creator = { evolver = { name = "evol_instruct" } }\nsolver = { objective = "dpo" }\n'
    )
    game = game_of(("", "", ""), file)
    assert (game.seed, game.answers.n, game.answers.max_tokens) == (3, 5, 9)
    game = game_of(("", "", ""), file, seed=4, answers={"n": 6})
    assert (game.seed, game.answers.n, game.answers.max_tokens) == (4, 6, 9)


@pytest.mark.parametrize(
    ("arguments", "answers", "said"),
    [
        ((MODEL, "", ""), {}, "PROMPTS and REWARD missing"),
        ((MODEL, PROMPTS, "ruls"), {}, "reward: unknown name 'ruls': did you mean 'rules'"),
        ((MODEL, PROMPTS, "my.py:reward"), {}, "a function is named by python:my.py:reward"),
        ((MODEL, PROMPTS, "none.toml"), {}, "reward none.toml: cannot be read"),
        ((MODEL, PROMPTS, "rules"), {"temperature": 0.0}, "answers.temperature"),
    ],
)
def test_what_does_not_fit_is_named(arguments, answers, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        game_of(arguments, answers=answers)


def test_a_config_and_arguments_are_too_many(tmp_path):
    with pytest.raises(ConfigError, match="give either"):
        game_of((MODEL, "", ""), tmp_path / "game.toml")


@pytest.mark.parametrize(
    ("text", "said"), [("[reward", "broken TOML"), ("rounds = 2", "has no [reward] table")]
)
def test_a_file_without_a_reward(tmp_path, text, said):
    file = tmp_path / "game.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(said)):
        game_of((MODEL, PROMPTS, str(file)))
