"""Verifiers and penalties as a config makes them, and whole games with them."""

import json

import pytest
from pydantic import TypeAdapter

from eva.app import play
from eva.app.config_rewards import Reward
from eva.app.load import load_config, parse_config
from eva.app.rewards import reward_model
from eva.errors import ConfigError
from eva.planning import plan
from eva.runs import parquet
from eva.runs.folder import RunFolder
from eva.types import Group, Prompt, Response, ScoredGroup


def rewards(section, *texts, **columns):
    prompt = Prompt.of("q", columns=columns)
    group = Group(prompt, (), tuple(Response(text, (1,)) for text in texts), "p")
    made = reward_model(TypeAdapter(Reward).validate_python(section), device="cpu")
    return made.score([group])[0].rewards


def test_each_reads_its_column_or_its_setting(tmp_path):
    math = {"name": "math", "column": "solution", "seconds": 60}
    assert rewards(math, "\\boxed{4}", "5", solution="2+2") == (1.0, 0.0)
    pattern = {"name": "pattern", "pattern": "[ab]+", "whole": True, "seconds": 60}
    assert rewards(pattern, "abba", "abc") == (1.0, 0.0)
    grouped = {"name": "pattern", "column": "form", "group": "1", "answer": "gold", "seconds": 60}
    assert rewards(grouped, "is 3", "is 4", form=r"is (\d)", gold=3) == (1.0, 0.0)
    file = tmp_path / "shape.json"
    file.write_text('{"type": "integer"}')
    for given in ({"definition": str(file)}, {"definition": '{"type": "integer"}'}):
        assert rewards({"name": "json_schema", "seconds": 60} | given, "3", '"3"') == (1.0, 0.0)
    column = {"name": "json_schema", "column": "shape", "seconds": 60}
    assert rewards(column, "3", '"3"', shape={"type": "string"}) == (0.0, 1.0)


def test_each_penalty_is_made_of_its_settings(tmp_path):
    assert rewards({"name": "length", "limit": 2}, "a b", "a b c") == (0.0, -1.0)
    assert rewards({"name": "length", "limit": 2, "unit": "tokens"}, "a b c") == (0.0,)
    assert rewards({"name": "repetition", "ngram": 1}, "a a") == (-0.5,)
    file = tmp_path / "words.txt"
    file.write_text("# mild\ndarn\n\n")
    listed = {"name": "profanity", "words": ["heck"], "file": str(file), "full": 2}
    assert rewards(listed, "darn heck", "darn", "fine # mild") == (-1.0, -0.5, 0.0)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"name": "json_schema", "definition": "nowhere.json"}, "nowhere.json"),
        ({"name": "json_schema", "definition": "{"}, "expected a JSON file"),
        ({"name": "profanity", "file": "nowhere.txt"}, "nowhere.txt"),
    ],
)
def test_what_cannot_be_read_is_named(section, words):
    with pytest.raises(ConfigError, match=words):
        rewards(section, "x")


def game(tmp_path, reward, **changes):
    rows = [{"prompt": f"What is {n} + {n}?", "answer": str(2 * n)} for n in range(8)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "own.py").write_text(
        "def letters(response):\n    return sum(c.isalpha() for c in response) / 50\n"
        "async def vowels(response):\n    return sum(c in 'aeiou' for c in response) / 20\n"
    )
    own = str(tmp_path / "own.py")
    settings = {
        "seed": 3,
        "rounds": 2,
        "policy": {"model": "random:tiny"},
        "prompts": {"source": str(tmp_path / "prompts.jsonl"), "keep": ["answer"], "per_round": 8},
        "answers": {"n": 4, "max_tokens": 16, "temperature": 1.0, "top_p": 1.0},
        "reward": reward(own),
        "creator": {"evolver": {"name": "none"}, "source": "human", "fraction": 0.5},
        "solver": {
            "objective": "dpo",
            "pairs": {"truncated_chosen": True},
            "learning_rate": 1e-3,
        },
        "evaluation": {"when": "never"},
        "run": {"chunk": 4, "threads": 1},
    }
    creator = settings["creator"] | changes.pop("creator", {})
    return parse_config(settings | {"creator": creator} | changes)


def verified(own):
    right = {"name": "math", "seconds": 60}
    style = {"name": "python", "function": f"{own}:letters"}
    bonus = {"name": "gated", "gate": right, "reward": style, "threshold": 1.0}
    parts = [
        {"name": "gated", "gate": style, "reward": bonus, "threshold": 9.0, "otherwise": -1.0},
        {"name": "python", "function": f"{own}:vowels"},
        {"name": "repetition", "ngram": 1},
        {"name": "length", "limit": 4, "ramp": 20, "unit": "tokens"},
    ]
    return {"name": "combined", "parts": parts, "weights": [0.1, 1.0, 0.5, 0.2]}


def test_a_game_is_played_with_rewards_within_rewards(tmp_path):
    config = game(tmp_path, verified)
    plan.of(config)
    play.run(config, tmp_path / "run")
    with RunFolder.open_readonly(tmp_path / "run") as folder:
        first, second = folder.records()
    assert first["solver"]["unscored"] == second["creator"]["unscored"] == {}
    assert first["solver"]["pairs"] > 0
    assert "disagreement" not in second["creator"]


def unsure(own):
    members = [{"name": "python", "function": f"{own}:{name}"} for name in ("letters", "vowels")]
    return {"name": "ensemble", "members": members, "scales": [1.0, 0.5]}


def test_a_game_with_an_ensemble_keeps_its_members_and_corrects_for_them(tmp_path):
    plain, clean = (
        game(tmp_path, unsure, creator={"noise_corrected": corrected})
        for corrected in (False, True)
    )
    play.run(plain, tmp_path / "plain")
    play.run(clean, tmp_path / "clean")
    records, metrics = {}, {}
    for name in ("plain", "clean"):
        with RunFolder.open_readonly(tmp_path / name) as folder:
            records[name] = folder.records()[1]["creator"]
            metrics[name] = folder.population.table("metrics")
    assert records["plain"]["disagreement"] == records["clean"]["disagreement"] > 0
    assert records["clean"]["info_mean"] < records["plain"]["info_mean"]
    assert -1 <= records["plain"]["disagreement_correlation"] <= 1
    kept = parquet.read(tmp_path / "clean/rounds/002/creator/score", kind=ScoredGroup)
    assert all(len(score.members) == 2 for group in kept for score in group.scores)
    name = "creator/disagreement_correlation"
    logged = [row for row in metrics["clean"] if name in row["metrics"]]
    assert len(logged) == 1


def test_the_correction_needs_an_ensemble(tmp_path):
    with pytest.raises(ConfigError, match="make the reward an ensemble"):
        game(tmp_path, verified, creator={"noise_corrected": True})


def test_files_of_rewards_are_found_beside_the_config(tmp_path, monkeypatch):
    game(tmp_path, verified)  # writes the prompts
    (tmp_path / "shape.json").write_text("{}")
    (tmp_path / "game.toml").write_text(
        'policy = { model = "random:tiny" }\nprompts = { source = "prompts.jsonl" }\n'
        'solver = { objective = "dpo" }\n'
        'reward = { name = "json_schema", definition = "shape.json" }\n'
    )
    loaded = load_config(tmp_path / "game.toml")
    assert loaded.reward.definition == str(tmp_path / "shape.json")
