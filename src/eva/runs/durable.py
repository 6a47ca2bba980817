"""Files that are either whole or not there, whenever the machine stops.

A file is written under a temporary name, synced, renamed, and its folder synced. Temporary names
begin with a dot, so that readers of Parquet data sets pass over them.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from eva.errors import RunError
from eva.runs.faults import reach


@dataclass(frozen=True, slots=True)
class Mark:
    """What a committed file must look like when it is read again."""

    size: int
    """Bytes."""
    digest: str
    """BLAKE2b of the content, 128 bits, hexadecimal."""


class Files:
    """The files of a run, named by their paths relative to its folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, name: str, data: bytes, *, stage: str) -> Mark:
        """Write a file, replacing what an interrupted attempt left; `stage` names crash points."""
        path = self.root / name
        reach(f"{stage}:before_write")
        make_folder(path.parent)
        temporary = _temporary(path)
        try:
            with open(temporary, "wb") as file:
                file.write(data[: len(data) // 2])
                file.flush()
                reach(f"{stage}:half_written")
                file.write(data[len(data) // 2 :])
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        reach(f"{stage}:before_rename")
        os.replace(temporary, path)
        sync_folder(path.parent)
        return mark(data)

    def read(self, name: str, expected: Mark) -> bytes:
        """Return a committed file.

        Raises:
            RunError: it is missing, or is not what was committed.
        """
        path = self.root / name
        try:
            data = path.read_bytes()
        except OSError as error:
            raise RunError(f"{path} was committed but cannot be read: {error.strerror}") from error
        _compare(path, mark(data), expected)
        return data

    def write_folder(
        self, name: str, write: Callable[[Path], None], *, stage: str
    ) -> dict[str, Mark]:
        """Let `write` fill a new folder; return the marks of its files by relative name."""
        path = self.root / name
        reach(f"{stage}:before_write")
        make_folder(path.parent)
        temporary = _temporary(path)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            write(temporary)
            reach(f"{stage}:half_written")
            marks = _sync_tree(temporary)
        except Exception:
            # A full disk needs the room.
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        reach(f"{stage}:before_rename")
        if path.exists():
            # Only an attempt that was never committed can be in the way.
            shutil.rmtree(path)
        os.replace(temporary, path)
        sync_folder(path.parent)
        return marks

    def check_folder(
        self, name: str, expected: Mapping[str, Mark], *, thorough: bool = True
    ) -> Path:
        """Return a committed folder, its files' sizes and, if `thorough`, contents checked.

        Raises:
            RunError: a file of it is missing, or is not what was committed.
        """
        folder = self.root / name
        for file, wanted in expected.items():
            path = folder / file
            try:
                size = path.stat().st_size
                # A wrong size is damage enough: no need to read gigabytes for the digest.
                whole = thorough and size == wanted.size
                found = _mark_of(path) if whole else Mark(size, wanted.digest)
            except OSError as error:
                reason = error.strerror
                raise RunError(f"{path} was committed but cannot be read: {reason}") from error
            _compare(path, found, wanted)
        return folder


def mark(data: bytes) -> Mark:
    """Return the mark of a file's content."""
    return Mark(len(data), hashlib.blake2b(data, digest_size=16).hexdigest())


def make_folder(path: Path) -> None:
    """Make a folder and its parents so that they survive a power cut."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync_folder(folder.parent)


def sync_folder(path: Path) -> None:
    """Make the entries of a folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, unsynced: for files that can be made again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    temporary.write_bytes(data)
    os.replace(temporary, path)


def is_full(error: BaseException) -> bool:
    """Whether an error says that the disk, or a quota on it, is full."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    # Writers in other languages (safetensors, Arrow) hand on the system's words only.
    return "No space left on device" in str(error)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp")


def _sync_tree(folder: Path) -> dict[str, Mark]:
    marks = {}
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            sync_folder(path)
            continue
        with open(path, "rb") as file:
            os.fsync(file.fileno())
        marks[path.relative_to(folder).as_posix()] = _mark_of(path)
    sync_folder(folder)
    return marks


def _mark_of(path: Path) -> Mark:
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
    return Mark(path.stat().st_size, digest.hexdigest())


def _compare(path: Path, found: Mark, expected: Mark) -> None:
    if found == expected:
        return
    if found.size != expected.size:
        fault = f"has {found.size} bytes, {expected.size} were committed"
    else:
        fault = f"has digest {found.digest}, {expected.digest} was committed"
    raise RunError(f"{path} is damaged: it {fault}")
