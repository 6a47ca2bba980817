"""What the benchmark counts; it needs a model to be played."""

import importlib.util
from pathlib import Path

import pytest

from eva.types import Prompt, Proposal

FILE = Path(__file__).parents[2] / "benchmarks" / "operators.py"
PARENT = Prompt.of("Name three uses of salt.")


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("benchmark_of_operators", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def proposal(text):
    if not text:
        return Proposal(PARENT, "deepen", None, "empty", "", 2)
    child = PARENT.rewritten(text, operator="deepen", born=1)
    return Proposal(PARENT, "deepen", child, text=text, generated_tokens=5)


def test_a_line_by_hand(bench):
    texts = ["Name three uses of salt, and say who found them.", "", "Name three uses of salt!!"]
    proposals = [proposal(text) for text in [*texts, texts[0]]]
    verdicts = bench.judged(proposals, [PARENT])
    assert [verdict and verdict[0] for verdict in verdicts] == [
        None,
        "evolver",
        "duplicate",
        "duplicate",
    ]
    line = bench.Line("deepen", proposals, verdicts, [0.5])
    assert line.cells() == (
        *("`deepen`", 4, 1, "2 duplicate, 1 evolver"),
        *("1 of 1", "0.50", "2.00", 17),
    )
    assert len(line.cells()) == len(bench.HEAD) + 1
