"""What is written is read bit for bit; what was damaged is named."""

from __future__ import annotations

import json

import pytest
import torch

from eva.engines import checkpoint
from eva.errors import RunError

TENSORS = {
    "a": torch.tensor([1.0, -0.0, float("inf"), 1e-40]),
    "b": torch.arange(6, dtype=torch.bfloat16).reshape(2, 3).t(),
    "step": torch.tensor(3.0),
}


@pytest.fixture
def folder(tmp_path):
    checkpoint.write(tmp_path / "c", {"model.safetensors": TENSORS}, {"version": "x+1"})
    return tmp_path / "c"


def bits(tensor):
    return tensor.flatten().view(torch.uint8).tolist(), tensor.shape


def test_tensors_come_back_bit_for_bit(folder):
    back = checkpoint.read(folder, "model.safetensors")
    assert back.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        assert back[name].dtype == value.dtype
        assert bits(back[name]) == bits(value)
    assert checkpoint.read_record(folder)["version"] == "x+1"


def test_the_record_names_every_file_and_nothing_else_is_there(folder):
    assert sorted(p.name for p in folder.iterdir()) == ["eva.json", "model.safetensors"]
    marks = json.loads((folder / "eva.json").read_text())["files"]
    assert marks["model.safetensors"]["bytes"] == (folder / "model.safetensors").stat().st_size


def test_the_record_comes_last(tmp_path):
    def beside(folder):
        assert {p.name for p in folder.iterdir()} == {"model.safetensors"}
        (folder / "config.json").write_text("{}")

    checkpoint.write(tmp_path, {"model.safetensors": TENSORS}, {}, beside=beside)
    assert {p.name for p in tmp_path.iterdir()} == {"model.safetensors", "config.json", "eva.json"}


def test_a_used_folder_is_refused(folder):
    with pytest.raises(RunError, match="not empty"):
        checkpoint.write(folder, {}, {})


def damage(path, how):
    data = bytearray(path.read_bytes())
    if how == "truncated":
        data = data[:-5]
    elif how == "garbled header":
        data[9] ^= 0xFF
    elif how == "garbled data":
        data[-3] ^= 0x01
    elif how == "emptied":
        data = bytearray()
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["truncated", "garbled header", "garbled data", "emptied"])
def test_a_damaged_file_is_named(folder, how):
    path = folder / "model.safetensors"
    damage(path, how)
    with pytest.raises(RunError, match=r"model\.safetensors: damaged.*checkpoint before it"):
        checkpoint.read(folder, path.name)


def test_a_missing_file_is_named(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(RunError, match=r"model\.safetensors: cannot be read"):
        checkpoint.read(folder, "model.safetensors")
    with pytest.raises(RunError, match=r"optimiser\.safetensors: not part of this checkpoint"):
        checkpoint.read(folder, "optimiser.safetensors")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"files": 3}', "\udcff"])
def test_a_damaged_record_is_named(folder, text):
    (folder / "eva.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(RunError, match=r"eva\.json: unreadable"):
        checkpoint.read_record(folder)


def test_a_folder_without_record_was_never_finished(folder):
    (folder / "eva.json").unlink()
    with pytest.raises(RunError, match=r"eva\.json: missing, so this is no finished checkpoint"):
        checkpoint.read(folder, "model.safetensors")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"file/c: the checkpoint could not be written"):
        checkpoint.write(tmp_path / "file" / "c", {}, {})
