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


def keys(model, path=(), seen=None):
    """Yield the path of every key of the config, and its field; of a shared section, once."""
    seen = set() if seen is None else seen
    if (model, path) in seen:
        return
    seen.add((model, path))
    for name, field in model.model_fields.items():
        yield ".".join((*path, name)), field
        models = list(make_pages._models(field.annotation))
        if not make_pages.is_nested((*path, name), models):
            for below in models:
                yield from keys(below, (*path, name), seen)


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
    assert cells["warmup"] == ["number, ≥ 0, < 1", "`0.1`"]
    assert cells["credit"] == ['`"share"`, `"all"`', '`"share"`']
    assert cells["counts"] == ["list of integer, > 0", "`[1, 2, 3]`"]
    assert cells["function"] == ["text", "**required**"]
    assert cells["lora"] == ["table", "not set"]
    assert make_pages._default(Outer.model_fields["inner"]) == "`x`"


def test_defaults_of_the_online_schedule_are_told():
    page = make_pages.pages()["configuration.md"]
    assert '  - `creator.sampler = "greedy"`' in page
    assert "  - `answers.n = 4`" in page


OFFLINE = {"solver/margin", "solver/pairs", "creator/info_mean", "heldout/reward/unseen"}
GRADIENT = {"solver/kl", "solver/sampler_kl", "solver/clipped", "solver/advantage_abs", "steps"}
ONLINE = {"creator/buffer", "creator/phases/warm-up", "solver/skipped", "solver/updates"}
RUNS = {
    "smoke": ((), OFFLINE),
    "smoke-online": ((), GRADIENT | ONLINE),
    "smoke-online-grpo": (
        (
            "solver.objective={name='grpo', kl=0.01, correction='token'}",
            *("online.refills=1", "solver.epochs=2"),
        ),
        GRADIENT | ONLINE | {"solver/weight"},
    ),
    "smoke-online-oaif": (
        ("solver.objective=oaif", "solver.pairs={truncated_chosen=true}"),
        ONLINE | {"solver/margin", "solver/reward_margin"},
    ),
}
"""By name: overrides of the config of that name, or of `smoke-online`; metrics that are logged."""


@pytest.mark.parametrize("name", RUNS)
def test_every_logged_metric_is_in_a_table(name, tmp_path, monkeypatch):
    monkeypatch.setenv("EVA_CACHE", str(tmp_path / "cache"))
    overrides, expected = RUNS[name]
    path = ROOT / f"configs/{'smoke-online' if 'online' in name else name}.toml"
    play.run(load_config(path, list(overrides)), tmp_path / "run")
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
    assert expected | {"solver/loss", "solver/reward_mean"} <= logged
