"""Versions: determined by what was trained on, and by nothing else."""

from __future__ import annotations

from eva.engines.history import History
from eva.types import Example

A = [Example("a", (1,), ((2, 3),))]
B = [Example("b", (1,), ((2, 3),))]


def trained(*batches, lr=0.1):
    history = History("base")
    for batch in batches:
        history = history.saw(batch, 1.0).stepped(lr)
    return history


def test_a_fresh_policy_has_the_name_of_its_source():
    assert History("base").version == "base"
    assert History("base").saw(A, 1.0).version == "base"


def test_versions_count_updates_and_change_with_each():
    versions = [trained(*[A] * n).version for n in range(5)]
    assert len(set(versions)) == 5
    assert [v.rpartition(".")[0] for v in versions[1:]] == [f"base+{n}" for n in range(1, 5)]


def test_equal_training_gives_equal_versions_and_other_training_others():
    assert trained(A, B).version == trained(A, B).version
    assert trained(A, B).version != trained(B, A).version
    assert trained(A).version != trained(A, lr=0.2).version
    assert trained(A).version != trained(B).version


def test_a_record_brings_the_version_back():
    history = trained(A, B)
    back = History.of(history.record())
    assert back.version == history.version == history.record()["version"]
    assert back.saw(A, 1.0).stepped(0.1).version == trained(A, B, A).version
