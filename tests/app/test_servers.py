"""A game whose rewriter is a server: killed, capped, resumed."""

import gc
import hashlib
import json
import subprocess
import sys
from collections import Counter

import pytest

from eva.app import play, servers
from eva.app.config_servers import Serve, Server
from eva.app.load import load_config, parse_config
from eva.engines.server import ServerGenerator
from eva.errors import ConfigError, GenerationError
from eva.planning import plan
from eva.rng import Streams
from eva.runs import faults
from eva.runs.folder import RunFolder
from eva.types import Prompt, SamplingParams
from eva.views.report import report
from eva.views.show import show

KEY = "sk-not-to-be-seen-0123"
GAME = """
seed = 1
rounds = 2
[policy]
model = "random:tiny"
[prompts]
source = "prompts.jsonl"
per_round = 6
[answers]
n = 3
temperature = 1.0
max_tokens = 8
[reward]
name = "python"
function = "reward.py:letters"
[creator]
fraction = 0.5
children = 2
gates = [{ name = "duplicate" }]
evolver = { name = "evol_instruct", max_tokens = 40, server = { URL, model = "big" } }
[solver]
objective = "dpo"
pairs = { truncated_chosen = true }
[evaluation]
when = "never"
[run]
chunk = 2
threads = 1
"""


