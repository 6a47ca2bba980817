"""Configs to start from: the files of `configs/`, in a checkout and in an installed wheel."""

from __future__ import annotations

import shutil
from pathlib import Path

import eva
from eva.errors import ConfigError, unknown_name


def folder() -> Path:
    """Return where the configs lie: beside the package's modules, or in the checkout."""
    package = Path(eva.__file__).parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parents[1] / "configs"


def names() -> dict[str, str]:
    """Return the templates, and what the first line of each says of it."""
    found = {}
    for path in sorted(folder().glob("*.toml")):
        first, _, _ = path.read_text(encoding="utf-8").partition("\n")
        found[path.stem] = first.lstrip("# ").rstrip(".")
    return found


def write(path: Path, template: str) -> Path:
    """Write a template, and the data files that belong to it, and return where.

    A data file is one that the template names, relative to itself; one that is there already, the
    same, stays. The commands in the config's first lines name the new file.

    Raises:
        ConfigError: there is no such template, a file is there already, or cannot be written.
    """
    known = names()
    if template not in known:
        raise ConfigError(unknown_name("template", template, known))
    target = path if path.suffix else path.with_suffix(".toml")
    said = (folder() / f"{template}.toml").read_text(encoding="utf-8")
    files = [file for file in folder().glob("*_*") if file.suffix != ".toml" and file.is_file()]
    data = {file: target.parent / file.name for file in files if f'"{file.name}' in said}
    copies = {folder() / f"{template}.toml": target}
    copies |= {file: copy for file, copy in data.items() if not _same(file, copy)}
    for copy in copies.values():
        if copy.exists():
            raise ConfigError(f"{copy}: is there already, and nothing is overwritten: name another")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for source, copy in copies.items():
            shutil.copyfile(source, copy)
        for name in (f"configs/{template}.toml", f"{template}.toml"):
            said = said.replace(f" {name} ", f" {target} ").replace(f" {name}\n", f" {target}\n")
        target.write_text(said, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{target}: cannot be written: {error}") from error
    return target


def _same(file: Path, copy: Path) -> bool:
    return copy.is_file() and copy.read_bytes() == file.read_bytes()
