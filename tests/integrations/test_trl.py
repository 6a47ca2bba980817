"""A trainer of TRL with a creator attached: what it is trained on, and when."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from eva.creator.online import BufferCreator, OnlineSizes
from eva.creator.rules import RuleEvolver
from eva.errors import ConfigError, RunError
from eva.integrations.trl import Constraints, Creator, constraints_met
from eva.integrations.trl_rows import Format
from eva.integrations.trl_schedule import Schedule
from eva.integrations.trl_slots import Layout, Slots
from eva.runs.population import Population
from eva.types import Proposal

# TRL asks transformers for a name that it has renamed
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is depr:FutureWarning")

SMALL = OnlineSizes(buffer=4, children=2)


class Wordy:
    """An evolver whose children say which batch they were born in."""

    chain = False

    def propose(self, parents, step, streams):
        born = streams.round
        texts = [f"{parent.text} {born}-{step}" for parent in parents]
        return [
            Proposal(p, "wordy", p.rewritten(text, operator="wordy", born=born))
            for p, text in zip(parents, texts, strict=True)
        ]


def population(trainer):
    return Population(Path(trainer.args.output_dir) / "eva/population.sqlite", readonly=True)


@pytest.mark.parametrize("kind", ["rloo", "grpo"])
def test_prompts_evolve_while_it_trains(make_trainer, kind, texts):
    trainer, log = make_trainer(kind, max_steps=7)
    Creator(evolver=Wordy(), sizes=SMALL, gates=()).attach(trainer)
    trainer.train()
    trained = log.trained
    assert sorted(trained) == list(range(28))
    human = set(texts)
    # two batches behind: what was learnt from the first batch is in the third at the earliest
    assert {trained[slot] for slot in range(8)} <= human
    evolved = {slot: text for slot, text in trained.items() if text not in human}
    assert min(evolved) in range(8, 12)
    for slot, text in evolved.items():
        assert int(text.split()[-1].split("-")[0]) <= slot // 4 - 1
    with_lineage = population(trainer)
    prompts = {prompt.text: prompt for prompt in with_lineage.prompts()}
    assert human <= set(prompts)
    assert {prompts[text].operator for text in evolved.values()} == {"wordy"}
    assert len(with_lineage.table("scores")) == 28
    with_lineage.close()


@pytest.mark.parametrize(
    ("settings", "lags"),
    [
        ({}, {2}),
        ({"gradient_accumulation_steps": 2}, {2}),
        ({"steps_per_generation": 2}, {1}),
        ({"num_iterations": 3}, {1}),
        ({"gradient_accumulation_steps": 2, "steps_per_generation": 1}, {2, 3}),
        ({"gradient_accumulation_steps": 2, "steps_per_generation": 2, "num_iterations": 2}, {1}),
        ({"gradient_accumulation_steps": 3, "steps_per_generation": 2}, {1, 2}),
    ],
    ids=str,
)
def test_a_batch_is_drawn_as_late_as_the_loader_allows(make_trainer, monkeypatch, settings, lags):
    events = []

    def noted(owner, name, event):
        own = getattr(owner, name)

        def called(self, *args, **kwargs):
            events.append(event(self, *args, **kwargs))
            return own(self, *args, **kwargs)

        monkeypatch.setattr(owner, name, called)

    noted(BufferCreator, "draw", lambda self, *a, step, **k: ("draw", step - 1))
    noted(Schedule, "_judge", lambda self, batch, *a: ("judge", batch))
    noted(Slots, "__getitem__", lambda self, slot: ("read", slot // self.layout.prompts))
    trainer, log = make_trainer(max_steps=6, per_device_train_batch_size=4, **settings)
    Creator(evolver=None, sizes=SMALL).attach(trainer)
    layout = trainer.train_dataset.layout
    trainer.train()
    seen, judged, drawn_after, last_judged_before_read = set(), -1, {}, {}
    for event, batch in events:
        if event == "judge":
            judged = batch
        elif event == "draw":
            drawn_after[batch] = judged
        elif batch not in seen:
            seen.add(batch)
            last_judged_before_read[batch] = judged
    assert drawn_after == last_judged_before_read  # nothing was learnt between draw and read
    assert len(drawn_after) == layout.batches(6)
    measured = {batch: batch - after for batch, after in drawn_after.items()}
    assert measured == {batch: layout.lag(batch) for batch in measured}
    assert {lag for batch, lag in measured.items() if lag <= batch} <= lags
    slots = sorted({slot for call in log.calls for slot in call["slots"]})
    assert slots == list(range(len(drawn_after) * layout.prompts))


def test_a_shuffling_trainer_takes_human_prompts_in_a_seeded_order(make_trainer, texts):
    orders = []
    for shuffle, seed in ((True, 5), (True, 5), (True, 6), (False, 5)):
        trainer, log = make_trainer(max_steps=1, shuffle_dataset=shuffle, seed=seed)
        Creator().attach(trainer)
        assert trainer.shuffle_dataset is False
        trainer.train()
        orders.append([log.trained[slot] for slot in sorted(log.trained)])
    assert orders[0] == orders[1] != orders[2]
    assert orders[3] == texts[:4]


def test_left_shuffled_slots_would_be_read_out_of_turn(make_trainer):
    trainer, _ = make_trainer(max_steps=8)
    Creator().attach(trainer)
    trainer.shuffle_dataset = True
    with pytest.raises(RunError, match=r"slot \d+ .* has no prompt: batches \[0, 1\] do"):
        trainer.train()


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({"max_steps": 5}, 5),
        ({"max_steps": -1, "num_train_epochs": 1}, 10),
        ({"max_steps": -1, "num_train_epochs": 0.5}, 5),
        ({"max_steps": -1, "num_train_epochs": 2, "gradient_accumulation_steps": 3}, 6),
        ({"max_steps": -1, "num_train_epochs": 1, "num_iterations": 2}, 20),
    ],
    ids=str,
)
def test_it_takes_as_many_steps_as_without(make_trainer, settings, steps):
    trainer, _ = make_trainer(**settings)
    loader = trainer.get_train_dataloader()
    *_, wanted = trainer.set_initial_training_values(trainer.args, loader)
    Creator().attach(trainer)
    layout = trainer.train_dataset.layout
    assert trainer.args.max_steps == wanted == steps
    loader = trainer.get_train_dataloader()
    epochs, _, *_, now = trainer.set_initial_training_values(trainer.args, loader)
    assert (epochs, now) == (1, steps)
    assert len(loader) == math.ceil(steps * layout.accumulation / layout.repeats) * layout.repeats


def test_constraints_are_dressed_rewarded_and_hardened(make_trainer):
    trainer, _ = make_trainer(rewards=[constraints_met], own=False, max_steps=5)
    Creator(constraints=Constraints(), sizes=SMALL).attach(trainer)
    trainer.train()
    with_checks = population(trainer)
    prompts = with_checks.prompts()
    assert all(prompt.checks and prompt.topic for prompt in prompts)
    assert {p.operator for p in prompts} - {"human"} <= {"add", "harden", "swap", "move", "combine"}
    scores = with_checks.table("scores")
    assert len(scores) == 20
    assert all(0 <= row["mean"] <= 1 for row in scores)
    assert max(prompt.born for prompt in prompts) == 5
    with_checks.close()


def test_reference_answers_stay_with_their_topic(make_trainer, texts):
    seen = {}

    def reward(*, prompts, answer, **columns):
        seen.update(zip(prompts, answer, strict=True))
        return [float(i) for i, _ in enumerate(prompts)]

    rows = [{"prompt": text, "answer": i} for i, text in enumerate(texts)]
    trainer, _ = make_trainer(rows=rows, rewards=[reward], own=False, max_steps=6)
    creator = Creator(sizes=SMALL)
    assert set(creator._rules(Format(columns=("answer",))).weights) == {"add", "harden", "swap"}
    creator.attach(trainer)
    trainer.train()
    known = {text: i for i, text in enumerate(texts)}
    assert set(seen) - set(texts)
    for prompt, answer in seen.items():
        roots = [i for text, i in known.items() if text.rstrip(".") in prompt]
        assert answer is not None
        assert not roots or answer in roots


class Garbage:
    """An evolver that returns what no population wants."""

    chain = False

    def propose(self, parents, step, streams):
        made = [
            lambda p: Proposal(p, "none", None, reason="I cannot", text="???"),
            lambda p: Proposal(p, "same", p.rewritten(p.text, operator="same", born=1)),
            lambda p: Proposal(p, "empty", p.rewritten("", operator="empty", born=1)),
            lambda p: Proposal(p, "long", p.rewritten("word " * 500, operator="long", born=1)),
        ]
        return [made[(i + step) % 4](parent) for i, parent in enumerate(parents)]


def test_garbage_is_refused_and_counted(make_trainer, texts):
    trainer, log = make_trainer(max_steps=4)
    Creator(evolver=Garbage(), sizes=OnlineSizes(buffer=4, children=4)).attach(trainer)
    trainer.train()
    assert set(log.trained.values()) <= set(texts)
    with_refusals = population(trainer)
    refusals = with_refusals.table("refusals")
    assert {row["gate"] for row in refusals} == {"evolver", "length_band"}
    assert len(refusals) == 4 * 2 * 4
    logged = [row["eva/refused"] for row in trainer.state.log_history if "eva/refused" in row]
    assert logged == [8.0, 8.0, 8.0]
    assert len(with_refusals.prompts()) == len(texts)
    with_refusals.close()


def test_a_smaller_human_set_is_taken_again(make_trainer, texts):
    rows = [{"prompt": text} for text in texts[:4]]
    trainer, log = make_trainer(rows=rows, max_steps=4)
    Creator(sizes=OnlineSizes(children=0)).attach(trainer)
    trainer.train()
    for batch in range(4):
        chosen = {log.trained[slot] for slot in range(4 * batch, 4 * batch + 4)}
        assert chosen == set(texts[:4])
    assert trainer.state.log_history[-2]["eva/recycled"] == 4.0


def test_children_do_not_overlap_with_the_evaluation_set(make_trainer):
    measured = Dataset.from_list([{"prompt": "Say one two three four five six seven eight nine."}])
    trainer, _ = make_trainer(eval_dataset={"a": measured}, max_steps=2)

    class Copies(Wordy):
        def propose(self, parents, step, streams):
            text = "Please say one two three four five six seven eight nine {} times."
            return [
                Proposal(p, "o", p.rewritten(text.format(p.id), operator="o", born=1))
                for p in parents
            ]

    Creator(evolver=Copies(), sizes=SMALL).attach(trainer)
    trainer.train()
    with_refusals = population(trainer)
    assert {row["gate"] for row in with_refusals.table("refusals")} == {"eval_overlap"}
    with_refusals.close()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sampler": "gredy"}, "unknown sampler 'gredy': did you mean 'greedy'"),
        ({"informativeness": "a_mn"}, "unknown informativeness metric 'a_mn'"),
        ({"evolver": "rule"}, "unknown evolver 'rule': did you mean 'rules'"),
    ],
)
def test_unknown_names_get_a_suggestion(settings, message):
    with pytest.raises(ConfigError, match=message):
        Creator(**settings)


def test_parts_of_your_own_are_taken():
    def info(rewards):
        raise AssertionError

    def sampler(info, k, rng):
        return np.arange(k)

    creator = Creator(informativeness=info, sampler=sampler, evolver=RuleEvolver())
    assert (creator._informativeness, creator._sampler) == (info, sampler)


def test_an_ensemble_of_reward_functions_is_watched_for_disagreement(make_trainer):
    def other(*, completions, **columns):
        return [float(len(text) % 3) for text in completions]

    trainer, _ = make_trainer(rewards=[other], max_steps=4)
    Creator(evolver=Wordy(), sizes=SMALL, gates=(), ensemble=True).attach(trainer)
    trainer.train()
    logged = [row for row in trainer.state.log_history if "eva/disagreement" in row]
    assert logged
    assert all(row["eva/disagreement"] >= 0 for row in logged)
    members = population(trainer)
    assert len(members.table("scores")) == 16
    members.close()


def test_an_ensemble_needs_functions_and_a_metric_of_spread(make_trainer):
    trainer, _ = make_trainer()
    with pytest.raises(ConfigError, match="ensemble: the trainer has one reward function"):
        Creator(ensemble=True).attach(trainer)
    with pytest.raises(ConfigError, match="unknown metric of the spread of rewards 'avg'"):
        Creator(informativeness="avg", ensemble=True)
    with pytest.raises(ConfigError, match="ensemble: informativeness is a function"):
        Creator(informativeness=lambda rewards: None, ensemble=True)


def test_sizes_and_prompts_must_fit_the_trainer(make_trainer):
    trainer, _ = make_trainer()
    with pytest.raises(ConfigError, match=r"sizes.batch = 3, but a generation batch .* has 4"):
        Creator(sizes=OnlineSizes(batch=3)).attach(trainer)
    rows = [{"prompt": "a"}, {"prompt": "b"}, {"prompt": "a"}, {"prompt": "c"}]
    trainer, _ = make_trainer(rows=rows)
    with pytest.raises(ConfigError, match="3 different prompts, expected at least the 4"):
        Creator().attach(trainer)


def test_eva_itself_imports_no_trainer():
    code = "import sys, eva; print([m for m in ('trl', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_layout_is_the_trainers(make_trainer):
    trainer, _ = make_trainer(
        num_generations=4, gradient_accumulation_steps=2, steps_per_generation=3, num_iterations=2
    )
    Creator().attach(trainer)
    assert trainer.train_dataset.layout == Layout(6, 4, repeats=6, accumulation=2)
