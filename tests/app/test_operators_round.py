"""The ten operators, best-of-N and topics, named by a config and played for two rounds."""

import json
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from eva.app import build, play
from eva.app.load import parse_config
from eva.runs.folder import RunFolder
from eva.runs.metrics import describe
from eva.types import Evolution, Group, Response, Stage
from eva.views.report import report

GAME = {
    "rounds": 2,
    "policy": {"model": "random:tiny"},
    "prompts": {"per_round": 12, "topics": {"names": ["tea", "soap"]}},
    "answers": {"n": 3, "max_tokens": 8, "temperature": 1.0},
    "creator": {
        "evolver": {"name": "online_ten", "best_of": 2, "max_tokens": 30, "best_by": "grades"},
        "sampler": {"name": "topic_blended", "c": 0.5},
        "gates": [{"name": "meta_text"}],
    },
    "solver": {"objective": "simpo", "pairs": {"truncated_chosen": True}},
    "evaluation": {"when": "never"},
}


class Rewriter:
    """Answers what it is asked: a number, or the prompt with a tail that tells the draw."""

    def sample(self, prompts, params, streams):
        return [self._one(prompt, params, streams) for prompt in prompts]

    def _one(self, prompt, params, streams):
        draw = int(streams.of(prompt.id, 0).integers(1, 6))
        last = prompt.text.rpartition("\n")[2]
        graded = params.max_tokens == 8
        text = str(draw) if graded else f"{last} Add {'a line ' * draw}more, as number {draw}."
        return Group(prompt, (), (Response(text, (1,) * (1 if graded else 10)),), "scripted")


def embed(texts):
    near = np.array([[text.count("tea") + 1e-3, text.count("soap")] for text in texts])
    return near / np.linalg.norm(near, axis=1, keepdims=True)


@pytest.fixture
def played(tmp_path, monkeypatch):
    """Play the game with changes of its tables: `played(solver=...)`."""
    monkeypatch.setattr(build.Parts, "_rewriter", lambda self, section: Rewriter())
    monkeypatch.setattr(build, "resolve", lambda source: source)
    loaded = SimpleNamespace(load=lambda folder: SimpleNamespace(embed=embed))
    monkeypatch.setattr(build, "Encoder", loaded)
    source = tmp_path / "people.jsonl"
    texts = [f"Write {i} lines about {'tea' if i % 4 else 'soap'}." for i in range(1, 13)]
    source.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts))
    (tmp_path / "reward.py").write_text(
        "def score(prompt, response, **columns):\n    return len(set(response)) / 100\n"
    )
    reward = {"name": "python", "function": f"{tmp_path / 'reward.py'}:score"}

    def play_it(**changes):
        prompts = GAME["prompts"] | {"source": str(source)}
        config = GAME | {"prompts": prompts, "reward": reward} | changes
        play.run(parse_config(config), tmp_path / "run")
        return tmp_path / "run"

    return play_it


@pytest.fixture
def run(played):
    return played()


def test_the_books_of_a_round_add_up(run):
    with RunFolder.open_readonly(run) as folder:
        first, second = folder.records()
        journal = folder.journal()
        evolutions = journal.read(Stage(2, "creator/evolve"), Evolution)
        population = folder.population.prompts()
    creator = second["creator"]
    attempts = creator["drawn"] * 4
    assert creator["children"] + creator["refused"] == attempts
    # every second candidate lost
    assert creator["beaten"] + creator["refusals"].get("evolver", 0) >= attempts
    assert sum(creator["tried"].values()) == 2 * attempts
    assert sum(creator["operator_tokens"].values()) == creator["rewriter_tokens"]
    # each candidate takes ten tokens and, being graded twice, two more
    assert creator["rewriter_tokens"] == 12 * 2 * attempts
    assert second["tokens"]["rewriter"] == creator["rewriter_tokens"]
    assert set(creator["grades"]) == {"complexity", "quality"}
    assert Counter(c.operator for e in evolutions for c in e.children) == creator["operators"]

    assert first["creator"]["topic_shares"] == {"tea": 0.75, "soap": 0.25}
    assert {prompt.topic for prompt in population} == {"tea", "soap"}
    mixed = [prompt for prompt in population if prompt.operator == "mix"]
    assert all(len(set(prompt.parents)) == 2 for prompt in mixed)
    assert second["creator"]["complexity"] > first["creator"]["complexity"]
    assert 0 < creator["contrast"][next(iter(creator["contrast"]))] <= 1


def test_what_it_logs_is_explained_and_reported(run):
    with RunFolder.open_readonly(run) as folder:
        logged = {name for row in folder.population.metrics() for name in row.metrics}
    assert {"creator/complexity", "creator/beaten", "creator/topic_shares/tea"} <= logged
    assert [name for name in logged if describe(name) is None] == []
    text = report(run, run / "report.html").read_text(encoding="utf-8")
    assert "What is asked for" in text
    assert "Grades of the children" in text
    assert "best_of" in text


def test_online_the_tree_grows_as_well(played):
    run = played(
        schedule="online",
        rounds=1,
        creator={"evolver": GAME["creator"]["evolver"], "children": 2, "gates": []},
        online={"batch": 4, "buffer": 8, "steps": 3},
        solver={"objective": "rloo"},
    )
    with RunFolder.open_readonly(run) as folder:
        (record,) = folder.records()
        population = folder.population.prompts()
    creator = record["creator"]
    # three steps of two seeds, two attempts each, two candidates every time
    assert creator["children"] + creator["refused"] + creator["beaten"] == 24
    assert sum(creator["tried"].values()) == 24
    assert creator["rewriter_tokens"] == 24 * 12 == record["tokens"]["rewriter"]
    assert set(creator["grades"]) == {"complexity", "quality"}
    assert {prompt.topic for prompt in population} == {"tea", "soap"}
