"""What the documentation says is so: its code runs, its configs parse, its links lead somewhere."""

import json
import re
import shutil
import tomllib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import typer

from eva import protocols
from eva.app import play, presets, stage_verbs
from eva.app.cli import app, stages
from eva.app.config import Config
from eva.app.config_parts import InstructEvolver
from eva.app.load import load_config, parse_config
from eva.creator.operators import operator_set
from eva.runs.folder import RunFolder
from eva.views.export import export

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text("utf-8") for page in PAGES}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(*languages):
    """Return every code block of a language, as parameters named by page and place."""
    return [
        pytest.param(
            code, id=f"{name}-{i}", marks=[pytest.mark.model] if "packaged:" in code else []
        )
        for name, text in TEXTS.items()
        for i, (language, code) in enumerate(FENCE.findall(text))
        if language in languages
    ]


# ── code ──────────────────────────────────────────────────────────────────────────────────────

GAME = """
rounds = 2
policy = { model = "random:tiny" }
prompts = { source = "prompts.jsonl", per_round = 8 }
answers = { n = 4, temperature = 1.0, top_p = 1.0, max_tokens = 24 }
reward = { name = "python", function = "my_reward.py:reward" }
creator = { evolver = { name = "evol_instruct", max_tokens = 24 } }
solver = { objective = "dpo", batch_size = 4, pairs = { truncated_chosen = true } }
run = { threads = 1 }
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with what pages take for granted: prompts, a reward, a config, rollouts, a run."""
    here = tmp_path_factory.mktemp("world")
    rows = [{"prompt": f"Name {i} rivers.", "answer": str(i)} for i in range(12)]
    (here / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (here / "my_reward.py").write_text("def reward(prompt, response):\n    return len(response)\n")
    (here / "game.toml").write_text(GAME)
    rollouts = {
        "prompt": ["Explain rainbows.", "Explain tides."],
        "responses": [["Light bends.", "Colours."], ["The moon.", "Water."]],
        "rewards": [[0.9, 0.2], [0.5, 0.4]],
    }
    pq.write_table(pa.table(rollouts), here / "rollouts.parquet")
    message = [{"role": "user", "content": "Explain dew."}]
    pq.write_table(pa.table({"operator": ["deepen"], "prompt": [message]}), here / "next.parquet")
    shutil.copytree(ROOT / "configs", here / "configs")
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVA_CACHE", str(here / "cache"))
        game = load_config(ROOT / "configs/smoke.toml")
        play.run(game, here / "runs/quickstart")
        export(here / "runs/quickstart", "pairs", here / "pairs.parquet")
        yield here
    torch.set_num_threads(threads)


@pytest.mark.parametrize("code", blocks("python"))
def test_python_runs_and_prints_what_it_says(code, world, tmp_path, monkeypatch, capsys):
    here = shutil.copytree(world, tmp_path / "here")
    for written in re.findall(r'out=Path\("(.*?)"\)', code):
        (here / written).unlink(missing_ok=True)
    monkeypatch.chdir(here)
    if "packaged:" in code:
        monkeypatch.delenv("EVA_CACHE")
    with RunFolder.open_readonly(here / "runs/quickstart") as run:
        known = {"prompt_id": run.population.prompts()[0].id}
    if "import " not in code:  # a signature, in the words of the protocols
        known |= vars(protocols)
    exec(compile(code, "page", "exec"), known | {"__name__": "page"})
    said = re.findall(r"^print\(.*\)  # (.+)$", code, re.MULTILINE)
    assert capsys.readouterr().out.splitlines()[: len(said)] == said


# ── configs ───────────────────────────────────────────────────────────────────────────────────

OPEN = {
    "policy": {"model": "random:tiny"},
    "prompts": {"source": "prompts.jsonl"},
    "reward": {"name": "python", "function": "my_reward.py:reward"},
    "solver": {"objective": {"name": "dpo"}},
}
VERIFIABLE = OPEN | {
    "prompts": {"source": "prompts.jsonl", "constraints": {}},
    "reward": {"name": "rules"},
    "creator": {"evolver": {"name": "rules"}},
}


ONLINE = {"schedule": "online", "solver": {"objective": {"name": "rloo"}}}


def parsed(text, *, online=False):
    """Parse a whole config, or what a page shows of one, laid over a small one."""
    data = tomllib.loads(text)
    if "policy" in data and "solver" in data:
        return parse_config(data)
    if isinstance(data.get("solver", {}).get("objective"), str):
        data["solver"]["objective"] = {"name": data["solver"]["objective"]}
    faults = []
    steps = ONLINE if online or data.get("schedule") == "online" else {}
    for base in (OPEN | steps, VERIFIABLE | steps):
        try:
            return parse_config(presets.under(base, data))
        except ValueError as error:
            faults.append(str(error))
    raise AssertionError("\n".join(faults))


@pytest.mark.parametrize("code", [p.values[0] for p in blocks("toml")])
def test_toml_parses(code):
    evolver = parsed(code).creator.evolver
    if isinstance(evolver, InstructEvolver) and evolver.operators:
        own = [operator.model_dump() for operator in parsed(code).creator.operators]
        assert len(operator_set(evolver.operators, operators=own)) == len(evolver.operators)


def test_keys_and_values_in_the_text_parse():
    spans = [
        (name, span)
        for name, text in TEXTS.items()
        for span in re.findall(r"`([a-z_.]+ = [^`\n]+)`", FENCE.sub("", text))
        if span.partition(" ")[0].partition(".")[0] in Config.model_fields
    ]
    assert len(spans) > 10
    for name, span in spans:
        assert parsed(span, online=name == "docs/online.md"), name


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.toml")), ids=lambda p: p.name)
def test_configs_parse(path):
    assert load_config(path).rounds >= 1


# ── commands, links, names ────────────────────────────────────────────────────────────────────


def test_commands_exist():
    if not stages.registered_commands:
        stage_verbs.register(stages)
    root = typer.main.get_command(app)
    lines = [
        (name, line.split("#")[0].replace("\\", " ").split()[1:])
        for name, text in TEXTS.items()
        for _, code in FENCE.findall(text)
        for line in code.splitlines()
        if line.startswith("eva ")
    ]
    assert len(lines) > 10
    for name, (verb, *arguments) in lines:
        assert verb in root.commands, f"{name}: eva {verb}"
        command = root.commands[verb]
        if verb == "stage":
            stage = next(word for word in arguments if not word.startswith("-"))
            assert stage in command.commands, f"{name}: eva stage {stage}"
            command = command.commands[stage]
        known = {option for parameter in command.params for option in parameter.opts}
        known |= {option for parameter in root.commands[verb].params for option in parameter.opts}
        for word in arguments:
            option = word.partition("=")[0]
            assert not word.startswith("--") or option in known, f"{name}: eva {verb} {word}"


def anchors(text):
    """Return the anchors of a page's headings, as they are made on the web."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_somewhere(name):
    page = ROOT / name
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", TEXTS[name])):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file.read_text("utf-8")), target


@pytest.mark.parametrize("name", TEXTS)
def test_files_that_are_named_are_there(name):
    named = re.findall(r"\b((?:examples|configs|docs|benchmarks)/[\w./-]+\.\w+)", TEXTS[name])
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_page_is_on_the_map():
    linked = set(re.findall(r"\]\((\w[\w-]*\.md)\)", TEXTS["docs/index.md"]))
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"} == linked


def test_the_readme_comes_to_the_point():
    text = TEXTS["README.md"]
    if "```" not in text:
        pytest.skip("README.md has no code block yet")
    before = text.partition("```")[0]
    assert len(re.findall(r"\w[\w'’-]*", re.sub(r"\]\([^)]*\)", "]", before))) <= 150
