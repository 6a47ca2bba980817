import pytest

from eva.app.load import load_config, parse_config
from eva.errors import ConfigError

BASE = {
    "policy": {"model": "some/model"},
    "prompts": {"source": "prompts.jsonl"},
    "reward": {"name": "python", "function": "m:f"},
    "solver": {"objective": "dpo"},
}


def fault(**changes):
    with pytest.raises(ConfigError) as caught:
        parse_config(BASE | changes)
    return str(caught.value)


def test_a_minimal_config_has_the_papers_sizes():
    config = parse_config(BASE)
    assert config.answers.n == 6
    assert config.creator.fraction == 0.25
    assert config.creator.children == 4
    assert config.creator.evolved_share == 0.8
    assert config.creator.evolver.name == "evol_instruct"


def test_unknown_keys_and_names_suggest_the_nearest():
    assert "did you mean 'solver'?" in fault(solvr={})
    assert "did you mean 'beta'?" in fault(solver={"objective": {"name": "dpo", "bta": 1}})
    assert "did you mean 'dpo'?" in fault(solver={"objective": "dpoo"})
    assert "did you mean 'weighted'?" in fault(creator={"sampler": {"name": "weigthed"}})
    assert "did you mean 'duplicate'?" in fault(creator={"gates": [{"name": "duplicates"}]})


def test_all_faults_come_in_one_message():
    message = fault(rounds=0, policy={}, answers={"n": 1})
    assert "3 faults" in message
    assert "rounds:" in message
    assert "policy.model: is missing" in message
    assert "answers.n:" in message


@pytest.mark.parametrize(
    ("override", "value"),
    [("rounds=3", 3), ("rounds = 3", 3)],
)
def test_overrides_are_toml_values(tmp_path, override, value):
    path = tmp_path / "c.toml"
    path.write_text(
        '[policy]\nmodel="m"\n[prompts]\nsource="p"\n'
        '[reward]\nname="python"\nfunction="m:f"\n[solver]\nobjective="dpo"\n'
    )
    assert load_config(path, [override]).rounds == value


def test_overrides_reach_nested_keys_and_take_bare_words(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(
        '[policy]\nmodel="m"\n[prompts]\nsource="p"\n'
        '[reward]\nname="python"\nfunction="m:f"\n[solver]\nobjective="dpo"\n'
    )
    config = load_config(
        path, ["creator.name=static", "solver.objective.beta=0.2", "creator.sampler.name='rank'"]
    )
    assert config.creator.name == "static"
    assert config.solver.objective.beta == 0.2
    assert config.creator.sampler.name == "rank"


@pytest.mark.parametrize("override", ["rounds", "=3", "rounds.x=1"])
def test_a_bad_override_is_named(tmp_path, override):
    path = tmp_path / "c.toml"
    path.write_text("rounds = 2")
    with pytest.raises(ConfigError, match=r"override|fault"):
        load_config(path, [override])


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"rounds = ", "broken TOML"), (b"name = '\xff'", "cannot be read"), (None, "no such config")],
)
def test_an_unreadable_file_is_a_config_error(tmp_path, content, says):
    path = tmp_path / "c.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=says):
        load_config(path)


@pytest.mark.parametrize(
    ("objective", "epochs", "batch", "rate"),
    [("dpo", 2, 8, 5e-7), ("orpo", 1, 8, 5e-7), ("simpo", 1, 32, 8e-7), ("sppo_hard", 6, 8, 5e-7)],
)
def test_the_paper_preset_has_the_published_choices(objective, epochs, batch, rate):
    config = parse_config(BASE | {"preset": "paper", "solver": {"objective": objective}})
    assert (config.solver.epochs, config.solver.batch_size) == (epochs, batch)
    assert config.solver.learning_rate == rate
    assert config.solver.warmup == 0.1
    assert config.creator.gates == ()
    assert config.seed == 42


def test_own_keys_win_over_the_preset():
    own = {"preset": "paper", "solver": {"objective": {"name": "dpo", "beta": 0.3}, "epochs": 7}}
    config = parse_config(BASE | own)
    assert (config.solver.objective.beta, config.solver.epochs) == (0.3, 7)
    assert config.solver.learning_rate == 5e-7


def test_parts_may_be_given_by_name_alone(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(
        '[policy]\nmodel="m"\n[prompts]\nsource="p"\n'
        '[reward]\nname="python"\nfunction="m:f"\n[solver]\nobjective="dpo"\n'
    )
    config = load_config(path, ["creator.evolver=none", "creator.source=human"])
    assert config.creator.evolver.name == "none"
    assert load_config(path, ["creator.sampler=rank"]).creator.sampler.name == "rank"


def test_parts_must_fit_together():
    assert "prompts.constraints" in fault(creator={"evolver": {"name": "rules"}})
    assert "lose" in fault(reward={"name": "rules"})
    checked = fault(prompts={"source": "p", "constraints": {}})
    assert "'evol_instruct' rewrites no prompt that has checks" in checked
    assert "not both" in fault(budget={"tokens": 5, "match": "run"})
    assert "source = 'human'" in fault(creator={"evolver": {"name": "none"}})
    carried = {"objective": "dpo", "start": "scratch", "optimiser_state": "carried"}
    assert "take 'fresh'" in fault(solver=carried)


@pytest.mark.parametrize(
    "changes",
    [
        {"solver": {"objective": "dpo", "reference": "sampler", "start": "scratch"}},
        {
            "policy": {"model": "m", "generation_dtype": "bfloat16"},
            "solver": {"objective": "dpo", "reference": "sampler"},
        },
    ],
)
def test_recorded_log_probs_must_be_the_starting_policys(changes):
    assert "take 'previous'" in fault(**changes)


def test_paths_hold_from_anywhere_beside_the_config_first(tmp_path, monkeypatch):
    folder = tmp_path / "game"
    folder.mkdir()
    for file in ("both.jsonl", "here.py", "game/both.jsonl", "other.jsonl"):
        (tmp_path / file).touch()
    (folder / "c.toml").write_text(
        '[policy]\nmodel="some/model"\n[prompts]\nsource="both.jsonl"\n'
        '[reward]\nname="python"\nfunction="here.py:f"\n[solver]\nobjective="dpo"\n'
    )
    monkeypatch.chdir(tmp_path)
    config = load_config("game/c.toml")
    assert config.prompts.source == str(folder / "both.jsonl")
    assert config.reward.function == f"{tmp_path / 'here.py'}:f"
    assert config.policy.model == "some/model"
    changed = load_config("game/c.toml", ["prompts.source=other.jsonl"])
    assert changed.prompts.source == str(tmp_path / "other.jsonl")


def test_topics_by_name_are_for_open_prompts():
    prompts = {"source": "p.jsonl", "topics": {"names": ["tea"]}, "constraints": {}}
    said = fault(prompts=prompts, creator={"evolver": {"name": "rules"}})
    assert "prompts.topics.names" in said


@pytest.mark.parametrize("name", ["self_instruct", "online_ten"])
def test_the_rules_reward_needs_checks_that_a_model_would_lose(name):
    said = fault(reward={"name": "rules"}, creator={"evolver": {"name": name}})
    assert "take creator.evolver 'rules'" in said
