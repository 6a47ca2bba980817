"""The client against `transformers serve` with a real model, straight and through a bad line."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import zlib

import httpx2
import pytest

from eva.app import play
from eva.app.load import parse_config
from eva.engines.local import LocalEngine, LocalSettings
from eva.engines.policy import load_policy
from eva.engines.replies import Replies
from eva.engines.server import Endpoint, ServerGenerator
from eva.rng import Streams
from eva.runs.folder import RunFolder
from eva.types import Example, Group, Prompt, SamplingParams, Stage

for package in ("fastapi", "uvicorn", "openai"):
    pytest.importorskip(package, reason='needs pip install "transformers[serving]"')

SERVE = (sys.executable, "-m", "transformers.cli.transformers", "serve")
OPTIONS = ("--host", "127.0.0.1", "--device", "cpu", "--dtype", "float32")
GREEDY = SamplingParams(n=1, temperature=0.0, top_p=1.0, max_tokens=24)
PROMPTS = [Prompt.of(f"Name {i} colours of {thing}.") for i in range(3) for thing in ("sky", "tea")]
STREAMS = Streams(3, 1, "answer")
FAULTS = ("drop", "429 busy", "500 broken", "cut json", "cut off", "two choices", "no choices",
          "empty")  # fmt: skip


@pytest.fixture(scope="module")
def served(tiny_folder):
    """Return the address of a server with the tiny model."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [*SERVE, str(tiny_folder), "--port", str(port), *OPTIONS]
    process = subprocess.Popen(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


def wait_for(address, process):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended"
        try:
            if httpx2.get(address, timeout=1).status_code == 200:
                return
        except httpx2.TransportError:
            time.sleep(0.1)
    raise AssertionError("the server did not come up")


@pytest.fixture
def line(served, loopback):
    """Return a line to the server that has a fault in the first tries of every request."""

    def forward(body):
        return httpx2.post(f"{served}/chat/completions", json=body, timeout=60).json()

    def fault(body, before):
        place = zlib.crc32(json.dumps(body["messages"]).encode()) + before
        return FAULTS[place % len(FAULTS)] if before < 2 else None

    return loopback(forward, fault)


def sampled(url, model, replies):
    endpoint = Endpoint(url, str(model), concurrency=4)
    generator = ServerGenerator(endpoint, replies, pause=lambda stop, seconds: None)
    try:
        return generator.sample(PROMPTS, GREEDY, STREAMS)
    finally:
        generator._pool.shutdown()
        generator._client.close()


def test_a_served_model_says_what_it_says_here(served, tiny_folder):
    groups = sampled(served, tiny_folder, Replies())
    here = LocalEngine(load_policy(tiny_folder), LocalSettings()).sample(PROMPTS, GREEDY, STREAMS)
    for group, local in zip(groups, here, strict=True):
        assert group.responses[0].text == local.responses[0].text
        assert group.responses[0].truncated == local.responses[0].truncated
        assert group.generated_tokens == local.generated_tokens


def test_a_bad_line_loses_nothing_and_counts_nothing_twice(served, line, tiny_folder):
    straight, faulty = Replies(), Replies()
    assert sampled(line.url, tiny_folder, faulty) == sampled(served, tiny_folder, straight)
    told, expected = faulty.totals(), straight.totals()
    assert told["tries"] == len(line.asked) == 3 * len(PROMPTS)
    assert sum(told["faults"].values()) == 2 * len(PROMPTS)
    for name in ("requests", "prompt_tokens", "completion_tokens"):
        assert told[name] == expected[name]


def played(url, model, path):
    """Play a game whose prompts the server rewrites, and return what became of them."""
    server = {"url": url, "model": str(model)}
    evolver = {"name": "evol_instruct", "temperature": 0.0, "max_tokens": 16, "server": server}
    game = {
        "rounds": 2,
        "policy": {"model": str(model)},
        "prompts": {"source": str(path.parent / "prompts.jsonl"), "per_round": 6},
        "answers": {"n": 3, "temperature": 1.0, "max_tokens": 8},
        "reward": {"name": "python", "function": f"{path.parent / 'reward.py'}:letters"},
        "creator": {"fraction": 0.5, "children": 2, "gates": [], "evolver": evolver},
        "solver": {"objective": "dpo", "pairs": {"truncated_chosen": True}},
        "evaluation": {"when": "never"},
        "run": {"threads": 1},
    }
    play.run(parse_config(game), path)
    with RunFolder.open_readonly(path) as folder:
        records = folder.records()
        server = records[-1].pop("server")
        tables = [
            [{k: v for k, v in row.items() if k != "seq"} for row in folder.population.table(name)]
            for name in ("prompts", "scores", "refusals")
        ]
    return (tables, records), server


def test_a_run_over_a_bad_line_ends_with_the_same_data(
    served, line, tiny_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr("eva.engines.server.FIRST_WAIT", 0.001)
    prompts = [{"prompt": f"Name {i} things to see in town {i}."} for i in range(6)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, prompts)))
    (tmp_path / "reward.py").write_text(
        "def letters(prompt, response):\n    return len(set(response))\n"
    )
    straight, _ = played(served, tiny_folder, tmp_path / "straight")
    faulty, server = played(line.url, tiny_folder, tmp_path / "faulty")
    assert faulty == straight
    assert sum(server["faults"].values()) == 2 * server["requests"] > 0


def test_a_policy_trains_here_and_answers_through_servers_of_its_weights(tiny_folder, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(tiny_folder, model)
    settings = json.loads((model / "generation_config.json").read_text())
    # this server samples only where the model says so
    (model / "generation_config.json").write_text(json.dumps(settings | {"do_sample": True}))
    command = [*SERVE, "{model}", "--port", "{port}", *OPTIONS]
    prompts = [{"prompt": f"Name {i} things to see in town {i}."} for i in range(4)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, prompts)))
    (tmp_path / "reward.py").write_text(
        "def letters(prompt, response):\n    return len(set(response))\n"
    )
    game = {
        "rounds": 2,
        "policy": {"model": str(model), "serve": {"command": command, "concurrency": 1}},
        "prompts": {"source": str(tmp_path / "prompts.jsonl"), "per_round": 4},
        "answers": {"n": 3, "temperature": 1.0, "max_tokens": 8},
        "reward": {"name": "python", "function": f"{tmp_path / 'reward.py'}:letters"},
        "creator": {"name": "static"},
        "solver": {
            "objective": "dpo", "learning_rate": 1e-3, "pairs": {"truncated_chosen": True}
        },
        "evaluation": {"when": "never"},
        "run": {"threads": 1},
    }  # fmt: skip
    path = play.run(parse_config(game), tmp_path / "run")
    with RunFolder.open_readonly(path) as folder:
        records, journal = folder.records(), folder.journal()
        answered = [journal.read(Stage(t, "solver/answer"), Group) for t in (1, 2)]
        examples = journal.read(Stage(1, "solver/new_pairs"), Example)
    assert [len({group.policy for group in groups}) for groups in answered] == [1, 1]
    assert answered[0][0].policy != answered[1][0].policy
    assert all(ids for example in examples for ids in example.completions)
    assert [record["solver"]["pairs"] > 0 for record in records] == [True, True]
    assert [name.name for name in (path / "served").iterdir()] == ["log.txt"]
