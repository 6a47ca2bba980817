import pytest
from datasets import Dataset

from eva.creator.online import OnlineSizes
from eva.errors import ConfigError
from eva.integrations.trl import Creator
from eva.integrations.trl_limits import layout_of, refuse_unfit
from eva.integrations.trl_slots import Layout


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dataloader_num_workers": 1}, "dataloader_num_workers = 1, expected 0: a worker process"),
        ({"remove_unused_columns": True}, "remove_unused_columns = True, expected False"),
        ({"ignore_data_skip": True}, "ignore_data_skip = True, expected False"),
        (
            {"restore_callback_states_from_checkpoint": True},
            "restore_callback_states_from_checkpoint = True, expected False",
        ),
        ({"accelerator_config": {"split_batches": True}}, "split_batches = True, expected False"),
        ({"accelerator_config": {"dispatch_batches": True}}, "dispatch_batches = True, expected"),
        ({"save_strategy": "epoch"}, "save_strategy = 'epoch', expected 'steps' or 'no'"),
        ({"logging_strategy": "epoch"}, "logging_strategy = 'epoch'.* set logging_steps"),
    ],
    ids=str,
)
def test_settings_that_would_go_wrong_silently_are_refused(make_trainer, settings, message):
    trainer, _ = make_trainer(**settings)
    with pytest.raises(ConfigError, match=message):
        Creator().attach(trainer)
    assert isinstance(trainer.train_dataset, Dataset)


def test_streams_are_refused(make_trainer):
    trainer, _ = make_trainer()
    trainer.train_dataset = trainer.train_dataset.to_iterable_dataset()
    with pytest.raises(ConfigError, match=r"got a IterableDataset, expected a datasets.Dataset"):
        refuse_unfit(trainer)


def test_other_trainers_are_refused():
    with pytest.raises(ConfigError, match="got a object, expected an RLOOTrainer or GRPOTrainer"):
        Creator().attach(object())


def test_a_second_creator_is_refused(make_trainer):
    trainer, _ = make_trainer()
    Creator().attach(trainer)
    with pytest.raises(ConfigError, match="attached to this trainer already"):
        Creator().attach(trainer)


def test_environments_are_refused(make_trainer):
    trainer, _ = make_trainer("grpo")
    trainer.environment_factories = {None: object}
    with pytest.raises(ConfigError, match=r"environment_factory: .* leave it out"):
        refuse_unfit(trainer)


def test_the_layout_is_read_from_the_trainer(make_trainer):
    trainer, _ = make_trainer(gradient_accumulation_steps=2, num_iterations=3)
    assert layout_of(trainer) == Layout(8, 2, repeats=6, accumulation=2)


def test_a_run_that_never_leaves_its_warm_up_is_warned_of(make_trainer, caplog):
    for sizes, warned in ((None, True), (OnlineSizes(buffer=8), False)):
        trainer, _ = make_trainer(max_steps=6)
        caplog.clear()
        Creator(sizes=sizes).attach(trainer)
        found = [r.getMessage() for r in caplog.records if "no evolved prompt" in r.getMessage()]
        assert bool(found) == warned
        if found:
            assert "it writes at most 48, the buffer of 3200" in found[0]


@pytest.mark.parametrize(("every", "warned"), [(4, False), (3, True)])
def test_saves_amid_generation_batches_are_warned_of(make_trainer, caplog, every, warned):
    trainer, _ = make_trainer(save_strategy="steps", save_steps=every, steps_per_generation=2)
    Creator().attach(trainer)
    assert any("save_steps" in record.getMessage() for record in caplog.records) == warned
