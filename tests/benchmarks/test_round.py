"""The benchmark plays a tiny round on both sides; that the work is equal counts, not the times."""

import importlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SIZES = {"prompts": 4, "tokens": 6, "n": 3, "epochs": 2, "batch_size": 3, "threads": 1}


@pytest.fixture
def bench(monkeypatch):
    """The benchmark as a module; its name is that of a builtin, and nobody else imports it."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("round")


@pytest.fixture
def played(bench):
    """Give a round of some seconds by call, its work and losses made up."""
    from round_game import Work

    def made(**seconds):
        work = Work(("a", "b"), 2, 20, 48, 24, 48, 2)
        named = {name.replace("__", "."): value for name, value in seconds.items()}
        return bench.Played(work, (0.6931, 0.5), named)

    return made


def test_stages_add_up_to_the_round(played):
    one = played(
        round=10.0,
        engine__sample=4.0,
        engine__forward_backward=3.0,
        engine__step=0.5,
        engine__load=0.25,
        reward__score=1.0,
        creator__mix=0.25,
    )
    assert one.stages() == {
        "answer": 4.0,
        "score, evolve, pair": 1.25,
        "reference": 0.0,
        "train": 3.5,
        "rest": 1.25,
        "round": 10.0,
    }


def test_ratios_are_of_pairs_and_overhead_is_what_no_model_call_explains(bench, played):
    calls = {"engine__sample": 7.0, "engine__load": 0.5, "reward__score": 0.5}
    pairs = (
        {"eva": played(round=10.0, os__fsync=1.0, **calls), "trl": played(round=20.0)},
        {"trl": played(round=10.0), "eva": played(round=8.0, **calls)},
        {"eva": played(round=16.0, **calls), "trl": played(round=16.0)},
    )
    result = bench.Bench(bench.Setup(), pairs)
    whole = result.stages["round"]
    assert (whole["eva"], whole["trl"]) == (10.0, 16.0)
    # of the medians it would be 0.625
    assert whole["ratio"] == {"median": 0.8, "min": 0.5, "max": 1.0}
    assert result.overhead["outside model calls"] == {"median": 0.2, "min": 0.0, "max": 0.5}
    assert result.overhead["of which fsync"] == {"median": 0.0, "min": 0.0, "max": 0.1}
    assert "eva / TRL" in result.text()


def test_sides_take_turns_after_a_tiny_round_each(bench, played, monkeypatch, capsys):
    asked = []

    def side(name):
        def play(setup, *, seed):
            asked.append((name, setup.tokens, seed))
            return played(round=1.0)

        return play

    monkeypatch.setattr(bench, "SIDES", {name: side(name) for name in ("eva", "trl")})
    setup = bench.Setup()
    assert len(bench.compare(setup, pairs=2).pairs) == 2
    warm, full = setup.tiny().tokens, setup.tokens
    assert [(name, tokens) for name, tokens, _ in asked] == [
        *[("trl", warm), ("eva", warm)],
        *[("eva", full), ("trl", full)],
        *[("trl", full), ("eva", full)],
    ]
    assert "pair 2 of 2" in capsys.readouterr().err


def test_unequal_work_is_refused(bench, played, monkeypatch):
    def shorter(setup, *, seed):
        one = played(round=1.0)
        return replace(one, work=replace(one.work, trained_tokens=47))

    sides = {"eva": lambda setup, *, seed: played(round=1.0), "trl": shorter}
    monkeypatch.setattr(bench, "SIDES", sides)
    with pytest.raises(RuntimeError, match="trained_tokens=47"):
        bench.compare(bench.Setup(), pairs=1)


def test_both_sides_do_the_same_work(tmp_path):
    out = tmp_path / "round.json"
    sizes = [f"--{name.replace('_', '-')}={value}" for name, value in SIZES.items()]
    command = [sys.executable, ROOT / "benchmarks" / "round.py", *sizes, "--pairs=1", "--json", out]
    source = ROOT / "configs" / "smoke_prompts.jsonl"
    done = subprocess.run(
        [*command, "--model=random:tiny", f"--source={source}"],
        env=os.environ | {"EVA_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    assert result["setup"] | SIZES == result["setup"]
    # the creator's step and the solver's answer 4 prompts 3 times each, with 6 tokens a time
    work = dict(result["work"])
    assert work.pop("prompt_tokens") > 0
    assert work == {
        "prompts": 4,
        "pairs": 4,
        "generated_tokens": 2 * 4 * 3 * 6,
        "reference_tokens": 4 * 2 * 6,
        "trained_tokens": 2 * 4 * 2 * 6,
        "updates": 2 * 2,
    }
    assert list(result["stages"]) == [
        *("answer", "score, evolve, pair", "reference", "train", "rest", "round")
    ]
    (pair,) = result["pairs"]
    for side in ("eva", "trl"):
        # DPO against the policy itself begins with log 2
        assert pair[side]["losses"][0] == pytest.approx(0.6931, abs=1e-4)
        assert len(pair[side]["losses"]) == 4
        assert pair[side]["losses"][-1] != pair[side]["losses"][0]
    assert "eva / TRL" in done.stdout
    assert "trl" in result["versions"]
