"""A journal that forgets: for tests, and for playing a schedule without a run folder."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path

from eva.protocols import Progress, Tracker
from eva.runs.checkpoints import KEEP, Retention
from eva.runs.durable import Files, Mark, mark
from eva.runs.journal import RunJournal
from eva.runs.ledger import Ledger
from eva.runs.population import Population


class MemoryFiles(Files):
    """Files in memory; only checkpoints, which are folders, go to a temporary folder."""

    def __init__(self) -> None:
        super().__init__(Path(tempfile.gettempdir()) / f"eva-{secrets.token_hex(8)}")
        self._content: dict[str, bytes] = {}
        weakref.finalize(self, shutil.rmtree, self.root, ignore_errors=True)

    def write_folder(
        self, name: str, write: Callable[[Path], None], *, stage: str
    ) -> dict[str, Mark]:
        """Let `write` fill a new folder; return the marks of its files by relative name."""
        # not before it is needed: a kill leaves whatever is there
        self.root.mkdir(mode=0o700, exist_ok=True)
        return super().write_folder(name, write, stage=stage)

    def write(self, name: str, data: bytes, *, stage: str) -> Mark:
        """Keep a file."""
        self._content[name] = data
        return mark(data)

    def read(self, name: str, expected: Mark) -> bytes:
        """Return a file."""
        return self._content[name]


class MemoryJournal(RunJournal):
    """Implements `eva.protocols.Journal` in memory; everything is gone when it is."""

    def __init__(
        self,
        *,
        progress: Progress | None = None,
        tracker: Tracker | None = None,
        keep: Retention = KEEP,
    ) -> None:
        self.population = Population()
        self.population.create()
        ledger = Ledger(self.population, tracker=tracker)
        super().__init__(ledger, MemoryFiles(), progress=progress, keep=keep)
