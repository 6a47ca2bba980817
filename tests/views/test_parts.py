import io
import re
import tomllib
from typing import get_args

import pytest
from rich.console import Console

from eva.app.config import Config, Solver
from eva.app.config_online import Online, PolicyGradient
from eva.app.config_parts import Gate, RuleEvolver, Sampler
from eva.creator.informativeness import ALIASES, informativeness
from eva.errors import ConfigError
from eva.views import parts


def names(kind):
    return [part.name for part in parts.KINDS[kind][1]()]


def literal(section, key="name"):
    return set(get_args(section.model_fields[key].annotation))


@pytest.mark.parametrize("kind", parts.KINDS)
def test_every_part_has_a_name_and_says_what_it_is(kind):
    listed = parts.KINDS[kind][1]()
    assert listed
    assert len({part.name for part in listed}) == len(listed)
    for part in listed:
        assert part.name == part.name.strip()
        assert len(part.about) > 8
        assert "\n" not in part.about


def test_what_is_listed_is_what_a_config_takes():
    assert set(names("samplers")) == literal(Sampler)
    assert set(names("gates")) == literal(Gate)
    assert set(names("optimisers")) == literal(Solver, "optimiser")
    assert set(names("schedules")) == literal(Solver, "schedule")
    rules = [p.name for p in parts.operators() if p.settings == "rules"]
    assert tuple(rules) == RuleEvolver.model_fields["operators"].default
    for name in names("metrics"):
        informativeness(name)


def test_shapes_of_arrays_are_not_told():
    assert [p.about for p in parts.draws()][1] == (
        "Draw k distinct indices with equal chances, whatever the weights."
    )


def test_online_parts_are_those_of_a_config():
    assert set(names("games")) == literal(Config, "schedule")
    assert set(names("draws")) == literal(Online, "draw")
    online = [part.name for part in parts.objectives() if part.aliases == "online"]
    assert online == [*get_args(PolicyGradient.model_fields["name"].annotation), "oaif"]


@pytest.mark.parametrize("objective", [part.name for part in parts.objectives()])
def test_every_objective_listed_can_be_configured(objective):
    online = {part.name: part.aliases for part in parts.objectives()}[objective] == "online"
    Config.model_validate(
        {
            "schedule": "online" if online else "offline",
            "policy": {"model": "m"}, "prompts": {"source": "s"},
            "reward": {"name": "classifier", "model": "m"},
            "solver": {"objective": {"name": objective}},
        }
    )  # fmt: skip


def test_aliases_and_settings_are_there():
    metrics = {part.name: part for part in parts.metrics()}
    assert metrics["a_min"].aliases == "also reward_gap"
    assert sum(part.aliases.count("reward") for part in metrics.values()) == len(ALIASES)
    samplers = {part.name: part.settings for part in parts.samplers()}
    assert samplers == {
        "weighted": "", "greedy": "", "uniform": "", "stratified": "bins = 10",
        "rank": "beta = 1.0", "topic_blended": "c = 0.25",
    }  # fmt: skip
    assert {p.name: p.settings for p in parts.objectives()}["simpo"] == "beta = 10.0, gamma = 5.0"
    evolvers = {part.name: part.about for part in parts.evolvers()}
    assert evolvers["evol_quality"].endswith("useful, relevant, deepen, creative, detail.")
    assert len(set(evolvers.values())) == len(evolvers)
    rewards = {part.name: part.settings for part in parts.rewards()}
    assert rewards["python"] == "function = ..., seconds = 10.0"


def printed(kind=""):
    console = Console(file=io.StringIO(), width=160, highlight=False)
    parts.show(kind, console=console)
    return console.file.getvalue()


def test_one_kind_or_all_are_printed():
    assert "a_dts" in printed("metrics")
    assert "stratified" not in printed("metrics")
    everything = printed()
    assert all(f"\n{kind}  " in f"\n{everything}" for kind in parts.KINDS)
    assert "A hub id, a local folder" in printed("models")


def test_braces_and_brackets_are_shown_as_they_are():
    assert "such as [name]" in printed("constraints")


def test_a_kind_that_is_not_there_gets_the_nearest_one():
    with pytest.raises(ConfigError, match="did you mean 'samplers'"):
        printed("sampler")


@pytest.mark.parametrize("kind", ["samplers", "evolvers", "gates", "rewards", "objectives"])
def test_settings_are_as_a_config_says_them(kind):
    for part in parts.KINDS[kind][1]():
        given = re.sub(r"\w+ (not set|= \.\.\.)(, |$)", "", part.settings).rstrip(", ")
        tomllib.loads(f"part = {{ {given} }}")
