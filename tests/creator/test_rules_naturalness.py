from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "naturalness.py"


@pytest.fixture(scope="module")
def naturalness():
    spec = importlib.util.spec_from_file_location("naturalness", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("naturalness", None)


def test_the_committed_file_is_what_the_command_makes(naturalness):
    rows = [json.loads(line) for line in naturalness.EXAMPLES.read_text("utf-8").splitlines()]
    assert rows == [naturalness.row(p) for p in naturalness.evolved_prompts()]


def test_no_frame_makes_up_more_than_a_twentieth_of_the_committed_file(naturalness):
    rows = [json.loads(line) for line in naturalness.EXAMPLES.read_text("utf-8").splitlines()]
    found = [naturalness.frames(row["prompt"], row["topic"]) for row in rows]
    assert naturalness.most_common(found)[1] <= 0.05
    assert naturalness.most_common([naturalness.beginnings(f) for f in found])[1] <= 0.05


def test_no_frame_is_common_whatever_the_seed(naturalness):
    prompts = [p for seed in range(12) for p in naturalness.evolved_prompts(seed=seed)]
    found = [naturalness.frames(p.text, p.topic) for p in prompts]
    assert naturalness.most_common(found)[1] <= 0.03
    assert naturalness.most_common([naturalness.beginnings(f) for f in found])[1] <= 0.05


def test_frames_mask_topic_numbers_and_quotations(naturalness):
    text = 'Explain tides in 30 words. Use the word "moon" at least three times. Use 2.'
    assert naturalness.frames(text, "Explain tides.") == {
        "X in N words",
        "use the word Q at least N times",
        "use N",
    }


def test_a_rigid_frame_is_found(naturalness):
    topics = ["Explain tides.", "Name a fruit.", "Draw a cat."]
    texts = [f"{t} Make sure to use at least {i} words." for i, t in enumerate(topics, 20)]
    found = [naturalness.frames(text, t) for text, t in zip(texts, topics, strict=True)]
    assert naturalness.most_common(found) == ("make sure to use at least N words", 1.0)
    assert not any(re.search("tides|fruit|cat", f) for s in found for f in s)
