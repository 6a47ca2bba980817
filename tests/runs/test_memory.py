import gc
import tempfile

from eva.runs.memory import MemoryJournal
from eva.types import Prompt, Stage


def test_everything_is_gone_with_the_journal():
    journal = MemoryJournal()
    folder = journal.checkpoints(Stage(1, "solver/train")).commit(1, lambda folder: None)
    assert folder.is_dir()
    del journal
    gc.collect()
    assert not folder.exists()


def test_nothing_is_on_disk_before_a_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    journal = MemoryJournal()
    journal.once(Stage(1, "record"), lambda: 1)
    assert list(tmp_path.iterdir()) == []
    journal.checkpoints(Stage(1, "solver/train")).commit(1, lambda folder: None)
    (folder,) = tmp_path.iterdir()
    assert folder.stat().st_mode & 0o077 == 0


def test_two_journals_share_nothing():
    one, other = MemoryJournal(), MemoryJournal()
    one.admit([Prompt.of("a")])
    one.once(Stage(1, "record"), lambda: 1)
    assert other.prompts() == []
    assert other.once(Stage(1, "record"), lambda: 2) == 2


def test_files_stay_in_memory():
    journal = MemoryJournal()
    journal.once(Stage(1, "record"), lambda: 1)
    folder = journal.checkpoints(Stage(1, "solver/train")).commit(1, lambda folder: None)
    run = folder.parents[4]
    assert [path for path in run.rglob("*") if path.is_file()] == []
    assert folder.relative_to(run).as_posix() == "rounds/001/solver/train/step-000001"
