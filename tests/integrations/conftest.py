"""Trainers of TRL with a tiny random model, and what they answered."""

import gc

import pytest
import torch

pytest.importorskip("trl")

from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

THINGS = ("rain", "bread", "roads", "winter", "the sea", "a cat", "clocks", "salt", "bees", "ice")
TEXTS = [f"Write about {thing}, number {i}." for i in range(4) for thing in THINGS]


class Log:
    """A reward function that keeps what it is called with, and likes few distinct letters."""

    __name__ = "log"

    def __init__(self):
        self.calls = []

    def __call__(self, *, prompts, completions, completion_ids, **columns):
        rewards = [-float(len(set(ids))) for ids in completion_ids]
        slots = columns.get("eva_slot")
        self.calls.append({"prompts": prompts, "rewards": rewards, "slots": slots})
        return rewards

    @property
    def trained(self):
        """The prompts by slot, those of evaluation left out."""
        return {
            slot: prompt
            for call in self.calls
            if call["slots"] is not None
            for slot, prompt in zip(call["slots"], call["prompts"], strict=True)
        }


@pytest.fixture(scope="package", autouse=True)
def small_heap():
    """Spare what was imported from the collection that every trainer begins with: half a second."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def texts():
    return list(TEXTS)


@pytest.fixture
def make_trainer(tiny_folder, tmp_path):
    """Return a function that makes a trainer and the log of its first reward function."""

    def make(kind="rloo", *, rows=None, rewards=(), folder=None, own=True, **settings):
        trainer_class, config_class = {
            "rloo": (RLOOTrainer, RLOOConfig),
            "grpo": (GRPOTrainer, GRPOConfig),
        }[kind]
        trainer_settings = {
            name: settings.pop(name)
            for name in ("eval_dataset", "reward_processing_classes", "callbacks")
            if name in settings
        }
        defaults = {
            "output_dir": str(folder or tmp_path / "out"),
            "per_device_train_batch_size": 8,
            "num_generations": 2,
            "max_completion_length": 4,
            "max_steps": 3,
            "learning_rate": 1e-3,
            "logging_steps": 1,
            "save_strategy": "no",
            "beta": 0.0,
            "report_to": "none",
            "use_cpu": True,
            "bf16": False,
            "activation_checkpointing": False,
            "disable_tqdm": True,
            "seed": 5,
        }
        torch.manual_seed(0)
        log = Log()
        trainer = trainer_class(
            model=str(tiny_folder),
            reward_funcs=[log, *rewards] if own else list(rewards),
            args=config_class(**defaults | settings),
            train_dataset=Dataset.from_list(rows or [{"prompt": text} for text in TEXTS]),
            **trainer_settings,
        )
        return trainer, log

    return make
