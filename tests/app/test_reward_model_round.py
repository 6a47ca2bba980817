"""A small reward model, trained on the packaged preference pairs, plays two rounds."""

import pytest
from tests.rewards.preference_models import chat_folder

from eva.app import play
from eva.app.load import parse_config
from eva.data.assets import resolve
from eva.data.preferences import load_preferences
from eva.rewards.training import RewardTraining, train_reward_model
from eva.runs.folder import RunFolder


@pytest.mark.model
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_trained_reward_model_scores_a_whole_game(tmp_path):
    pairs = load_preferences("packaged:preferences", limit=60).pairs
    settings = RewardTraining(train="head", max_length=64, cut=True, folds=2)
    fit = train_reward_model(
        pairs, resolve("packaged:minilm-l6-v2"), tmp_path / "reward", settings=settings
    )
    assert fit.held_out > 0
    config = parse_config(
        {
            "rounds": 2,
            "policy": {"model": "random:tiny"},
            "prompts": {"source": "packaged:alpaca", "per_round": 6},
            "answers": {"n": 3, "max_tokens": 12, "temperature": 1.0},
            "reward": {"name": "classifier", "model": str(tmp_path / "reward")},
            "creator": {"evolver": {"name": "evol_instruct", "max_tokens": 12}},
            "solver": {
                "objective": "simpo",
                "pairs": {"truncated_chosen": True},
                "learning_rate": 1e-3,
            },
            "evaluation": {"when": "never"},
        }
    )
    play.run(config, tmp_path / "run")
    with RunFolder.open_readonly(tmp_path / "run") as folder:
        first, second = folder.records()
        refused = folder.population.table("refusals")
    assert first["solver"]["unscored"] == {}
    assert first["solver"]["pairs"] > 0
    # a random model cannot rewrite: every try is refused, with a reason, and originals are played
    assert second["creator"]["refused"] == len(refused) == 4 * second["creator"]["drawn"]
    assert all(row["reason"] for row in refused)
    assert second["counts"] == {"prompts": 6, "evolved": 0, "human": 6}


def test_a_preference_model_compares_the_answers_of_a_whole_game(tmp_path):
    folder = chat_folder(tmp_path / "preference")
    config = parse_config(
        {
            "rounds": 1,
            "policy": {"model": "random:tiny"},
            "prompts": {"source": "packaged:alpaca", "per_round": 4},
            "answers": {"n": 3, "max_tokens": 8, "temperature": 1.0},
            "reward": {"name": "preference", "model": str(folder)},
            "solver": {
                "objective": {"name": "sppo_soft"},
                "pairs": {"truncated_chosen": True},
            },
            "creator": {"name": "static"},
            "evaluation": {"when": "never"},
        }
    )
    play.run(config, tmp_path / "run")
    with RunFolder.open_readonly(tmp_path / "run") as run:
        (record,) = run.records()
    solver = record["solver"]
    assert solver["judged_pairs"] == 4 * 3
    assert solver["unjudged"] == solver["unscored"] == {}
    assert solver["pairs"] == 4
    # mean wins of all answers to a prompt are even
    assert solver["reward_mean"] == pytest.approx(0.5)
    assert 0 < solver["reward_best"] - solver["reward_worst"] < 1
