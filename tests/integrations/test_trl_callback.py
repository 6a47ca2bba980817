"""Rewards as the trainer has them, its logs, its evaluation, its checkpoints."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from eva.creator.online import OnlineSizes
from eva.errors import RunError
from eva.integrations.trl import Creator
from eva.integrations.trl_callback import EvaCallback
from eva.runs.population import Population

# TRL asks transformers for a name that it has renamed
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is depr:FutureWarning")

SMALL = OnlineSizes(buffer=4, children=2)


def sometimes(*, completion_ids, **columns):
    """A reward that scores every other answer."""
    return [float(len(ids)) if i % 2 else None for i, ids in enumerate(completion_ids)]


async def later(*, completion_ids, **columns):
    return [float(ids[0] % 7) for ids in completion_ids]


def never(*, prompts, **columns):
    return [None] * len(prompts)


def tables(trainer, *names):
    path = Path(trainer.args.output_dir) / "eva/population.sqlite"
    population = Population(path, readonly=True)
    try:
        return [population.table(name) for name in names]
    finally:
        population.close()


@pytest.fixture
def reward_model(tiny_folder):
    config = AutoConfig.from_pretrained(tiny_folder, num_labels=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = AutoModelForSequenceClassification.from_config(config)
    model.config._name_or_path = str(tiny_folder)
    return model, AutoTokenizer.from_pretrained(tiny_folder)


def logged(trainer, name):
    return [row[name] for row in trainer.state.log_history if name in row]


def observed(trainer):
    """Return the mean reward of each step, from the population's scores."""
    (scores,) = tables(trainer, "scores")
    steps = sorted({row["round"] for row in scores})
    groups = [[row for row in scores if row["round"] == step] for step in steps]
    return [
        sum(row["mean"] * row["n_scored"] for row in group if row["n_scored"])
        / sum(row["n_scored"] for row in group)
        for group in groups
    ]


@pytest.mark.parametrize("kind", ["rloo", "grpo"])
def test_observed_rewards_are_the_trainers_totals(make_trainer, kind, reward_model):
    model, tokenizer = reward_model
    trainer, _ = make_trainer(
        kind,
        rewards=[sometimes, later, model],
        reward_weights=[1.0, 0.5, 2.0, 0.25],
        reward_processing_classes=[None, None, None, tokenizer],
    )
    Creator(sizes=SMALL).attach(trainer)
    assert trainer.reward_func_names[1:3] == ["sometimes", "later"]
    trainer.train()
    assert observed(trainer) == pytest.approx(logged(trainer, "reward"), abs=1e-5)


def test_an_answer_that_nobody_scored_has_no_reward(make_trainer):
    trainer, _ = make_trainer(rewards=[sometimes, never], own=False)
    Creator().attach(trainer)
    trainer.train()
    (scores,) = tables(trainer, "scores")
    assert {(row["n"], row["n_scored"], json.dumps(row["causes"])) for row in scores} == {
        (2, 1, '{"none": 1}')
    }
    assert logged(trainer, "eva/unscored") == [0.5, 0.5]
    assert observed(trainer) == pytest.approx(logged(trainer, "reward"), abs=1e-5)
    # one scored answer has no spread: nothing was drawn, nothing evolved
    assert logged(trainer, "eva/children") == [0.0, 0.0]


@pytest.mark.parametrize("kind", ["rloo", "grpo"])
def test_reward_models_alone(make_trainer, kind, reward_model):
    model, tokenizer = reward_model
    measured = Dataset.from_list([{"prompt": "Say something."}] * 2)
    trainer, _ = make_trainer(
        kind,
        rewards=[model],
        own=False,
        reward_processing_classes=[tokenizer],
        eval_dataset=measured,
        eval_strategy="steps",
        eval_steps=1,
        per_device_eval_batch_size=2,
        gradient_accumulation_steps=2,
        steps_per_generation=1,
    )
    Creator(sizes=SMALL).attach(trainer)
    trainer.train()
    by_batch = observed(trainer)
    by_step = [np.mean(by_batch[2 * step : 2 * step + 2]) for step in range(3)]
    assert by_step == pytest.approx(logged(trainer, "reward"), abs=1e-5)
    # in the step itself: reward models log nothing, the callback does
    assert len(logged(trainer, "eva/buffer")) == 3
    assert not any("eva/buffer" in row for row in trainer.state.log_history if "eval_loss" in row)


