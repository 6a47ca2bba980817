import os
import subprocess
import sys

import pytest

from eva.errors import RunError
from eva.runs import lock


def test_a_lock_is_exclusive_even_within_a_process_and_can_be_given_back(tmp_path):
    held = lock.acquire(tmp_path / "lock")
    with pytest.raises(RunError, match=f"in use by process {os.getpid()} on"):
        lock.acquire(tmp_path / "lock")
    lock.release(held)
    lock.release(lock.acquire(tmp_path / "lock"))


def test_a_holder_that_has_not_written_its_name_yet_is_another_process(tmp_path):
    held = lock.acquire(tmp_path / "lock")
    (tmp_path / "lock").write_text("")
    with pytest.raises(RunError, match="in use by another process"):
        lock.acquire(tmp_path / "lock")
    lock.release(held)


def test_a_forked_child_does_not_keep_the_lock_of_a_dead_parent(tmp_path):
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from eva.runs import lock\n"
        "lock.acquire(Path(sys.argv[1]))\n"
        "if os.fork() == 0:\n"
        "    print(os.getpid(), flush=True)\n"
        "    sys.stdin.read()\n"  # lives until the test lets it end
        "os._exit(0)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        child = int(process.stdout.readline())
        process.wait()
        os.kill(child, 0)  # the child is alive
        lock.release(lock.acquire(tmp_path / "lock"))


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    with pytest.raises(RunError, match="gives no locks"):
        lock.acquire(tmp_path / "lock")
