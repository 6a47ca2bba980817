import io
import json
import tomllib

import pytest
from rich.console import Console

from eva.app import templates
from eva.app.load import parse_config
from eva.app.paths import located
from eva.errors import ConfigError, DataError
from eva.planning import plan

PROMPTS = [{"prompt": f"Name {i} colours, and say where they are seen."} for i in range(12)]


@pytest.fixture(autouse=True)
def cheap(monkeypatch):
    """A machine of one GFLOP/s, measured at once."""
    monkeypatch.setattr(plan.estimates, "matmul_rate", lambda *args, **kwargs: 1e9)


@pytest.fixture
def game(tmp_path, tiny_folder):
    """Return a config, changed by sections."""
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, PROMPTS)))
    (tmp_path / "reward.py").write_text("def score(prompt, response):\n    return 1.0\n")
    base = {
        "policy": {"model": str(tiny_folder), "device": "cpu"},
        "prompts": {"source": str(tmp_path / "p.jsonl"), "per_round": 10},
        "answers": {"max_tokens": 64},
        "reward": {"name": "python", "function": f"{tmp_path / 'reward.py'}:score"},
        "creator": {"evolver": {"name": "evol_instruct", "max_tokens": 64}},
        "solver": {"objective": "dpo"},
    }

    def make(**changes):
        return parse_config(base | {key: base.get(key, {}) | changes[key] for key in changes})

    return make


def fault(config):
    with pytest.raises(ConfigError) as caught:
        plan.of(config)
    return str(caught.value)


def test_a_plan_has_counts_and_estimates_and_loads_no_weights(game, monkeypatch):
    import transformers

    monkeypatch.delattr(transformers.AutoModelForCausalLM, "from_pretrained")
    found = plan.of(game())
    assert found.prompts["human"] == 12
    assert [r.evolved for r in found.rounds] == [0, 8]
    assert found.memory["peak"] > found.memory["weights"] > 0
    assert found.seconds["total"] > 0
    assert found.disk["total"] > 0
    # template, and a byte a character
    assert 40 < found.prompts["median_tokens"] < 120
    assert {source.state for source in found.sources} == {"here"}


def test_as_json_and_for_people(game, capsys):
    found = plan.of(game())
    plan.show(found, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["rounds"][1]["evolved"] == 8
    assert told["totals"]["answers"] == found.totals["answers"]
    out = io.StringIO()
    plan.show(found, console=Console(file=out, width=100))
    assert "evol_instruct" in out.getvalue()
    assert "rough guess" in out.getvalue()


def test_what_cannot_be_is_refused_with_the_numbers(game):
    said = fault(game(answers={"max_tokens": 4096}))
    assert "answers.max_tokens = 4096" in said
    assert "2048" in said
    said = fault(game(answers={"max_tokens": 2030}))
    assert "100% of the prompts" in said
    evolver = {"evolver": {"name": "evol_instruct", "max_tokens": 3000}}
    assert "creator.evolver.max_tokens = 3000" in fault(game(creator=evolver))


def test_names_of_parts_are_tried(game):
    assert "a_min" in fault(game(creator={"informativeness": "a_mni"}))
    assert "reference = 'none'" in fault(game(solver={"reference": "none"}))
    named = {"evolver": {"name": "evol_instruct", "operators": ["deepn"]}}
    assert "did you mean" in fault(game(creator=named))


def test_a_reward_function_that_cannot_be_imported_is_told(game, tmp_path):
    assert "no_such_module" in fault(game(reward={"function": "no_such_module:f"}))
    (tmp_path / "broken.py").write_text("import nothing_like_this\n")
    said = fault(game(reward={"function": f"{tmp_path / 'broken.py'}:score"}))
    assert "nothing_like_this" in said


def test_a_package_that_is_not_installed_is_named_with_its_extra(game, monkeypatch):
    monkeypatch.setattr(plan.importlib.util, "find_spec", lambda name: None)
    assert "eva-align[ifeval]" in fault(game(evaluation={"ifeval": {}}))
    assert "eva-align[tracking]" in fault(game(run={"trackers": ["wandb"]}))


def test_more_held_out_than_there_are(game):
    config = game(evaluation={"heldout": {"prompts": 20}})
    with pytest.raises(DataError, match=r"heldout\.prompts"):
        plan.of(config)


def test_what_may_not_be_meant_is_noted(game):
    found = plan.of(game(policy={"train_tokens": 16}, creator={"fraction": 0.1}))
    notes = " ".join(found.notes)
    assert "policy.train_tokens = 16" in notes
    assert "4 children at most for 8 evolved prompts" in notes
    assert "per_round = 100" in " ".join(plan.of(game(prompts={"per_round": 100})).notes)


@pytest.mark.parametrize("name", sorted(templates.names()))
def test_every_shipped_config_can_be_checked(name):
    path = templates.folder() / f"{name}.toml"
    data = located(tomllib.loads(path.read_text()), path.parent)
    found = plan.of(parse_config(data))
    assert found.rounds
    unseen = [source for source in found.sources if source.state == "not reachable"]
    notes = " ".join(found.notes)
    assert all(source.name in notes for source in unseen)