def rewrite(body):
    """Answer with a new prompt: the parent's first words, and one that only this request gives."""
    word = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:12]
    text = f"List some {word} and say in detail why {word[::-1]} matters to {word[:6]}."
    return {
        "choices": [{"message": {"content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 50, "completion_tokens": 20},
    }


@pytest.fixture
def game(tmp_path, monkeypatch):
    """Write a game that a server rewrites for, and return its config with changes."""
    monkeypatch.setenv("REWRITER_KEY", KEY)
    prompts = [{"prompt": f"Name {i} things to see in town {i}."} for i in range(6)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, prompts)))
    (tmp_path / "reward.py").write_text(
        "def letters(prompt, response):\n    return len(set(response))\n"
    )

    def make(server, *overrides, **settings):
        table = {"url": server.url, "key_variable": "REWRITER_KEY", "concurrency": 2} | settings
        said = ", ".join(f"{key} = {json.dumps(value)}" for key, value in table.items())
        (tmp_path / "game.toml").write_text(GAME.replace("URL", said))
        return load_config(tmp_path / "game.toml", list(overrides))

    return make


def outcome(path):
    """Return all prompts, and the last record, without counts of tries."""
    gc.collect()
    with RunFolder.open_readonly(path) as folder:
        prompts = [(p.id, p.text, p.operator, p.parents) for p in folder.population.prompts()]
        records = folder.records()
    for record in records:
        for name in ("tries", "faults", "possible_cost"):
            record.get("server", {}).pop(name, None)
    return prompts, records


def secrets(path):
    return [
        file for file in path.rglob("*") if file.is_file() and KEY.encode() in file.read_bytes()
    ]


@pytest.fixture
def straight(game, loopback, tmp_path):
    server = loopback(rewrite)
    play.run(game(server, input_price=1.0, output_price=2.0), tmp_path / "straight")
    return server, outcome(tmp_path / "straight")


def test_a_run_asks_a_server_and_says_what_that_cost(straight, tmp_path, capsys):
    server, (prompts, records) = straight
    assert set(server.keys) == {f"Bearer {KEY}"}
    assert len(server.asked) == 6  # 3 seeds, 2 rewrites each
    assert sum(operator != "human" for _, _, operator, _ in prompts) == 6
    assert records[1]["creator"]["rewriter_tokens"] == 6 * 20
    assert records[1]["server"] == {
        "requests": 6,
        "prompt_tokens": 300,
        "completion_tokens": 120,
        "cost": pytest.approx(6 * (50 + 2 * 20) / 1e6),
    }
    assert secrets(tmp_path / "straight") == []
    show(tmp_path / "straight", round=2)
    assert "server/cost" in capsys.readouterr().out
    show(tmp_path / "straight")
    assert "servers: 6 replies in 6 tries" in capsys.readouterr().out
    page = report(tmp_path / "straight", tmp_path / "report.html").read_text()
    assert "Servers: 6 replies in 6 tries, 300 tokens read and 120 written; cost 0.001." in page


def test_faults_leave_the_same_run(straight, game, loopback, tmp_path):
    kinds = ("429 busy", "drop", "cut json", "empty", "500 broken", "two choices")
    server = loopback(rewrite)
    server.fault = lambda body, before: None if before else kinds[len(set(map(str, server.asked)))]
    prices = {"input_price": 1.0, "output_price": 2.0}
    play.run(game(server, **prices), tmp_path / "faulty")
    assert outcome(tmp_path / "faulty") == straight[1]
    assert len(server.asked) == 12


@pytest.mark.parametrize("at", [1, 2])
def test_a_crash_pays_for_nothing_twice(straight, game, loopback, tmp_path, at):
    server = loopback(rewrite)
    config = game(server, input_price=1.0, output_price=2.0)
    with pytest.raises(faults.Crash), faults.armed("creator/evolve:before_commit", at=at):
        play.run(config, tmp_path / "crashed")
    assert server.asked
    gc.collect()
    play.resume(tmp_path / "crashed")
    assert outcome(tmp_path / "crashed") == straight[1]
    assert max(Counter(map(str, server.asked)).values()) == 1


def test_a_killed_process_pays_for_nothing_twice(straight, game, loopback, tmp_path):
    kill = []

    def killing(body):
        told = rewrite(body)
        if len(set(map(str, server.asked))) == 4 and kill:
            kill.pop().kill()
        return told

    server = loopback(killing)
    config = game(server, input_price=1.0, output_price=2.0, concurrency=1)
    command = [sys.executable, "-m", "eva", "run", tmp_path / "game.toml", "--quiet"]
    process = subprocess.Popen([*command, "--out", tmp_path / "killed"])
    kill.append(process)
    assert process.wait(60) < 0
    play.run(config, tmp_path / "killed")
    assert outcome(tmp_path / "killed") == straight[1]
    again = Counter(map(str, server.asked))
    assert sorted(again.values()) in ([1] * 6, [1] * 5 + [2])  # the one under way came unseen
    with RunFolder.open_readonly(tmp_path / "killed") as folder:
        told = folder.records()[-1]["server"]
    assert told["tries"] == len(server.asked)
    assert told["faults"].get("killed", 0) == len(server.asked) - 6


def test_a_cap_stops_a_run_which_goes_on_with_a_higher_one(straight, game, loopback, tmp_path):
    server = loopback(rewrite)
    prices = {"input_price": 0.0, "output_price": 1e6 / 40, "concurrency": 1}  # at worst 1
    with pytest.raises(GenerationError, match=r"max_cost of 2\.2 .* Raise max_cost"):
        play.run(game(server, max_cost=2.2, **prices), tmp_path / "capped")
    assert len(server.asked) == 3  # each cost half of its worst
    gc.collect()
    with pytest.raises(GenerationError, match=r"1\.5 is spent"):
        play.resume(tmp_path / "capped")
    assert len(server.asked) == 3
    gc.collect()
    play.run(game(server, max_cost=10.0, **prices), tmp_path / "capped")
    prompts, records = outcome(tmp_path / "capped")
    assert prompts == straight[1][0]
    assert records[1]["server"]["cost"] == pytest.approx(3.0)
    assert len(server.asked) == 6


def test_online_takes_a_server_for_rewriting_in_the_background(game, loopback, tmp_path):
    server = loopback(rewrite)
    online = ("schedule=online", "online.steps=4", "online.batch=2", "online.buffer=4",
              "solver.objective=rloo", "online.background=true", "rounds=1")  # fmt: skip
    game(server)
    text = (tmp_path / "game.toml").read_text().replace("pairs = { truncated_chosen = true }", "")
    (tmp_path / "game.toml").write_text(text)
    play.run(load_config(tmp_path / "game.toml", list(online)), tmp_path / "online")
    assert server.asked
    assert outcome(tmp_path / "online")[1][0]["server"]["requests"] > 0


def test_the_plan_says_what_a_server_is_asked(game, loopback, capsys, monkeypatch):
    monkeypatch.setattr(plan.estimates, "matmul_rate", lambda *args, **kwargs: 1e9)
    server = loopback(rewrite)
    found = plan.of(game(server, output_price=1e6, max_cost=500.0))
    assert [count.requests for count in found.servers] == [6]
    plan.show(found)
    told = " ".join(capsys.readouterr().out.split())
    assert f"server, rewriter: big at {server.url} is asked 6 times at most" in told
    assert "240 to write; a cost of 240.00 at most, of a max_cost of 500.00" in told
    assert server.asked == []


def test_a_key_that_is_not_there_is_found_before_anything_is_made(
    game, loopback, tmp_path, monkeypatch
):
    config = game(loopback(rewrite), key_variable="NO_SUCH_KEY")
    monkeypatch.setattr(plan.estimates, "matmul_rate", lambda *args, **kwargs: 1e9)
    with pytest.raises(ConfigError, match="NO_SUCH_KEY, which the environment does not hold"):
        plan.of(config)
    with pytest.raises(ConfigError, match="NO_SUCH_KEY"):
        play.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("key", ["two words", "line\n", "schlüssel", "\x1b"])
def test_what_is_no_key_is_refused_unseen(key, monkeypatch):
    monkeypatch.setenv("A_KEY", key)
    with pytest.raises(ConfigError) as caught:
        servers.key_of(Server(url="http://localhost/v1", model="m", key_variable="A_KEY"))
    assert key not in str(caught.value)
    assert "A_KEY" in str(caught.value)


def test_no_variable_is_no_key():
    assert servers.key_of(Server(url="http://localhost/v1", model="m")) == ""


def test_servers_of_a_run_share_their_replies(tmp_path, loopback):
    server = loopback(rewrite)
    section = Server(url=server.url, model="m")
    first, second = (servers.server_generator(section, tmp_path) for _ in range(2))
    assert isinstance(first, ServerGenerator)
    assert first.replies is second.replies
    assert servers.server_generator(section, None).replies is not first.replies
    assert servers.server_totals(tmp_path) == servers.server_totals(None) == {}
    params = SamplingParams(1, 0.7, 0.9, 20)
    for generator in (first, second):
        generator.sample([Prompt.of("Hi")], params, Streams(0, 1, "a"))
        generator._pool.shutdown()
    assert len(server.asked) == 1
    assert servers.server_totals(tmp_path)["server"]["requests"] == 1
    (tmp_path / "replies.sqlite").unlink()
    assert servers.server_generator(section, tmp_path).replies is not first.replies


def test_a_rewriter_is_a_model_or_a_server(game, loopback):
    data = game(loopback(rewrite)).model_dump(mode="json")
    data["creator"]["evolver"]["model"] = "random:tiny"
    with pytest.raises(ConfigError, match="model and server both name a rewriter"):
        parse_config(data)


def test_without_a_run_folder_a_policy_s_server_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    command = ("serve", "{model}", "{port}")
    engine = servers.served_engine(object(), Serve(command=command), None)
    assert len(list(tmp_path.iterdir())) == 1
    del engine
    gc.collect()
    assert list(tmp_path.iterdir()) == []
