"""The pages that are made from code are those of the code."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from eva.app import play
from eva.app.config import Config
from eva.app.load import load_config
from eva.runs import metrics

ROOT = Path(__file__).parents[2]


def load():
    spec = importlib.util.spec_from_file_location("make_pages", ROOT / "docs/make_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_pages = load()


@pytest.mark.parametrize("name", make_pages.pages())
def test_pages_are_up_to_date(name):
    assert (ROOT / "docs" / name).read_text("utf-8") == make_pages.pages()[name], (
        "run `python docs/make_pages.py`"
    )


def keys(model, path=()):
    """Yield the path of every key of the config, and its field."""
    for name, field in model.model_fields.items():
        yield ".".join((*path, name)), field
        if (*path, name) != ("reward", "parts"):
            for below in make_pages._models(field.annotation):
                yield from keys(below, (*path, name))


def test_every_key_has_a_row_that_says_what_it_means():
    page = make_pages.pages()["configuration.md"]
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \| (.*) \|$", page, re.MULTILINE)
    tags = {path for path, field in keys(Config) if make_pages._is_tag(path.split(".")[-1], field)}
    wanted = [path.split(".")[-1] for path, _ in keys(Config) if path not in tags]
    assert sorted(name for name, *_ in rows) == sorted(wanted)
    assert [name for name, *_, meaning in rows if len(meaning) < 8] == []
    for tag in ("dpo", "simpo", "evol_instruct", "classifier", "stratified", "length_band"):
        assert f"`{tag}`" in page


def test_no_meaning_is_left_over():
    fields = dict(keys(Config))
    assert set(make_pages.MEANINGS) <= set(fields)
    silent = {path for path, field in keys(Config) if not field.description}
    assert set(make_pages.MEANINGS) <= silent, "its field says by now what it means"


def test_types_defaults_and_limits():
    class Inner(BaseModel):
        name: str = "x"

    class Outer(BaseModel):
        inner: Inner = Inner()

    cells = {
        row.split(" | ")[0].strip("| `"): row.split(" | ")[1:3]
        for row in make_pages.pages()["configuration.md"].splitlines()
        if row.startswith("| `")
    }
    assert cells["top_p"] == ["number, > 0, ≤ 1", "`1.0`"]
    assert cells["credit"] == ['`"share"`, `"all"`', '`"share"`']
    assert cells["counts"] == ["list of integer, > 0", "`[1, 2, 3]`"]
    assert cells["function"] == ["text", "**required**"]
    assert cells["lora"] == ["table", "not set"]
    assert make_pages._default(Outer.model_fields["inner"]) == "`x`"


def test_every_logged_metric_is_in_a_table(tmp_path, monkeypatch):
    monkeypatch.setenv("EVA_CACHE", str(tmp_path / "cache"))
    play.run(load_config(ROOT / "configs/smoke.toml"), tmp_path / "run")
    lines = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    logged = {name for line in lines for name in json.loads(line)} - {"stage", "step", "time"}
    page = (ROOT / "docs/evaluation.md").read_text("utf-8")
    table = page[page.index("## Metrics") :]
    evaluated = []
    for cell, starred in re.findall(r"^\| (.*?`)( \*)? \|", table, re.MULTILINE):
        for name in re.findall(r"`(.+?)`", cell):
            pattern = re.sub(r"<\w+>", r"\\w+", name)
            evaluated.append(pattern + (r"(/\w+)?" if starred else ""))
    unknown = {
        name
        for name in logged
        if metrics.describe(name) is None and not any(re.fullmatch(p, name) for p in evaluated)
    }
    assert unknown == set()
    assert {"solver/loss", "creator/info_mean", "heldout/reward/unseen"} <= logged
