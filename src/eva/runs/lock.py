"""An exclusive lock on a run folder, which the operating system releases when the holder dies."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from pathlib import Path

from eva.errors import RunError

_held: set[int] = set()


def _let_go_in_child() -> None:
    # A forked child shares the lock, and would keep it after a killed parent.
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_let_go_in_child)


def acquire(path: Path) -> int:
    """Lock `path`, made if need be, and return what `release` takes.

    Raises:
        RunError: somebody else holds it (the message says who), or the file system has no locks.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise RunError(
            f"{path.parent} is in use by {_holder(path)}: wait until it ends, or stop it"
        ) from error
    except OSError as error:
        os.close(descriptor)
        raise RunError(
            f"{path}: this file system gives no locks ({error.strerror}); "
            "put the run folder on another one"
        ) from error
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(holder).encode(), 0)
    _held.add(descriptor)
    return descriptor


def release(descriptor: int) -> None:
    """Give a lock back."""
    _held.discard(descriptor)
    os.close(descriptor)


def _holder(path: Path) -> str:
    try:
        who = json.loads(path.read_text())
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(who["since"]))
        return f"process {who['pid']} on {who['host']} since {since}"
    except (OSError, ValueError, KeyError):
        # The holder has the lock but has not yet written its name.
        return "another process"
