import json
from pathlib import Path

import pytest
import torch

from eva.app import play
from eva.app.load import parse_config
from eva.errors import ConfigError, RunError
from eva.runs.folder import RunFolder
from eva.types import Example, Stage
from eva.views.export import _policy, export

ROOT = Path(__file__).parents[2]
EXAMPLE = Example("p", (5, 6, 7), ((8, 9, 10), (11, 12)))


def trained(tiny, path, *, lora):
    """Make a run whose only round ended with an engine that took one step; return its log-probs."""
    from eva.app.policy import local_engine
    from eva.solver.objectives import make_objective

    config = parse_config(
        {
            "rounds": 1, "policy": {"model": str(tiny), "lora": lora}, "run": {"threads": 1},
            "prompts": {"source": "x.jsonl"}, "reward": {"name": "classifier", "model": "m"},
            "solver": {"objective": {"name": "orpo"}, "learning_rate": 0.1},
        }
    )  # fmt: skip
    engine = local_engine(config)
    before = engine.logprobs([EXAMPLE])
    with RunFolder.create(path, config.model_dump(mode="json")) as folder:
        for _ in range(2):  # the first step of LoRA moves one of its two matrices only
            engine.forward_backward([EXAMPLE], make_objective("orpo"), 1.0)
            engine.step(0.1, None)
        folder.journal().checkpoints(Stage(1, "solver/train")).commit(2, engine.save, final=True)
    return before, engine.logprobs([EXAMPLE])


def logprobs_of(folder):
    """Return the example's log-probs by the exported model, computed by transformers alone."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()
    found = []
    for completion in EXAMPLE.completions:
        ids = torch.tensor([[*EXAMPLE.prompt_ids, *completion]])
        with torch.no_grad():
            logps = model(ids).logits.log_softmax(-1)[0, len(EXAMPLE.prompt_ids) - 1 : -1]
        found.append(logps.gather(1, torch.tensor(completion)[:, None])[:, 0].tolist())
    return found


@pytest.mark.parametrize("lora", [None, {"rank": 4}], ids=["full", "lora"])
def test_a_model_loads_with_transformers_and_answers_alike(tiny_folder, tmp_path, lora):
    before, after = trained(tiny_folder, tmp_path / "run", lora=lora)
    said = export(tmp_path / "run", "model", tmp_path / "out")
    assert "rounds/001/policy" in said
    for ours, theirs in zip(after[0], logprobs_of(tmp_path / "out"), strict=True):
        assert list(ours) == pytest.approx(theirs, abs=1e-5)
    assert abs(after[0][0][0] - before[0][0][0]) > 1e-2
    assert not (tmp_path / "out" / "adapter_config.json").exists()
    export(tmp_path / "run", "model", tmp_path / "first", round=0)
    for ours, theirs in zip(before[0], logprobs_of(tmp_path / "first"), strict=True):
        assert list(ours) == pytest.approx(theirs, abs=1e-5)


def test_the_model_is_the_last_that_was_not_taken_back(play, alarmed):
    run = play(rounds=3, watch=alarmed(3, does="rolls_back"))
    with RunFolder.open_readonly(run) as folder:
        assert _policy(folder, None) == run / "rounds/002/policy"
        assert _policy(folder, 3) == run / "rounds/003/policy"
    two = play(rounds=3, watch=alarmed(3, does="rolls_back", back=[2, 3]))
    with RunFolder.open_readonly(two) as folder:
        assert _policy(folder, None) == two / "rounds/001/policy"
    first = play(rounds=1, watch=alarmed(1, does="rolls_back"))
    with RunFolder.open_readonly(first) as folder:
        assert _policy(folder, None) is None


def test_nothing_is_overwritten(finished, tmp_path):
    there = tmp_path / "there.jsonl"
    there.write_text("mine")
    with pytest.raises(ConfigError, match="nothing is overwritten"):
        export(finished, "pairs", there)
    with pytest.raises(ConfigError, match="nothing is overwritten"):
        export(finished, "model", tmp_path)
    assert there.read_text() == "mine"


@pytest.mark.parametrize(
    ("what", "to", "fault"),
    [
        ("modle", "x", "did you mean 'model'"),
        ("pairs", "x.csv", r"ends in .parquet or .jsonl"),
        ("prompts", "x", r"ends in .parquet or .jsonl"),
    ],
)
def test_what_cannot_be_exported_is_said(finished, tmp_path, what, to, fault):
    with pytest.raises(ConfigError, match=fault):
        export(finished, what, tmp_path / to)
    assert list(tmp_path.iterdir()) == []


def test_policies_that_are_not_kept_are_named(finished, begun, tmp_path):
    with pytest.raises(ConfigError, match="no policy of round 9; it has those of rounds: 1, 2, 3"):
        export(finished, "model", tmp_path / "m", round=9)
    with pytest.raises(ConfigError, match="no policy; it has those of rounds: none yet"):
        export(begun, "model", tmp_path / "m")
    with pytest.raises(ConfigError, match="no pairs; it has those of rounds: none yet"):
        export(begun, "pairs", tmp_path / "p.jsonl")


def test_an_interrupted_export_leaves_nothing_behind(finished, tmp_path):
    # the scripted run's model cannot be loaded: the fault must not leave half a folder
    with pytest.raises((ConfigError, OSError)):
        export(finished, "model", tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_tables_say_how_much_was_written(finished, tmp_path):
    said = export(finished, "prompts", tmp_path / "deep" / "prompts.parquet")
    assert (tmp_path / "deep" / "prompts.parquet").exists()
    assert said.endswith(" prompts")
    assert export(finished, "pairs", tmp_path / "pairs.jsonl", round=2).endswith("20 pairs")


def test_pairs_of_a_policy_gradient_are_refused_with_what_there_is(finished_online, tmp_path):
    with pytest.raises(ConfigError, match=r"'rloo' .* no pairs; .*online/steps/\*\.parquet"):
        export(finished_online, "pairs", tmp_path / "pairs.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_prompts_of_an_online_run_are_exported(finished_online, tmp_path):
    said = export(finished_online, "prompts", tmp_path / "prompts.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "prompts.jsonl").read_text().splitlines()]
    assert said.endswith(f"{len(rows)} prompts")
    played = [row for row in rows if row["scores"]]
    assert played
    assert all(row["scores"][0]["stage"] == "online/steps" for row in played)
    assert all(row["informativeness"] is not None for row in played)


def test_the_model_of_an_online_run_is_that_of_its_last_step(tiny_folder, tmp_path):
    game = parse_config(
        {
            "schedule": "online", "rounds": 1, "online": {"steps": 2, "batch": 2, "buffer": 4},
            "policy": {"model": str(tiny_folder)}, "run": {"threads": 1},
            "prompts": {"source": str(ROOT / "configs/smoke_prompts.jsonl"), "per_round": 4},
            "answers": {"n": 2, "max_tokens": 4},
            "reward": {
                "name": "python", "function": f"{ROOT / 'configs/smoke_reward.py'}:letters"
            },
            "creator": {"name": "static"}, "solver": {"objective": "rloo"},
        }
    )  # fmt: skip
    run = play.run(game, tmp_path / "run")
    assert "rounds/001/policy" in export(run, "model", tmp_path / "out")
    assert len(logprobs_of(tmp_path / "out")) == 2


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(RunError):
        export(tmp_path, "pairs", tmp_path / "p.jsonl")
