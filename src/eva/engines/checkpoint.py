"""Folders of safetensors with a record, `eva.json`, that says what they hold and how to tell.

The record is written last and holds size and checksum of every file: a folder without it was never
finished, and a file that differs from it is damaged. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from eva.errors import RunError
from eva.types import Json

RECORD = "eva.json"
_BLOCK = 1 << 24


def write(
    folder: Path,
    files: Mapping[str, Mapping[str, Tensor]],
    record: Mapping[str, Json],
    *,
    beside: Callable[[Path], None] | None = None,
) -> None:
    """Write tensor files, what `beside` writes, and last the record, to a new or empty folder.

    Raises:
        RunError: the folder has something in it, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise RunError(f"{folder}: not empty; a checkpoint needs a folder of its own")
        for name, tensors in files.items():
            whole = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
            save_file(whole, folder / name, metadata={"format": "pt"})
        if beside is not None:
            beside(folder)
        marks = {name: _mark(folder / name) for name in files}
        text = json.dumps({**record, "files": marks}, indent=1, sort_keys=True)
        (folder / RECORD).write_text(text + "\n", encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"{folder}: the checkpoint could not be written ({error}); free disk space or choose "
            "another folder, then resume from the checkpoint before it"
        ) from error


def read_record(folder: Path) -> dict[str, Any]:
    """Return the record of a checkpoint.

    Raises:
        RunError: it is missing or unreadable.
    """
    path = folder / RECORD
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record.get("files"), dict):
            raise ValueError("it lists no files")
    except FileNotFoundError as error:
        raise RunError(
            f"{path}: missing, so this is no finished checkpoint; use the one before it"
        ) from error
    except (OSError, ValueError, AttributeError) as error:
        raise RunError(f"{path}: unreadable ({error}); use the checkpoint before it") from error
    return record


def read(folder: Path, name: str) -> dict[str, Tensor]:
    """Return the tensors of one file of a checkpoint, on the CPU.

    Raises:
        RunError: the file is missing, or not the one that was written.
    """
    marks, path = read_record(folder)["files"], folder / name
    if name not in marks:
        raise RunError(f"{path}: not part of this checkpoint, which has {', '.join(sorted(marks))}")
    try:
        if _mark(path) != marks[name]:
            raise RunError(
                f"{path}: damaged, its size or checksum is not the one in {RECORD}; restore it "
                "from a copy or use the checkpoint before it"
            )
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"{path}: cannot be read ({error}); restore it from a copy or use the checkpoint "
            "before it"
        ) from error


def _mark(path: Path) -> dict[str, int]:
    """Return a file's size in bytes and checksum."""
    size = checksum = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            checksum, size = zlib.crc32(block, checksum), size + len(block)
    return {"bytes": size, "crc32": checksum}