def test_evaluation_leaves_no_trace(make_trainer):
    measured = Dataset.from_list([{"prompt": "Say something."}] * 3)
    trainer, log = make_trainer(
        max_steps=4,
        eval_dataset=measured,
        eval_strategy="steps",
        eval_steps=2,
        per_device_eval_batch_size=2,
    )
    Creator(sizes=SMALL).attach(trainer)
    trainer.train()
    assert sum(call["slots"] is None for call in log.calls) == 6
    scores, prompts = tables(trainer, "scores", "prompts")
    assert len(scores) == 16
    assert [row["n"] for row in scores] == [2] * 16
    assert {"Say something."} & {row["messages"][0]["content"] for row in prompts} == set()
    assert sorted(log.trained) == list(range(16))


def test_figures_are_in_the_trainers_logs(make_trainer):
    trainer, _ = make_trainer(max_steps=6, logging_steps=2)
    Creator(sizes=SMALL).attach(trainer)
    trainer.train()
    rows = [row for row in trainer.state.log_history if "loss" in row]
    assert len(rows) == 3
    names = {"buffer", "phase", "info_mean", "without_contrast", "children", "refused", "replayed"}
    assert {f"eva/{name}" for name in names} <= set(rows[-1])
    # those of a batch are logged with the next: the first row has one batch, the last has two
    assert 0 <= rows[-1]["eva/without_contrast"] <= 1
    assert rows[-1]["eva/phase"] >= rows[0]["eva/phase"] == 0.0


# ── checkpoints ───────────────────────────────────────────────────────────────────────────────


def weights(trainer):
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def story(trainer):
    """Return everything that the population tells."""
    return tables(trainer, "prompts", "scores", "informativeness", "refusals")


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("rloo", {}),
        ("grpo", {"gradient_accumulation_steps": 2, "steps_per_generation": 1}),
        ("rloo", {"steps_per_generation": 2}),
        ("grpo", {"gradient_accumulation_steps": 2, "num_iterations": 2}),
    ],
    ids=str,
)
def test_a_resumed_run_goes_on_as_if_it_had_not_stopped(make_trainer, kind, settings):
    saves = {"save_strategy": "steps", "save_steps": 4, "max_steps": 6, "temperature": 1.5}
    trainer, log = make_trainer(kind, per_device_train_batch_size=4, **saves, **settings)
    Creator(sizes=SMALL).attach(trainer)
    trainer.train()
    layout, unbroken = trainer.train_dataset.layout, log.trained
    whole, end = story(trainer), weights(trainer)
    first = layout.first(4) * layout.prompts
    # what came after the checkpoint is in the population, and is taken back
    resumed, log = make_trainer(kind, per_device_train_batch_size=4, **saves, **settings)
    Creator(sizes=SMALL).attach(resumed)
    resumed.train(resume_from_checkpoint=f"{resumed.args.output_dir}/checkpoint-4")
    assert log.trained == {slot: text for slot, text in unbroken.items() if slot >= first}
    assert len(log.trained) == len(unbroken) - first
    assert story(resumed) == whole
    for name, value in weights(resumed).items():
        assert torch.equal(value, end[name]), name


