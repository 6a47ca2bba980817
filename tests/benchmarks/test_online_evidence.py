"""The arms of online eva on the smoke config: each plays, stops in time, and is compared fairly."""

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = ["online.steps=2", "rounds=2", "evaluation.heldout.counts=[1]"]


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("online_evidence")


def row(arm, seed, tokens, value, t=1):
    return {"arm": arm, "seed": seed, "round": t, "tokens": tokens, "heldout/reward/seen_1": value}


def test_arms_are_compared_at_the_tokens_that_all_have_reached(bench):
    curves = [
        row("eva", 1, 0, 0.2, 0), row("eva", 1, 100, 0.4), row("eva", 1, 200, 0.8, 2),
        row("static", 1, 0, 0.2, 0), row("static", 1, 150, 0.5),
    ]  # fmt: skip
    found = bench.at_equal_tokens(curves)
    assert found["tokens"] == 150
    # half way between 0.4 at 100 and 0.8 at 200
    assert found["measures"]["heldout/reward/seen_1"] == {
        "eva": [0.6000000000000001],
        "static": [0.5],
    }
    assert found["before"] == {"heldout/reward/seen_1": 0.2}


def test_two_arms_play_and_a_second_call_plays_nothing(bench, tmp_path, capsys):
    config = str(ROOT / "configs" / "smoke-online.toml")
    call = ["--out", str(tmp_path), "--config", config, "--seeds", "1", "--set", *SMALL]
    bench.main([*call, "--arms", "eva", "static"])
    curves = [json.loads(line) for line in (tmp_path / "curves.jsonl").read_text().splitlines()]
    assert [(r["arm"], r["round"]) for r in curves] == [
        *(("eva", t) for t in range(3)),
        *(("static", t) for t in range(3)),
    ]
    assert curves[0]["tokens"] == 0 < curves[1]["tokens"] < curves[2]["tokens"]
    # nothing evolves where nothing should
    assert not curves[5]["operators"]
    assert curves[2]["operators"]
    table = (tmp_path / "table.md").read_text()
    assert "| one constraint |" in table
    assert "| static | one constraint | 4 |" in table

    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    bench.main([*call, "--arms", "eva", "static", "--minutes", "0.0001"])
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")} == before


def test_it_stops_in_time_and_says_so(bench, tmp_path, capsys):
    config = str(ROOT / "configs" / "smoke-online.toml")
    bench.main(["--out", str(tmp_path), "--config", config, "--minutes", "0.0000001"])
    assert "call it again to go on" in capsys.readouterr().out
    assert not (tmp_path / "results.json").exists()
