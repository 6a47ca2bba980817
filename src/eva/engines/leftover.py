"""Servers that eva started do not outlive it: a small process beside each waits for eva's end.

What kills eva without a word (SIGKILL, the kernel's out-of-memory killer, a batch system) leaves it
no time to end a server, which would keep the GPU. The watching process holds the other end of a
pipe: however eva ends, the pipe breaks.

A server is known by a variable of its environment, which it has from its first instant and hands
down to what it starts; and by a note of its number, since a program that changes its own title may
overwrite its environment.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

PATIENCE = 20.0
"""Seconds between asking a server to end and ending it."""

NOTE = "pid"
"""File in a server's folder that holds the number of its process."""

_MARK = "EVA_SERVED"


def marked(folder: Path) -> dict[str, str]:
    """Return this process's environment, with what marks a server as that of a folder."""
    return {**os.environ, _MARK: os.path.realpath(folder)}


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
    end_all(*_marked_with(folder), *_noted(folder))


def end_all(*leaders: int) -> None:
    """End leaders of sessions with all that they started, also where they have ended themselves."""
    family = {process for process in psutil.process_iter() if _session(process.pid) in leaders}
    for leader in leaders:
        try:
            first = psutil.Process(leader)
            family |= {*first.children(recursive=True), first}
        except psutil.NoSuchProcess:
            pass
    for end in (psutil.Process.terminate, psutil.Process.kill):
        for process in family:
            try:
                end(process)
            except psutil.NoSuchProcess:
                continue
        _, alive = psutil.wait_procs(family, timeout=PATIENCE)
        family = set(alive)


def _marked_with(folder: Path) -> Iterator[int]:
    mark = os.path.realpath(folder)
    for process in psutil.process_iter():
        try:
            if process.environ().get(_MARK) == mark:
                yield process.pid
        except (OSError, psutil.Error):  # gone, or somebody else's
            continue


def _noted(folder: Path) -> Iterator[int]:
    try:
        left = psutil.Process(int((folder / NOTE).read_text(encoding="ascii")))
        # the number may belong to another program by now
        if any(str(folder) in word for word in left.cmdline()):
            yield left.pid
    except (OSError, psutil.Error, ValueError):
        return


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
