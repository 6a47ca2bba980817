from __future__ import annotations

import hashlib
import importlib.util
import io
import subprocess
import sys
import tarfile
import zipfile

import pytest

from eva.data import download as module
from eva.data.download import Archive, download
from eva.errors import DataError

METADATA = "Metadata-Version: 2.1\nName: evatoy\nVersion: 1.0\n"
BACKEND = f"""
import os
def prepare_metadata_for_build_wheel(folder, settings=None):
    os.mkdir(os.path.join(folder, "evatoy-1.0.dist-info"))
    with open(os.path.join(folder, "evatoy-1.0.dist-info", "METADATA"), "w") as file:
        file.write({METADATA!r})
    return "evatoy-1.0.dist-info"
def build_wheel(*arguments, **named):
    raise RuntimeError
"""


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder that pip takes for its only index."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def arriving(tmp_path):
    folder = tmp_path / "arriving"
    folder.mkdir()
    return folder


@pytest.fixture
def wheel(index):
    path = index / "evatoy-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("evatoy/data.json", "[1, 2]")
        archive.writestr("evatoy-1.0.dist-info/METADATA", METADATA)
        archive.writestr("evatoy-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("evatoy-1.0.dist-info/RECORD", "")
    return path


def write_sdist(path, backend=BACKEND):
    project = '[build-system]\nrequires = []\nbuild-backend = "b"\nbackend-path = ["."]\n'
    files = {"pyproject.toml": project, "b.py": backend, "PKG-INFO": METADATA}
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"evatoy-1.0/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content.encode()))


@pytest.fixture
def sdist(index):
    path = index / "evatoy-1.0.tar.gz"
    write_sdist(path)
    return path


def pinned(path, **fields):
    content = path.read_bytes()
    known = {"sdist": path.suffix == ".gz", "sha256": hashlib.sha256(content).hexdigest()}
    fields = known | {"bytes": len(content), "licence": "none"} | fields
    return Archive("evatoy==1.0", **fields)


def test_no_password_of_an_index_is_repeated(arriving, monkeypatch):
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    # pip hides the password of an address that it can read, and this one lacks its scheme
    monkeypatch.setenv("PIP_INDEX_URL", "me:hunter2@127.0.0.1/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    missing = Archive("evatoy==1.0", sdist=False, sha256="0" * 64, bytes=1, licence="")
    with pytest.raises(DataError) as caught:
        download(missing, arriving, advance=lambda done: None)
    assert "hunter2" not in str(caught.value)
    assert "[user]@127.0.0.1/simple" in str(caught.value)


def test_the_wheel_is_fetched_although_there_is_an_sdist(wheel, sdist, arriving):
    seen: list[int] = []
    path = download(pinned(wheel), arriving, advance=seen.append)
    assert path.parent == arriving
    assert path.read_bytes() == wheel.read_bytes()
    assert seen == sorted(seen)
    assert seen[-1] == wheel.stat().st_size


def test_the_sdist_is_fetched_although_there_is_a_wheel(wheel, sdist, arriving):
    path = download(pinned(sdist), arriving, advance=lambda done: None)
    assert path.read_bytes() == sdist.read_bytes()


def test_another_digest_is_refused_before_the_sdist_can_run(sdist, arriving, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    trap, good = tmp_path / "ran", pinned(sdist)
    write_sdist(sdist, f"open({str(trap)!r}, 'w').close()\n{BACKEND}")
    with pytest.raises(DataError, match=r"cannot fetch evatoy==1\.0: pip ended with code 1"):
        download(good, arriving, advance=lambda done: None)
    assert list(arriving.glob("*.gz")) == []
    assert not trap.exists()
    download(pinned(sdist), arriving, advance=lambda done: None)
    assert trap.exists()  # so the trap works, and it was the digest that kept it shut


def test_a_file_with_another_digest_is_removed(wheel, arriving):
    """Pip checks it as well; this is what holds when a pip does not."""
    (arriving / wheel.name).write_bytes(wheel.read_bytes())
    with pytest.raises(DataError, match=f"has sha256 {pinned(wheel).sha256}, expected 00; it was"):
        module._checked(pinned(wheel, sha256="00"), arriving)
    assert list(arriving.iterdir()) == []


def test_a_package_that_is_nowhere_shows_pips_last_lines(index, arriving, monkeypatch, caplog):
    monkeypatch.setattr(module, "ATTEMPTS", 2)
    missing = Archive("evatoy==1.0", sdist=False, sha256="0" * 64, bytes=1, licence="")
    with pytest.raises(DataError, match=r"(?s)Pip's last lines:.*No matching distribution found"):
        download(missing, arriving, advance=lambda done: None)
    assert [record.message.partition(":")[0] for record in caplog.records] == ["trying once more"]


def test_without_pip_the_error_says_so(arriving, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    archive = Archive("evatoy==1.0", sdist=False, sha256="", bytes=1, licence="")
    with pytest.raises(DataError, match="has no pip"):
        download(archive, arriving, advance=lambda done: None)


def test_a_download_that_stalls_is_ended(arriving, monkeypatch):
    monkeypatch.setattr(module, "STALL_S", 0.0)
    sleeper = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
    assert module._watch(sleeper, arriving, lambda done: None) is None
    assert sleeper.returncode is not None


def test_an_interrupted_wait_ends_pip(arriving):
    def interrupt(done):
        raise KeyboardInterrupt

    sleeper = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
    with pytest.raises(KeyboardInterrupt):
        module._watch(sleeper, arriving, interrupt)
    assert sleeper.returncode is not None
