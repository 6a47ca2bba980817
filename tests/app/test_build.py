import json
from pathlib import Path

import numpy as np
import pytest

from eva.app import config_parts
from eva.app.build import Parts, sampler
from eva.app.load import load_config, parse_config
from eva.app.progress import Silent
from eva.creator.best_of import BestOf
from eva.creator.grading import Clauses
from eva.creator.rewriting import Rewriter
from eva.creator.rules import RuleEvolver
from eva.types import Prompt

SMOKE = Path(__file__).parents[2] / "configs" / "smoke.toml"


def parts(*overrides):
    return Parts(load_config(SMOKE, overrides), progress=Silent())


def test_the_smoke_game_has_the_configs_parts():
    game = parts("creator.children=3", "answers.n=5", "seed=9").game()
    assert game.creator.children == 3
    assert isinstance(game.creator.evolver, RuleEvolver)
    assert [gate.name for gate in game.creator.gates] == [
        "meta_text",
        "length_band",
        "duplicate",
        "eval_overlap",
    ]
    assert (game.answers.n, game.seed, game.per_round) == (5, 9, 8)
    assert [evaluator.name for evaluator in game.evaluators] == ["heldout"]
    assert game.solver.reference == "previous"


def test_a_watcher_knows_the_parts_of_the_reward():
    reward = (
        "reward={name='combined',weights=[1,-1],parts=[{name='rules'},{name='length',limit=9}]}"
    )
    assert parts(reward).game().watch.wanted == ("rule",)


def test_a_rewriter_is_the_policy_unless_another_model_is_named():
    config = load_config(SMOKE).model_dump(mode="json")
    config["reward"], config["prompts"]["constraints"] = config["reward"]["parts"][1], None
    config["creator"]["evolver"] = {"name": "evol_complexity"}
    made = Parts(parse_config(config), progress=Silent())
    evolver = made.creator().evolver
    assert isinstance(evolver, Rewriter)
    assert evolver.generator is made.engine
    assert len(evolver.operators) == 4
    assert not evolver.keep_columns
    config["creator"]["evolver"] = {
        "name": "evol_instruct",
        "model": "random:tiny",
        "keep_columns": ["answer"],
    }
    other = Parts(parse_config(config), progress=Silent()).creator().evolver
    assert other.generator is not made.engine
    assert other.keep_columns == {"answer"}


def rewriting(**evolver):
    config = load_config(SMOKE).model_dump(mode="json")
    config["reward"], config["prompts"]["constraints"] = config["reward"]["parts"][1], None
    config["creator"]["evolver"] = {"model": "random:tiny", **evolver}
    return Parts(parse_config(config), progress=Silent()).creator().evolver


def test_siblings_and_chains():
    assert rewriting(name="self_instruct").chain is False
    assert rewriting(name="online_ten").chain is True
    assert [op.name for op in rewriting(name="self_instruct").operators] == ["sibling"]


def test_best_of_wraps_the_rewriter_and_grades_by_it_where_asked():
    counted = rewriting(name="evol_quality", best_of=3)
    assert (type(counted), counted.n) == (BestOf, 3)
    assert isinstance(counted.grader, Clauses)
    graded = rewriting(name="evol_quality", best_of=2, best_by="grades")
    assert graded.grader.generator is graded.evolver.generator
    assert rewriting(name="evol_quality", best_by="grades").n == 1


@pytest.mark.parametrize("name", ["static", "new_human"])
def test_human_arms_have_no_creator(name):
    assert parts(f"creator.name={name}", "prompts.per_round=3").creator() is None


def test_no_evolve_and_uniform_are_creators_with_a_part_less():
    none = parts("creator.evolver={name='none'}", "creator.source=human")
    assert none.creator().evolver is None
    assert not parts("creator.informativeness=uniform").creator().estimates


def test_objectives_without_reference_get_none():
    assert parts("solver.objective=simpo").solver.reference == "none"


def test_sampler_settings_reach_the_sampler():
    info = np.arange(40.0)
    rng = np.random.default_rng
    wide = sampler(config_parts.Sampler(name="rank", beta=100.0))(info, 10, rng(0))
    steep = sampler(config_parts.Sampler(name="rank", beta=0.05))(info, 10, rng(0))
    assert sorted(steep) == list(range(30, 40))
    assert sorted(wide) != sorted(steep)


def test_evaluation_prompts_may_not_come_back_as_children():
    made = parts()
    gate = next(gate for gate in made.creator().gates if gate.name == "eval_overlap")
    measured = made.prompts.held_out[0]
    words = "please tell me in a long and winding sentence about the following"
    child = measured.rewritten(f"{measured.topic} {words}", operator="x", born=1)
    assert gate(child, []) is not None


def test_no_evaluators_prompts_may_come_back_as_children(tmp_path):
    text = "Write a short letter about seven grey herons without any commas."
    source = tmp_path / "ifeval.jsonl"
    item = {"key": 1, "prompt": text, "instruction_id_list": [], "kwargs": []}
    source.write_text(json.dumps(item) + "\n")
    made = parts(f"evaluation.ifeval.source={source}")
    gate = next(gate for gate in made.creator().gates if gate.name == "eval_overlap")
    child = Prompt.of(f"{text} Then sign it.")
    assert gate(child, []) is not None
    # no weights were loaded for it
    assert "engine" not in vars(made)
    never = parts(f"evaluation.ifeval.source={source}", "evaluation.when=never")
    gate = next(gate for gate in never.creator().gates if gate.name == "eval_overlap")
    assert gate(child, []) is None
