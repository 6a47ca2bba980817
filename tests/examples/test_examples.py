"""Every numbered example runs, from another folder, and prints what it is there to show."""

import ast
import re
import runpy
import sys
from pathlib import Path

import pytest
import torch

from eva.creator.sampling import SAMPLERS

FOLDER = Path(__file__).parents[2] / "examples"
NUMBERED = sorted(path.name for path in FOLDER.glob("[0-9]*.py"))


@pytest.fixture
def play(monkeypatch, tmp_path, capsys):
    """Run an example with arguments in an empty folder and return what it printed."""
    threads = torch.get_num_threads()

    def run(name, *arguments, own_cache=True):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        if own_cache:
            monkeypatch.setenv("EVA_CACHE", str(tmp_path / "cache"))
        torch.set_num_threads(1)
        runpy.run_path(str(FOLDER / name), run_name="__main__")
        return capsys.readouterr().out

    yield run
    torch.set_num_threads(threads)


def rows(text, title=""):
    """Return the numbers of a printed table by the label of the row, from a title on."""
    found = {}
    for line in text[text.index(title) :].splitlines():
        label, numbers = re.fullmatch(r"(.*?)((?:\s+[-+]?[\d.]+%?)*)", line).groups()
        if numbers:
            found.setdefault(label.strip(), [float(n.rstrip("%")) for n in numbers.split()])
    return found


def test_numbers_and_commands():
    assert [name[:2] for name in NUMBERED] == [f"{i:02d}" for i in range(1, len(NUMBERED) + 1)]
    for name in [*NUMBERED, "minimal.py"]:
        doc = ast.get_docstring(ast.parse((FOLDER / name).read_text()))
        assert f"python examples/{name}" in doc


def test_informativeness(play):
    text = play("01_informativeness.py")
    drawn = rows(text, "Share of 2000 draws")
    assert drawn["one scored"] == [0.0] * len(SAMPLERS)
    assert drawn["one lucky answer"][0] > drawn["half and half"][0] > drawn["two unscored"][0] > 0
    assert drawn["one lucky answer"][1] == 1.0
    by_count = re.findall(r"^ +(\d+) +([\d.]+) +([\d.]+)$", text, re.MULTILINE)
    assert [n for n, _, _ in by_count] == ["2", "4", "6", "16"]
    assert float(by_count[-1][1]) > 3 * float(by_count[0][1])
    assert all(abs(float(divided) - 1) < 0.03 for _, _, divided in by_count)


def test_a_game_without_models(play):
    text = play("02_a_game_without_models.py")
    exam, contrast = rows(text, "exam:"), rows(text, "contrast:")
    assert set(exam) >= {"eva", "no evolving", "uniform evolving", "static prompts"}
    final = {arm: values[-1] for arm, values in exam.items() if arm != "round"}
    assert max(final, key=final.get) == "eva"
    # what the closing words say of the arms
    assert exam["static prompts"][2] > exam["eva"][2]
    assert contrast["static prompts"][-1] < 0.1 < contrast["eva"][-1]
    assert contrast["uniform evolving"][-1] < 0.1


def test_your_own_metric(play):
    table = rows(play("03_your_own_metric.py"))
    assert len(table["halves"]) == 3
    assert table["a_min"][0] > table["a_dts"][0] > table["avg"][0] > 25
    assert table["shrunk"][2] < table["a_min over d2"][2]


def test_your_own_operator_and_gate(play):
    text = play("04_your_own_operator_and_gate.py")
    assert "refused by personal_data: holds 'jo@example.org.'" in text
    assert "refused by evolver: unchanged" in text
    assert len(re.findall(r"^   [+-]", text, re.MULTILINE)) == 8
    assert re.search(r"^   \+ audience ", text, re.MULTILINE)


def test_your_own_reward(play, tmp_path):
    text = play("05_your_own_reward.py", str(tmp_path / "game"))
    rewards = re.findall(r"^ +\d +\d+ +([\d.]+)", text, re.MULTILINE)
    assert len(rewards) == 3
    assert float(rewards[-1]) > float(rewards[0])
    assert (tmp_path / "game/run/run.json").exists()


def test_pairs_for_trl_and_back(play, tmp_path):
    text = play("06_pairs_for_trl_and_back.py", str(tmp_path / "game"))
    assert {"prompt", "chosen", "rejected"} <= set(re.findall(r"\w+", text.splitlines()[0]))
    assert "chosen    assistant: " in text
    assert "'pairs': 3" in text
    assert (tmp_path / "game/model/model.safetensors").exists()


@pytest.mark.model
def test_smollm2(play, tmp_path):
    sizes = ("--prompts=4", "--rounds=2", "--tokens=32", "--held-out=2")
    text = play("07_smollm2.py", f"--out={tmp_path / 'run'}", *sizes, own_cache=False)
    assert "round 1: 4 human and 0 evolved prompts" in text
    assert "round 2: 1 human and 3 evolved prompts" in text
    assert text.count("before  reward") == text.count("after   reward") == 3
    assert "heldout/reward/unseen" in text


def test_minimal(play):
    text = play("minimal.py")
    rewards = [float(x) for x in re.findall(r"on X_1:? ([-+][\d.]+)", text)]
    assert len(rewards) == 5
    assert rewards[-1] > rewards[0] + 0.02
    assert re.findall(r"^ +\d +\d+ +(0\.\d+) ", text, re.MULTILINE) == ["0.6931"] * 4
