"""From a config to an online game: every setting reaches its part."""

import pytest

from eva import online
from eva.app.build import Parts
from eva.app.build_online import keeps_base, learner, pace
from eva.app.load import load_config, parse_config
from eva.app.progress import Silent
from eva.creator.pace import AtOnce, Background
from eva.errors import ConfigError
from eva.runs.folder import RunFolder
from eva.solver.online import OaifLearner

SMOKE = "configs/smoke-online.toml"


def config(*overrides):
    return load_config(SMOKE, overrides)


def test_sizes_reach_the_creator():
    parts = Parts(
        config(
            "online.batch=3", "online.buffer=9", "online.replayed=0.25", "online.evolved=0.75",
            "online.bootstrap_children=1", "online.shrink=0.1", "online.staleness=0.2",
            "online.draw=uniform", "creator.children=5",
        ),
        progress=Silent(),
    )  # fmt: skip
    sizes = parts.online_creator().sizes
    assert (sizes.batch, sizes.buffer, sizes.replayed, sizes.evolved) == (3, 9, 0.25, 0.75)
    assert (sizes.children, sizes.bootstrap_children) == (5, 1)
    assert (sizes.shrink, sizes.staleness, sizes.draw) == (0.1, 0.2, "uniform")


def test_a_static_game_evolves_nothing():
    creator = Parts(config("creator.name=static"), progress=Silent()).online_creator()
    assert creator.sizes.evolved == 0.0


def test_settings_reach_the_learner():
    made = learner(
        config(
            "solver.objective={name='grpo',kl=0.1,scale='none',clip_high=0.3,correction='token'}",
            "solver.epochs=2", "solver.learning_rate=0.01", "online.minibatch=4",
        )
    )  # fmt: skip
    settings, updates = made.settings, made.updates
    assert (settings.estimator, settings.scale, settings.kl, settings.kl_in) == (
        "grpo", "none", 0.1, "loss",
    )  # fmt: skip
    assert (settings.clip_high, settings.correction) == (0.3, "token")
    assert (updates.epochs, updates.lr, updates.minibatch, updates.seed) == (2, 0.01, 4, 1)
    assert learner(config("online.minibatch=0")).updates.minibatch is None


def test_algorithms_keep_what_is_their_own():
    assert learner(config("solver.objective=gspo")).settings.level == "sequence"
    assert learner(config("solver.objective=dr_grpo")).settings.length == 16
    rloo = learner(config("solver.objective={name='rloo',kl=0.1}")).settings
    assert (rloo.kl_in, rloo.scale) == ("reward", "none")


def test_oaif_trains_on_pairs_against_the_first_policy():
    made = learner(config("solver.objective=oaif", "solver.pairs.margin=0.5"))
    assert isinstance(made, OaifLearner)
    assert (made.pairs.margin, made.reference) == (0.5, "base")


def test_the_first_policy_is_kept_only_where_every_step_asks_for_it():
    assert keeps_base(config())
    assert not keeps_base(config("solver.objective.kl=0.0"))
    assert keeps_base(config("solver.objective=oaif"))
    assert not keeps_base(load_config("configs/smoke.toml"))


def test_the_pace_is_the_configs():
    assert isinstance(pace(config()), AtOnce)
    background = config().model_dump(mode="json")
    background["prompts"]["constraints"] = None
    background["online"]["background"] = True
    background["reward"] = {"name": "python", "function": "configs/smoke_reward.py:letters"}
    background["creator"]["evolver"] = {"name": "evol_instruct", "model": "random:tiny"}
    made = pace(parse_config(background))
    assert isinstance(made, Background)
    made.close()


def test_a_loss_that_cannot_be_is_refused_before_a_model_is_loaded():
    with pytest.raises(ConfigError, match="sequence_sum"):
        learner(config("solver.objective={name='rloo',correction='token'}"))


@pytest.mark.parametrize("objective", ["rloo", "grpo", "dr_grpo", "gspo", "reinforce", "oaif"])
def test_every_objective_plays_a_game(objective, tmp_path):
    small = config(
        f"solver.objective={objective}", "online.steps=2", "rounds=1", "evaluation.when=never",
        "solver.pairs.truncated_chosen=true", "policy.lora={rank=2}",
    )  # fmt: skip
    parts = Parts(small, progress=Silent())
    game = parts.game()
    assert isinstance(game, online.Game)
    assert (game.steps, game.total, game.commit_every) == (2, 2, 2)
    with RunFolder.create(tmp_path / "run", {}) as folder:
        (record,) = online.rounds(game, folder.journal(), until=1)
    assert record["solver"]["training"]["updates"] >= 1
    assert parts.engine.version.count("+")


def test_offline_configs_still_make_offline_games():
    parts = Parts(load_config("configs/smoke.toml"), progress=Silent())
    assert not isinstance(parts.game(), online.Game)
