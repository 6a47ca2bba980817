"""The config of online eva: its defaults, and what does not go together is refused by name."""

import pytest

from eva.app.config_online import misfits
from eva.app.load import load_config, parse_config
from eva.errors import ConfigError

BASE = {
    "schedule": "online",
    "policy": {"model": "random:tiny"},
    "prompts": {"source": "configs/smoke_prompts.jsonl"},
    "reward": {"name": "python", "function": "configs/smoke_reward.py:letters"},
    "creator": {"name": "static"},
    "solver": {"objective": "rloo"},
}


def parsed(**changes):
    return parse_config({**BASE, **changes})


def test_the_schedule_has_defaults_of_its_own():
    game = parsed()
    assert game.creator.informativeness == "a_avg"
    assert game.creator.sampler.name == "greedy"
    assert (game.answers.temperature, game.answers.top_p) == (1.0, 1.0)
    assert (game.solver.schedule, game.solver.warmup) == ("constant", 0.0)
    sizes = game.online
    assert (sizes.batch, sizes.buffer, sizes.replayed, sizes.evolved) == (8, 3200, 0.5, 0.5)
    assert (game.creator.children, sizes.bootstrap_children, sizes.staleness) == (4, 2, 0.0)
    # what the config says itself is stronger
    assert parsed(answers={"temperature": 0.7}).answers.temperature == 0.7


def test_the_papers_preset_has_no_gates_and_a_rewriting_model():
    game = parsed(preset="paper", creator={"name": "eva"})
    assert game.creator.gates == ()
    assert game.creator.evolver.name == "evol_instruct"
    assert game.creator.informativeness == "a_avg"


def test_the_offline_defaults_are_as_they_were():
    game = parse_config({**BASE, "schedule": "offline", "solver": {"objective": "dpo"}})
    assert (game.creator.informativeness, game.solver.schedule) == ("a_min", "cosine")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"solver": {"objective": "dpo"}}, "take rloo"),
        ({"schedule": "offline"}, "set schedule = 'online'"),
        ({"creator": {"name": "new_human"}}, "new_human"),
        ({"solver": {"objective": "rloo", "start": "scratch"}}, "take 'incremental'"),
        ({"solver": {"objective": "rloo", "reference": "previous"}}, "first policy: 'base'"),
        ({"budget": {"tokens": 10}}, "set rounds and online.steps"),
        ({"run": {"processes": 2}}, "eva.integrations.trl"),
        ({"online": {"background": True}}, "creator.evolver.model"),
        ({"creator": {"sampler": "topic_blended"}}, "take 'greedy' or 'weighted'"),
        ({"online": {"batch": 0}}, "online.batch"),
        ({"online": {"bufer": 3}}, "did you mean 'buffer'"),
        ({"solver": {"objective": {"name": "rloo", "clip": 0.1}}}, "clip_low"),
        ({"solver": {"objective": "rlo"}}, "did you mean 'rloo'"),
    ],
)
def test_what_does_not_go_together_is_refused_by_name(changes, said):
    with pytest.raises(ConfigError, match=said.replace(".", r"\.")):
        parsed(**changes)


def test_every_misfit_is_in_one_message():
    with pytest.raises(ConfigError) as caught:
        parsed(run={"processes": 2}, budget={"tokens": 5}, solver={"objective": "dpo"})
    for part in ("run.processes", "budget", "solver.objective"):
        assert part in str(caught.value)


def test_the_smoke_config_fits():
    assert list(misfits(load_config("configs/smoke-online.toml"))) == []
