import re
import tomllib
from pathlib import Path

import pytest

import eva
from eva.app import templates
from eva.app.load import parse_config
from eva.errors import ConfigError

ROOT = Path(eva.__file__).parents[2]
NAMES = sorted(path.stem for path in (ROOT / "configs").glob("*.toml"))


def test_the_templates_say_what_they_are():
    assert {"quickstart", "smoke", "paper", "own_data", "online", "smoke-online"} <= set(
        templates.names()
    )
    assert all(len(about) > 20 for about in templates.names().values())


@pytest.mark.parametrize("name", NAMES)
def test_every_template_parses_and_is_commented(name):
    text = (templates.folder() / f"{name}.toml").read_text()
    assert text.startswith("# ")
    parse_config(tomllib.loads(text), where=name)


def test_the_paper_template_is_the_published_game():
    data = tomllib.loads((templates.folder() / "paper.toml").read_text())
    game = parse_config(data)
    assert (game.seed, game.prompts.per_round, game.answers.n) == (42, 10_000, 6)
    assert (game.solver.objective.beta, game.solver.epochs, game.solver.batch_size) == (0.05, 2, 8)
    assert (game.creator.fraction, game.creator.children) == (0.25, 4)


def test_the_online_template_goes_through_all_phases():
    data = tomllib.loads((templates.folder() / "online.toml").read_text())
    game = parse_config(data)
    assert (game.schedule, game.solver.objective.name) == ("online", "rloo")
    seeds = game.online.batch * game.online.evolved
    until_full = game.online.buffer / (seeds * game.creator.children)
    human = until_full * game.online.batch
    mixing = (game.prompts.per_round - human) / (game.online.batch * (1 - game.online.replayed))
    assert mixing > 0
    assert until_full + mixing < game.rounds * game.online.steps


def test_the_online_template_is_written_without_data(tmp_path):
    path = templates.write(tmp_path / "game.toml", "online")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_template_is_written_with_its_data(tmp_path):
    path = templates.write(tmp_path / "deep" / "game.toml", "own_data")
    assert path == tmp_path / "deep" / "game.toml"
    source = tomllib.loads(path.read_text())["prompts"]["source"]
    assert (path.parent / source).exists()


@pytest.mark.parametrize("template", NAMES)
def test_every_file_that_a_template_names_is_written(tmp_path, template):
    templates.write(tmp_path / "game.toml", template)
    lines = (tmp_path / "game.toml").read_text().splitlines()
    read = "\n".join(line for line in lines if not line.startswith("#"))
    named = set(re.findall(r'"([\w-]+\.(?:jsonl|py))', read))
    assert {file.name for file in tmp_path.iterdir()} == {"game.toml", *named}


def test_templates_may_share_data(tmp_path):
    templates.write(tmp_path / "one.toml", "smoke")
    templates.write(tmp_path / "two.toml", "smoke-online")
    assert {file.name for file in tmp_path.iterdir()} == {
        *("one.toml", "two.toml", "smoke_prompts.jsonl", "smoke_reward.py")
    }


@pytest.mark.parametrize("template", ["quickstart", "own_data", "paper"])
def test_the_commands_in_a_template_are_for_the_file_written(tmp_path, template):
    path = templates.write(tmp_path / "game.toml", template)
    said = path.read_text()
    assert f"#   eva check {path}" in said
    assert f"#   eva run {path}" in said
    assert f"{template}.toml" not in said


def test_a_name_without_ending_gets_one(tmp_path):
    assert templates.write(tmp_path / "game", "paper") == tmp_path / "game.toml"


def test_nothing_is_overwritten(tmp_path):
    target, data = tmp_path / "game.toml", tmp_path / "own_data_prompts.jsonl"
    target.write_text("mine")
    with pytest.raises(ConfigError, match=r"game\.toml: is there already"):
        templates.write(target, "quickstart")
    assert target.read_text() == "mine"
    data.write_text("mine too")
    with pytest.raises(ConfigError, match="own_data_prompts"):
        templates.write(tmp_path / "other.toml", "own_data")
    assert not (tmp_path / "other.toml").exists()


def test_an_unknown_template_is_suggested(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'quickstart'"):
        templates.write(tmp_path / "game.toml", "quikstart")


def test_an_installed_package_has_its_configs_inside(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "eva"
    (package / "configs").mkdir(parents=True)
    (package / "configs" / "only.toml").write_text("# The only one of this package.\n")
    monkeypatch.setattr(eva, "__file__", str(package / "__init__.py"))
    assert templates.folder() == package / "configs"
    assert templates.names() == {"only": "The only one of this package"}


def test_the_wheel_takes_the_configs_along():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"]["configs"] == "eva/configs"
