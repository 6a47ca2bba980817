"""Servers that eva started do not outlive it: a small process beside each waits for eva's end.

What kills eva without a word (SIGKILL, the kernel's out-of-memory killer, a batch system) leaves it
no time to end a server, which would keep the GPU. The watching process holds the other end of a
pipe: however eva ends, the pipe breaks.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil

PATIENCE = 20.0
"""Seconds between asking a server to end and ending it."""

NOTE = "pid"
"""File in a server's folder that holds the number of its process."""


def watch(folder: Path, *, remove: Path | None = None) -> subprocess.Popen[bytes]:
    """Start what ends the server of a folder once this process is gone; `unwatch` stops it.

    `remove` is a folder that goes then: one that nobody else uses.
    """
    return subprocess.Popen(
        [sys.executable, "-m", __name__, str(folder), *([str(remove)] if remove else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # what ends eva must not end it
    )


def unwatch(watcher: subprocess.Popen[bytes]) -> None:
    """End the watching of a server that has ended."""
    watcher.kill()
    watcher.communicate()


def end_left_over(folder: Path) -> None:
    """End the server of a run that was killed: it would keep its memory."""
    note = folder / NOTE
    try:
        left = psutil.Process(int(note.read_text(encoding="ascii")))
        # the number may belong to another program by now
        ours = any(str(folder) in word for word in left.cmdline())
    except (OSError, psutil.Error, ValueError):
        return
    if ours:
        end_all(left.pid)


def end_all(pid: int) -> None:
    """End the leader of a session with all that it started, also where it has ended itself."""
    family = [process for process in psutil.process_iter() if _session(process.pid) == pid]
    try:
        first = psutil.Process(pid)
        family += [*first.children(recursive=True), first]
    except psutil.NoSuchProcess:
        pass
    for end in (psutil.Process.terminate, psutil.Process.kill):
        for process in set(family):
            try:
                end(process)
            except psutil.NoSuchProcess:
                continue
        _, family = psutil.wait_procs(set(family), timeout=PATIENCE)


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


if __name__ == "__main__":
    sys.stdin.buffer.read()
    end_left_over(Path(sys.argv[1]))
    for folder in sys.argv[2:]:
        shutil.rmtree(folder, ignore_errors=True)
