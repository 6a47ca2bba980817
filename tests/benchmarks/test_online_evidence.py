"""The arms of online eva on the smoke config: each plays, stops in time, and is compared fairly."""

import importlib
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from eva.types import Prompt

ROOT = Path(__file__).parents[2]
SMALL = ["online.steps=2", "rounds=2", "evaluation.heldout.counts=[1]"]


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("online_evidence")


@pytest.fixture
def table(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("online_table")


MET = "heldout/reward/seen_1"


def row(arm, seed, tokens, value, t=1):
    return {"arm": arm, "seed": seed, "round": t, "tokens": tokens, MET: value}


def test_arms_are_compared_at_the_tokens_that_all_have_reached(table):
    curves = [
        row("eva", 1, 0, 0.2, 0), row("eva", 1, 100, 0.4), row("eva", 1, 200, 0.8, 2),
        row("static", 1, 0, 0.2, 0), row("static", 1, 150, 0.5),
    ]  # fmt: skip
    found = table.at_equal_tokens(curves)
    assert found["tokens"] == 150
    # half way between 0.4 at 100 and 0.8 at 200
    assert found["measures"][MET] == {"eva": {1: 0.6000000000000001}, "static": {1: 0.5}}
    assert found["before"] == {MET: 0.2}


def test_a_difference_is_worth_what_other_seeds_would_show(table):
    eva = {1: 0.60, 2: 0.58, 3: 0.50, 5: 0.9}
    other = {3: 0.52, 2: 0.54, 1: 0.54, 4: 0.1}
    (found,) = table.differences({MET: {"eva": eva, "uniform": other}})["uniform"].values()
    assert {seed: round(d, 6) for seed, d in found["by_seed"].items()} == {
        1: 0.06, 2: 0.04, 3: -0.02,
    }  # fmt: skip
    # mean 0.08 / 3, deviation 0.041633, t of 2 degrees of freedom 4.302653
    assert found["estimate"] == pytest.approx(0.0266667, abs=1e-6)
    assert found["high"] == pytest.approx(0.0266667 + 4.302653 * 0.041633 / 3**0.5, abs=1e-5)
    assert found["verdict"] == "inside the interval"
    # ((1.959964 + 0.841621) * 0.041633 / 0.03)^2 = 15.1
    assert found["seeds_needed"] == 16


def test_one_seed_shows_nothing(table):
    (found,) = table.differences({MET: {"eva": {1: 0.9}, "static": {1: 0.1}}})["static"].values()
    assert (found["low"], found["seeds_needed"]) == (None, None)
    assert found["verdict"] == "inside the interval"


def test_what_a_prompt_was_kept_for_is_its_own_worth_or_its_parents(bench):
    prompts = {
        p.id: p
        for p in (
            Prompt.of("a", id="a"),
            Prompt.of("b", id="b"),
            Prompt.of("a harder", id="a1", parents=("a",), operator="harden"),
            Prompt.of("b harder", id="b1", parents=("b",), operator="harden"),
            Prompt.of("of neither", id="c1", parents=("gone",), operator="harden"),
        )
    }
    rows = [("a", 1, 0.5), ("b", 1, 0.1), ("a1", 2, 0.6), ("b1", 2, 0.3), ("c1", 2, 0.9)]
    rows += [("a", 2, 0.2), ("b", 2, 0.4)]
    scores = [{"prompt_id": i, "round": t, "max": w, "mean": 0.0} for i, t, w in rows]
    assert bench.carried(scores[:5], prompts, t=2) == pytest.approx(1.0)
    assert bench.carried(scores[:2] + scores[5:], prompts, t=2) == pytest.approx(-1.0)
    assert bench.carried(scores[:2], prompts, t=1) is None


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
    assert "| static | one constraint | 1 |" in table
    assert "| share of evolved prompts |" in table
    assert curves[2]["trained/evolved"] > 0 == curves[5]["trained/evolved"]
    drawn = ElementTree.fromstring((tmp_path / "curves.svg").read_text())
    assert {"eva", "static"} <= {text.text for text in drawn.iter() if text.tag.endswith("text")}

    # the tables can be made again of what was measured alone
    again = tmp_path / "again"
    bench.main(["--curves", str(tmp_path / "curves.jsonl"), "--out", str(again)])
    assert (again / "table.md").read_text() == table

    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    bench.main([*call, "--arms", "eva", "static", "--minutes", "0.0001"])
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")} == before


def test_it_stops_in_time_and_says_so(bench, tmp_path, capsys):
    config = str(ROOT / "configs" / "smoke-online.toml")
    bench.main(["--out", str(tmp_path), "--config", config, "--minutes", "0.0000001"])
    assert "call it again to go on" in capsys.readouterr().out
    assert not (tmp_path / "results.json").exists()
