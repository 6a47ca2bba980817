import errno
import sqlite3

import pytest

from eva.errors import RunError
from eva.runs import durable, faults
from eva.runs.durable import Files, Mark


def test_a_file_is_whole_or_not_there(tmp_path):
    files = Files(tmp_path)
    for point in ("before_write", "half_written", "before_rename"):
        with faults.armed(f"s:{point}"), pytest.raises(faults.Crash):
            files.write("a/b/c.bin", b"0123456789", stage="s")
        assert not (tmp_path / "a/b/c.bin").exists()
    assert (tmp_path / "a/b/.c.bin.tmp").read_bytes() == b"0123456789"
    found = files.write("a/b/c.bin", b"new", stage="s")
    assert found == Mark(3, durable.mark(b"new").digest)
    assert [p.name for p in (tmp_path / "a/b").iterdir()] == ["c.bin"]
    assert files.read("a/b/c.bin", found) == b"new"


def test_half_of_a_file_is_on_disk_at_the_half_written_point(tmp_path):
    with faults.armed("s:half_written"), pytest.raises(faults.Crash):
        Files(tmp_path).write("c", b"0123456789", stage="s")
    assert (tmp_path / ".c.tmp").read_bytes() == b"01234"


def test_a_file_that_is_not_what_was_committed_is_refused(tmp_path):
    files = Files(tmp_path)
    found = files.write("c", b"good", stage="s")
    (tmp_path / "c").write_bytes(b"gone")
    with pytest.raises(RunError, match="c is damaged: it has digest"):
        files.read("c", found)
    (tmp_path / "c").write_bytes(b"goo")
    with pytest.raises(RunError, match="c is damaged: it has 3 bytes, 4 were committed"):
        files.read("c", found)
    (tmp_path / "c").unlink()
    with pytest.raises(RunError, match="committed but cannot be read: No such file"):
        files.read("c", found)


def fill(folder):
    (folder / "sub").mkdir()
    (folder / "sub" / "weights").write_bytes(b"w" * 9)
    (folder / "config").write_bytes(b"{}")


def test_a_folder_replaces_what_an_interrupted_attempt_left(tmp_path):
    files = Files(tmp_path)
    (tmp_path / ".policy.tmp").mkdir()
    (tmp_path / ".policy.tmp" / "stale").touch()
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "orphan").touch()
    marks = files.write_folder("policy", fill, stage="s")
    assert {name: mark.size for name, mark in marks.items()} == {"config": 2, "sub/weights": 9}
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["config", "policy", "sub", "weights"]
    assert files.check_folder("policy", marks) == tmp_path / "policy"


def test_a_damaged_folder_is_refused(tmp_path):
    files = Files(tmp_path)
    marks = files.write_folder("policy", fill, stage="s")
    weights = tmp_path / "policy/sub/weights"
    weights.write_bytes(b"v" * 9)
    with pytest.raises(RunError, match="weights is damaged: it has digest"):
        files.check_folder("policy", marks)
    # Sizes alone cannot tell: that is what a quick look is worth.
    files.check_folder("policy", marks, thorough=False)
    weights.write_bytes(b"v")
    with pytest.raises(RunError, match="has 1 bytes, 9 were"):
        files.check_folder("policy", marks, thorough=False)
    weights.unlink()
    with pytest.raises(RunError, match="cannot be read"):
        files.check_folder("policy", marks)


def test_a_writer_that_fails_leaves_nothing(tmp_path):
    def write(folder):
        (folder / "big").write_bytes(b"0" * 100)
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        Files(tmp_path).write_folder("policy", write, stage="s")
    assert list(tmp_path.iterdir()) == []


def test_full_disks_are_told_from_other_errors():
    small = sqlite3.connect(":memory:")
    small.execute("PRAGMA max_page_count = 2")
    small.execute("CREATE TABLE t (x)")
    with pytest.raises(sqlite3.OperationalError) as full:
        small.executemany("INSERT INTO t VALUES (?)", [("x" * 999,)] * 99)
    with pytest.raises(sqlite3.OperationalError) as other:
        small.execute("SELECT * FROM nowhere")
    small.close()
    assert durable.is_full(full.value)
    assert durable.is_full(OSError(errno.EDQUOT, "Disk quota exceeded"))
    assert durable.is_full(RuntimeError("I/O error: No space left on device (os error 28)"))
    assert not durable.is_full(other.value)
    assert not durable.is_full(OSError(errno.EACCES, "Permission denied"))
