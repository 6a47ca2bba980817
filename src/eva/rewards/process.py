"""A worker process with a user's function in it, which can be killed at any moment."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import IO

from eva.errors import ConfigError, DataError
from eva.types import Json

log = logging.getLogger(__name__)

START_SECONDS = 300.0
"""Time limit for starting the process and importing the function's module."""
_CHUNK = 1 << 16


class Worker:
    """A running worker; it ends when it is closed, collected, or the driver ends.

    It has a session of its own, so that what it started dies with it, and neither an interrupt
    nor what the function prints reaches the driver's terminal: that goes to the log.

    Raises:
        ConfigError: the function cannot be had; the message says what its import raised.
    """

    def __init__(self, spec: str) -> None:
        self.spec = spec
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                # -P: no file of the working folder may stand in for a library's module.
                [sys.executable, "-P", "-m", "eva.rewards.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._link = ours
        self._words: deque[str] = deque(maxlen=20)
        assert self._process.stdout is not None, "asked for"
        self._reader = threading.Thread(
            target=_listen, args=(self._process.stdout, self._words), daemon=True
        )
        self._reader.start()
        self.close = weakref.finalize(self, _end, self._process, self._link, self._reader)
        self.batch = self._prepare()
        """Whether the function takes all responses of a prompt at once."""

    def ask(self, request: Mapping[str, Json], *, seconds: float) -> Mapping[str, Json]:
        """Send a request and return the reply; after any exception but the first it is closed.

        Raises:
            DataError: the request cannot be said in JSON; nothing was sent.
            TimeoutError: there was no reply in time.
            ConnectionError: there will be none: it crashed, or ended itself.
        """
        try:
            line = json.dumps(request).encode() + b"\n"
        except (TypeError, ValueError, RecursionError) as error:
            raise DataError(f"cannot be handed to the function as JSON: {error}") from error
        deadline = time.monotonic() + seconds
        try:
            self._link.settimeout(seconds)
            self._link.sendall(line)
            reply = b""
            while not reply.endswith(b"\n"):
                self._link.settimeout(max(deadline - time.monotonic(), 1e-3))
                received = self._link.recv(_CHUNK)
                if not received:
                    raise ConnectionResetError
                reply += received
        except TimeoutError:
            self.close()
            raise TimeoutError(f"no reply within {seconds:g} s; the worker was killed") from None
        except ConnectionError:
            self.close()
            raise ConnectionError(self._obituary()) from None
        except BaseException:  # an interrupt: a reply that comes later would answer nothing
            self.close()
            raise
        answer: Mapping[str, Json] = json.loads(reply)
        return answer

    def _prepare(self) -> bool:
        try:
            path = [*sys.path, os.getcwd()]
            reply = self.ask({"spec": self.spec, "path": path}, seconds=START_SECONDS)
        except (TimeoutError, ConnectionError) as error:
            reply = {"failed": str(error)}
        if "failed" in reply:
            self.close()
            raise ConfigError(f"reward function {self.spec!r}: {reply['failed']}")
        return bool(reply["batch"])

    def _obituary(self) -> str:
        code = self._process.returncode
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        last = f"; its last words: {self._words[-1]}" if self._words else ""
        return f"the worker process ended ({how}){last}"


def _listen(stream: IO[bytes], words: deque[str]) -> None:
    with stream:
        for line in stream:
            words.append(line.decode(errors="replace").rstrip())
            log.info("reward function: %s", words[-1])


def _end(process: subprocess.Popen[bytes], link: socket.socket, reader: threading.Thread) -> None:
    """Kill the worker and whatever of its session is left; one that is gone keeps its exit code."""
    link.close()
    assert process.stdin is not None, "asked for"
    process.stdin.close()
    # Nobody may be left to kill; macOS says so with a PermissionError.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    reader.join(timeout=1.0)
