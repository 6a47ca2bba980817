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

    A data file of template `name` begins with `name_`; the config names it relative to itself. The
    commands in the config's first lines name the new file.

    Raises:
        ConfigError: there is no such template, the file is there already, or cannot be written.
    """
    known = names()
    if template not in known:
        raise ConfigError(unknown_name("template", template, known))
    target = path if path.suffix else path.with_suffix(".toml")
    data = [file for file in folder().glob(f"{template}_*") if file.suffix != ".toml"]
    copies = {folder() / f"{template}.toml": target}
    copies |= {file: target.parent / file.name for file in data}
    for copy in copies.values():
        if copy.exists():
            raise ConfigError(f"{copy}: is there already, and nothing is overwritten: name another")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for source, copy in copies.items():
            shutil.copyfile(source, copy)
        said = target.read_text(encoding="utf-8")
        for name in (f"configs/{template}.toml", f"{template}.toml"):
            said = said.replace(f" {name} ", f" {target} ").replace(f" {name}\n", f" {target}\n")
        target.write_text(said, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{target}: cannot be written: {error}") from error
    return target