def test_a_checkpoint_amid_a_generation_batch_answers_it_again_but_judges_it_once(
    make_trainer, caplog
):
    settings = {"steps_per_generation": 2, "save_strategy": "steps", "save_steps": 3}
    trainer, log = make_trainer(max_steps=7, **settings)
    Creator(sizes=SMALL).attach(trainer)
    (warning,) = [r.getMessage() for r in caplog.records if "save_steps" in r.getMessage()]
    assert "in the middle of a generation batch" in warning
    assert "multiple of 2" in warning
    trainer.train()
    unbroken = log.trained
    trainer, log = make_trainer(max_steps=7, **settings)
    Creator(sizes=SMALL).attach(trainer)
    trainer.train(resume_from_checkpoint=f"{trainer.args.output_dir}/checkpoint-3")
    again = [slot for slot in log.trained if slot < 16]
    assert again == list(range(8, 16))
    assert {slot: log.trained[slot] for slot in again} == {s: unbroken[s] for s in again}
    (scores,) = tables(trainer, "scores")
    # the second batch was answered twice; from a crooked start the fourth is not reached
    assert [row["round"] for row in scores] == [1] * 8 + [2] * 8 + [3] * 8


@pytest.fixture
def stopped(make_trainer):
    """A run that stopped after two of its steps, with a checkpoint; and how to resume it."""
    settings = {"save_strategy": "steps", "save_steps": 2}
    trainer, _ = make_trainer(max_steps=2, **settings)
    Creator(sizes=SMALL).attach(trainer)
    trainer.train()

    def resume(creator=None, **changed):
        again, log = make_trainer(**{"max_steps": 4} | settings | changed)
        (creator or Creator(sizes=SMALL)).attach(again)
        again.train(resume_from_checkpoint=str(Path(trainer.args.output_dir) / "checkpoint-2"))
        return again, log

    return Path(trainer.args.output_dir), resume


def test_a_run_can_be_made_longer(stopped):
    _, resume = stopped
    trainer, log = resume(max_steps=5)
    assert sorted(log.trained) == list(range(8, 20))
    assert len(story(trainer)[1]) == 20


def test_a_checkpoint_is_found_wherever_it_was_moved(stopped, tmp_path):
    folder, resume = stopped
    _, log = resume(
        Creator(sizes=SMALL, folder=folder / "eva"), output_dir=str(tmp_path / "elsewhere")
    )
    assert sorted(log.trained) == list(range(8, 16))


def test_another_data_set_or_layout_is_not_gone_on_with(stopped):
    _, resume = stopped
    with pytest.raises(RunError, match=r"human was .* resume with the same data set"):
        resume(rows=[{"prompt": f"Other {i}."} for i in range(9)])
    with pytest.raises(RunError, match=r"layout was .* resume with the same batch size"):
        resume(num_generations=4)
    with pytest.raises(RunError, match="seed was 5 and is 9"):
        resume(Creator(sizes=SMALL, seed=9))


def test_a_missing_or_foreign_population_is_not_gone_on_with(stopped):
    folder, resume = stopped
    path = folder / "eva/population.sqlite"
    path.rename(path.with_name("kept"))
    with pytest.raises(RunError, match="no such file, expected the population of the run"):
        resume()
    path.touch()
    other = Population(path)
    other.create()
    other.close()
    with pytest.raises(RunError, match=r"does not go with the checkpoint: .* is missing"):
        resume()


def test_a_checkpoint_without_state_is_not_gone_on_with(stopped):
    folder, resume = stopped
    path = folder / "checkpoint-2/trainer_state.json"
    state = json.loads(path.read_text())
    assert state["stateful_callbacks"].pop(EvaCallback.__name__)["attributes"]["drawn"] == 2
    path.write_text(json.dumps(state))
    with pytest.raises(RunError, match="step 2 has no state of eva's"):
        resume()


def test_a_new_run_moves_an_old_population_aside(make_trainer):
    for _ in range(3):
        trainer, _ = make_trainer(max_steps=1)
        Creator().attach(trainer)
        trainer.train()
    names = {path.name for path in (Path(trainer.args.output_dir) / "eva").iterdir()}
    assert names == {"population.sqlite", "population.1.sqlite", "population.2.sqlite"}
    shutil.rmtree(trainer.args.output_dir)


def test_training_twice_begins_anew(make_trainer):
    trainer, log = make_trainer(max_steps=2)
    Creator(sizes=SMALL).attach(trainer)
    trainer.train()
    first = log.trained
    log.calls.clear()
    trainer.train()
    assert list(log.trained) == list(first)
    assert len(story(trainer)[1]) == 8
