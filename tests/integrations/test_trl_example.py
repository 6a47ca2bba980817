"""The example runs in one go, and shows what it is there to show."""

import re
import runpy
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("trl")

EXAMPLE = Path(__file__).parents[2] / "examples/trl_guest.py"
PAGE = Path(__file__).parents[2] / "docs/trl.md"


# TRL asks transformers for a name that it has renamed
@pytest.mark.filterwarnings("ignore:.gradient_checkpointing. is depr:FutureWarning")
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is depr:FutureWarning")
def test_the_example_runs(monkeypatch, tmp_path, capsys):
    threads = torch.get_num_threads()
    monkeypatch.setattr(sys, "argv", [EXAMPLE.name, str(tmp_path)])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    torch.set_num_threads(threads)
    text = capsys.readouterr().out
    assert text.count("  + ") == 3
    phases = re.findall(r"^ +\d+   (warm-up|mix-up|bootstrap) ", text, re.MULTILINE)
    assert list(dict.fromkeys(phases)) == ["warm-up", "mix-up", "bootstrap"]
    assert re.search(r"^  human    .*\n  (add|harden|swap|move|combine) ", text, re.MULTILINE)


def test_three_lines_are_what_it_takes():
    marked = [line for line in EXAMPLE.read_text().splitlines() if line.endswith("# + eva")]
    assert len(marked) == 3
    (diff,) = re.findall(r"^```diff\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len([line for line in diff.splitlines() if line.startswith("+")]) == 3
