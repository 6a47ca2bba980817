from pathlib import Path

from eva.app.paths import located


def test_what_lies_beside_the_config_is_found_from_anywhere(tmp_path, monkeypatch):
    (tmp_path / "game").mkdir()
    for name in ("prompts.jsonl", "reward.py", "model"):
        (tmp_path / "game" / name).touch()
    monkeypatch.chdir(tmp_path)
    data = {
        "policy": {"model": "model"},
        "prompts": {"source": "prompts.jsonl"},
        "reward": {"parts": [{"name": "python", "function": "reward.py:score"}]},
    }
    found = located(data, Path("game"))
    assert found["policy"]["model"] == str(tmp_path / "game/model")
    assert found["prompts"]["source"] == str(tmp_path / "game/prompts.jsonl")
    assert found["reward"]["parts"][0]["function"] == f"{tmp_path / 'game/reward.py'}:score"


def test_anything_else_is_left_alone(tmp_path):
    (tmp_path / "dpo").touch()
    data = {
        "rounds": 2,
        "policy": {"model": "some/hub-id", "dtype": "float32"},
        "prompts": {"source": "packaged:alpaca", "column": ""},
        "reward": {"name": "python", "function": "package.module:score"},
        "solver": {"objective": "dpo"},
        "evaluation": {"relevance": "", "ifeval": {"source": str(tmp_path / "dpo")}},
    }
    assert located(data, tmp_path) == data
