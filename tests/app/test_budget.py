import json

import pytest

from eva.app.budget import budget_of
from eva.app.load import parse_config
from eva.errors import ConfigError
from eva.runs.folder import RunFolder
from eva.types import Stage

BASE = {
    "policy": {"model": "m"},
    "prompts": {"source": "p"},
    "reward": {"name": "python", "function": "m:f"},
    "solver": {"objective": "dpo"},
}


def test_without_a_budget_there_is_none():
    assert budget_of(parse_config(BASE)) is None


def test_tokens_per_round_add_up():
    config = parse_config(BASE | {"rounds": 3, "budget": {"tokens": 100}})
    assert budget_of(config) == {1: 100, 2: 200, 3: 300}


def test_another_run_gives_the_budget_of_each_round(tmp_path):
    path = tmp_path / "run"
    with RunFolder.create(path, json.loads("{}")) as folder:
        journal = folder.journal()
        for t, total in ((1, 50), (2, 70)):
            journal.once(Stage(t, "record"), lambda total=total: {"tokens": {"total": total}})
    config = parse_config(BASE | {"rounds": 2, "budget": {"match": str(path)}})
    assert budget_of(config) == {1: 50, 2: 120}
    config = parse_config(BASE | {"rounds": 3, "budget": {"match": str(path)}})
    with pytest.raises(ConfigError, match="played 2 rounds"):
        budget_of(config)


def test_training_from_scratch_has_no_budget():
    scratch = {"objective": "dpo", "start": "scratch"}
    with pytest.raises(ConfigError, match="incremental"):
        budget_of(parse_config(BASE | {"solver": scratch, "budget": {"tokens": 100}}))
