import pytest

from eva.errors import RunError
from eva.runs.checkpoints import Retention
from eva.runs.memory import MemoryJournal
from eva.types import Stage

TRAIN = Stage(1, "solver/train")


def write(text):
    return lambda folder: (folder / "weights").write_text(text)


def test_the_newest_is_found_and_older_ones_go():
    checkpoints = MemoryJournal(keep=Retention(steps=2)).checkpoints(TRAIN)
    assert checkpoints.latest() is None
    folders = [checkpoints.commit(step, write(str(step))) for step in (9, 10, 11, 100)]
    assert [folder.exists() for folder in folders] == [False, False, True, True]
    assert checkpoints.latest() == (100, folders[3])
    assert (folders[3] / "weights").read_text() == "100"


def test_the_final_one_is_the_policy_and_the_only_one():
    checkpoints = MemoryJournal().checkpoints(TRAIN)
    step = checkpoints.commit(20, write("a"))
    policy = checkpoints.commit(20, write("b"), final=True)
    assert checkpoints.latest() == (20, policy)
    assert policy.parts[-3:] == ("rounds", "001", "policy")
    assert not step.exists()


def test_a_failed_writer_leaves_the_last_one():
    checkpoints = MemoryJournal().checkpoints(TRAIN)
    last = checkpoints.commit(1, write("a"))

    def broken(folder):
        (folder / "weights").write_text("half")
        raise KeyError

    with pytest.raises(KeyError):
        checkpoints.commit(2, broken)
    assert checkpoints.latest() == (1, last)
    assert [folder.name for folder in last.parent.iterdir()] == ["step-000001"]


def test_the_policy_a_round_began_with_always_stays():
    journal = MemoryJournal(keep=Retention(policies=1))
    policies = [
        journal.checkpoints(Stage(t, "solver/train")).commit(5, write(str(t)), final=True)
        for t in (1, 2, 3)
    ]
    assert [policy.exists() for policy in policies] == [False, True, True]
    with pytest.raises(RunError, match="001/policy was removed"):
        journal.checkpoints(TRAIN).latest()


def test_rounds_do_not_see_each_others_checkpoints():
    journal = MemoryJournal()
    journal.checkpoints(TRAIN).commit(5, write("a"))
    assert journal.checkpoints(Stage(2, "solver/train")).latest() is None
