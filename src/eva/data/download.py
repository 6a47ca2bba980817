"""Fetching one file of a Python package with the pip of this interpreter.

Pip knows the user's index, proxy and certificates, so nothing here names a host. The digest is
given to pip as well, which checks it before it would run anything of a source distribution.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from eva.errors import DataError

log = logging.getLogger(__name__)

POLL_S = 0.1
"""Seconds between two looks at how far a download is."""
STALL_S = 300.0
"""Seconds without a single new byte after which a download is given up."""
ATTEMPTS = 2
"""Tries in all; each of them retries single connections as well."""
LAST_LINES = 8
"""Lines of pip's output that an error repeats."""


@dataclass(frozen=True, slots=True)
class Archive:
    """One wheel or source distribution, pinned."""

    requirement: str
    """`name==version`."""
    sdist: bool
    """Whether it is the source distribution, not the wheel."""
    sha256: str
    """Of the archive."""
    bytes: int
    """Size of the archive."""
    licence: str
    """What the package says of itself."""

    @property
    def name(self) -> str:
        """The package's name."""
        return self.requirement.partition("==")[0]


def digest(path: Path) -> str:
    """Return a file's sha256 as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(archive: Archive, folder: Path, *, advance: Callable[[int], None]) -> Path:
    """Fetch an archive into `folder` (emptied of other files), check it, return its path.

    Args:
        archive: what to fetch.
        folder: an existing folder that nothing else writes to.
        advance: called with the bytes that have arrived, at most `archive.bytes`.

    Raises:
        DataError: pip is missing, failed, stalled, or brought a file with another digest.
    """
    if importlib.util.find_spec("pip") is None:
        raise DataError(
            f"cannot fetch {archive.requirement}: this Python ({sys.executable}) has no pip; "
            "add it with 'python -m ensurepip' or your environment's own means"
        )
    for _ in range(ATTEMPTS - 1):
        try:
            return _attempt(archive, folder, advance)
        except DataError as error:
            log.warning("trying once more: %s", error)
    return _attempt(archive, folder, advance)


def _attempt(archive: Archive, folder: Path, advance: Callable[[int], None]) -> Path:
    temporary, output = folder / "temporary", folder / "pip.txt"
    temporary.mkdir(exist_ok=True)
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{archive.requirement} --hash=sha256:{archive.sha256}\n")
    # -P: a pip.py in the present folder is not pip.
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--require-hashes"]
    command += ["--no-binary" if archive.sdist else "--only-binary", archive.name]
    command += ["--retries", "3", "--timeout", "30", "--progress-bar", "off", "--no-input"]
    command += ["--disable-pip-version-check", "--ignore-requires-python"]
    command += ["--dest", str(folder), "--requirement", str(requirements)]
    environment = os.environ | {"TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"}
    with output.open("wb") as sink:
        pip = subprocess.Popen(
            command, stdout=sink, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            env=environment,
        )  # fmt: skip
        code = _watch(pip, folder, lambda done: advance(min(done, archive.bytes)))
    lines = output.read_text(errors="replace").strip().splitlines()[-LAST_LINES:]
    said = re.sub(r"\S+", _anonymous, "\n".join(lines))
    if code != 0:
        why = f"no new byte for {STALL_S:.0f} s" if code is None else f"pip ended with code {code}"
        raise DataError(
            f"cannot fetch {archive.requirement}: {why}. Expected a reachable package index; set "
            f"PIP_INDEX_URL or PIP_FIND_LINKS if yours is elsewhere. Pip's last lines:\n{said}"
        )
    file = _checked(archive, folder)
    advance(archive.bytes)
    return file


def _anonymous(word: re.Match[str]) -> str:
    """Return a word of pip's without user and password: pip hides them in whole addresses alone."""
    signed, at, host = word[0].rpartition("@")
    return f"[user]@{host}" if at and ":" in signed else word[0]


def _watch(
    pip: subprocess.Popen[bytes], folder: Path, advance: Callable[[int], None]
) -> int | None:
    """Wait for pip and return its exit code, or None if it stalled and was ended."""
    seen, since = -1, time.monotonic()
    try:
        while pip.poll() is None:
            arrived = _largest_below(folder)
            if arrived != seen:
                seen, since = arrived, time.monotonic()
                advance(arrived)
            elif time.monotonic() - since > STALL_S:
                return None
            time.sleep(POLL_S)
        return pip.returncode
    finally:
        if pip.poll() is None:
            pip.kill()
            pip.wait()


def _largest_below(folder: Path) -> int:
    """Return the size of the largest file below `folder`: the archive as it grows."""
    largest = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                largest = max(largest, os.stat(os.path.join(root, name)).st_size)
            except FileNotFoundError:  # pip moves and removes its temporary files meanwhile
                continue
    return largest


def _checked(archive: Archive, folder: Path) -> Path:
    """Return the one archive in `folder`, or remove it and raise if it is not the pinned one."""
    found = [path for path in folder.iterdir() if path.suffix in {".whl", ".gz", ".zip"}]
    if len(found) != 1:
        names = sorted(path.name for path in found)
        raise DataError(f"fetching {archive.requirement}: expected one archive, got {names}")
    got = digest(found[0])
    if got != archive.sha256:
        found[0].unlink()
        raise DataError(
            f"{archive.requirement}: {found[0].name} has sha256 {got}, expected {archive.sha256}; "
            "it was removed. The package index serves another file than the pinned one"
        )
    return found[0]
