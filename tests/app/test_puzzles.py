"""A game of puzzles, from its config; with the real library where it is installed."""

import pytest

from eva import gym
from eva.app import play
from eva.app.config_parts import Gym
from eva.app.load import parse_config
from eva.app.puzzles import load_puzzles
from eva.errors import ConfigError, DataError
from eva.planning import plan
from eva.rng import Streams
from eva.runs.folder import RunFolder
from eva.types import Prompt

REAL = pytest.mark.skipif(gym._LIBRARY is None, reason="reasoning-gym is not installed")
STREAMS = Streams(0, 0, "test")


def game(**changes):
    settings = {
        "seed": 2,
        "rounds": 2,
        "policy": {"model": "random:tiny"},
        "prompts": {
            "source": "reasoning_gym",
            "per_round": 8,
            "gym": {"tasks": ["gcd", "chain_sum"], "size": 12, "level": 1},
        },
        "answers": {"n": 3, "max_tokens": 8, "temperature": 1.0, "top_p": 1.0},
        "reward": {
            "name": "combined",
            "parts": [{"name": "puzzle", "seconds": 60}, {"name": "length", "limit": 1, "ramp": 9}],
            "weights": [1.0, 0.1],
        },
        "creator": {"evolver": {"name": "levels"}, "gates": [], "fraction": 0.5},
        "solver": {"objective": "dpo", "pairs": {"truncated_chosen": True}},
        "evaluation": {"when": "ends", "heldout": {"prompts": 2}, "max_tokens": 8},
        "run": {"chunk": 4, "threads": 1},
    }
    return parse_config(settings | changes)


def test_source_evolver_and_gates_go_together():
    with pytest.raises(ConfigError, match="go together"):
        game(prompts={"source": "reasoning_gym"})
    with pytest.raises(ConfigError, match=r"set prompts\.source"):
        game(prompts={"source": "a.jsonl"})
    with pytest.raises(ConfigError, match=r"set creator\.gates = \[\]"):
        game(creator={"evolver": {"name": "levels"}})


def test_tasks_take_turns_and_a_longer_list_begins_with_the_shorter(monkeypatch):
    def puzzle(task, level, seed):
        if task == "b" and level == 2:
            raise DataError("none of level 2")
        return Prompt.of(f"{task} {level} {seed}", columns={"task": task, "level": level})

    monkeypatch.setattr(gym, "check_task", lambda task: None)
    monkeypatch.setattr(gym, "top_level", {"a": 1, "b": 5}.get)
    monkeypatch.setattr(gym, "puzzle", puzzle)
    few, many = (load_puzzles(Gym(tasks=("a", "b"), size=n, level=2), STREAMS) for n in (20, 40))
    assert many.prompts[: len(few.prompts)] == few.prompts
    levels = {t: {p.columns["level"] for p in many.prompts if p.text[0] == t} for t in "ab"}
    assert levels == {"a": {0, 1}, "b": {0, 1}}
    assert len(many.prompts) + len(many.set_aside) == 40
    assert set(many.reasons) == {"not made"}
    monkeypatch.setattr(gym, "puzzle", lambda *_: puzzle("b", 2, 0))
    with pytest.raises(DataError, match="none of 1 puzzles"):
        load_puzzles(Gym(tasks=("b",), size=1), STREAMS)


@REAL
def test_a_game_of_puzzles_is_played_and_its_levels_move(tmp_path):
    config = game()
    plan.of(config)
    play.run(config, tmp_path / "run")
    with RunFolder.open_readonly(tmp_path / "run") as folder:
        _, second = folder.records()
        born = [p for p in folder.population.prompts() if p.evolved]
    assert second["counts"]["evolved"] > 0
    assert second["creator"]["refused"] == 0
    assert set(second["creator"]["operators"]) <= {"harder", "easier", "another"}
    assert {p.columns["task"] for p in born} <= {"gcd", "chain_sum"}
    assert second["solver"]["unscored"] == {}
