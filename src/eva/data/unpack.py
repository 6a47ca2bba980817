"""Taking named files out of a wheel or source distribution, and nothing else."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from eva.errors import DataError


def unpack(archive: Path, member: str, target: Path) -> None:
    """Write a member of an archive to `target`.

    A member that ends in `/` is a folder: every file below it is written below `target`. Where a
    file lands follows from `target` and from the path below the member, which may not climb out of
    it; links and devices are refused.

    Raises:
        DataError: the archive cannot be read, lacks the member, or holds a path that climbs out.
    """
    try:
        with _opened(archive) as files:
            found = _write(files, member, target)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise DataError(f"{archive}: not a readable archive: {error}") from error
    if not found:
        raise DataError(f"{archive}: no {member!r} inside")


def _write(files: Iterator[tuple[str, IO[bytes] | None]], member: str, target: Path) -> bool:
    found = False
    for name, content in files:
        if name != member and not (member.endswith("/") and name.startswith(member)):
            continue
        below = PurePosixPath(name.removeprefix(member))
        if content is None or below.is_absolute() or ".." in below.parts or "\\" in name:
            raise DataError(f"archive member {name!r}: expected a plain file inside {member!r}")
        destination = target / below
        destination.parent.mkdir(parents=True, exist_ok=True)
        with destination.open("wb") as out:
            shutil.copyfileobj(content, out, 1 << 20)
        found = True
    return found


@contextmanager
def _opened(archive: Path) -> Iterator[Iterator[tuple[str, IO[bytes] | None]]]:
    """Open an archive as pairs of file name and content; None for what is no plain file."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            yield ((i.filename, wheel.open(i)) for i in wheel.infolist() if not i.is_dir())
    else:
        with tarfile.open(archive) as sdist:
            yield ((i.name, sdist.extractfile(i) if i.isfile() else None) for i in _entries(sdist))


def _entries(sdist: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    return (entry for entry in sdist if not entry.isdir())
