"""A policy whose answers come from servers of its own: real processes, real weights."""

import json
import os
import sys
from functools import partial

import psutil
import pytest

from eva.engines.chat import encode_prompt
from eva.engines.leftover import unwatch
from eva.engines.local import LocalEngine, LocalSettings
from eva.engines.lora import LoraSettings
from eva.engines.policy import load_policy
from eva.engines.replies import Replies
from eva.engines.served import ServedEngine, Serving
from eva.engines.server import Endpoint, ServerGenerator
from eva.errors import GenerationError
from eva.rng import Streams
from eva.solver.objectives import make_objective
from eva.types import Example, Message, Prompt, SamplingParams

# answers with a digest of the weights, how often it was asked, and the last word of the request
SCRIPT = """
import hashlib, json, os, pathlib, socket, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer

weights = pathlib.Path(sys.argv[1], "model.safetensors").read_bytes()
print("settings", pathlib.Path(sys.argv[1], "generation_config.json").read_text(), flush=True)
digest = hashlib.sha256(weights).hexdigest()[:8]

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.reply({"data": []})
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = body["messages"][-1]["content"]
        print("asked", body["model"] == sys.argv[1], len(body["messages"]), flush=True)
        if asked == "die":
            print("no memory left", flush=True)
            self.connection.shutdown(socket.SHUT_RDWR)  # a connection is gone before its process
            time.sleep(0.5)
            os._exit(9)
        if "break" in asked:
            return self.reply({"error": {"message": "out of memory"}}, 401)
        text = f"{digest} {asked.split()[-1]}"
        finish = "length" if "long" in asked else "stop"
        choice = {"message": {"content": text}, "finish_reason": finish, "token_ids": [7, 7, 2]}
        told = {"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 7}}
        if body.get("return_token_ids"):
            told["prompt_token_ids"] = json.loads(pathlib.Path(sys.argv[0] + ".read").read_text())
        self.reply(told)
    def reply(self, told, status=200):
        content = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
    def log_message(self, *words):
        pass

print("ready", flush=True)
HTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
"""
ONE = SamplingParams(n=1, temperature=0.0, max_tokens=8)
STREAMS = Streams(0, 1, "answer")
EXAMPLE = Example("p", (5, 6, 7), ((8, 9, 10), (11, 12)))


def ask(url, model, token_ids=False):
    endpoint = Endpoint(url, model, retries=0, seconds=10, token_ids=token_ids)
    return ServerGenerator(endpoint, Replies(), pause=lambda stop, seconds: None)


@pytest.fixture
def served(tiny_folder, tmp_path):
    """Make engines that are served by the script, and end their servers."""
    script = tmp_path / "server.py"
    script.write_text(SCRIPT)
    made = []

    def make(command=None, *, lora=None, seconds=30.0, read=None):
        engine = LocalEngine(load_policy(tiny_folder), LocalSettings(lora=lora))
        command = command or (sys.executable, str(script), "{model}", "{port}")
        if read is not None:
            (tmp_path / "server.py.read").write_text(json.dumps(read))
        asking = partial(ask, token_ids=read is not None)
        serving = Serving(command, tmp_path / "served", asking, seconds=seconds)
        made.append(ServedEngine(engine, serving))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


def sample(engine, *texts):
    return [g.responses for g in engine.sample([Prompt.of(t) for t in texts], ONE, STREAMS)]


def trained(engine):
    engine.forward_backward([EXAMPLE], make_objective("orpo"), 1.0)
    engine.step(0.1, None)


def pid(tmp_path):
    return int((tmp_path / "served/pid").read_text())


def test_tokens_are_those_that_the_server_sampled_where_it_tells_them(served):
    prompt = Prompt.of("Say it")
    read = encode_prompt(served().policy, prompt)
    (group,) = served(read=read).sample([prompt], ONE, STREAMS)
    assert [r.token_ids for r in group.responses] == [(7, 7, 2)]
    assert group.prompt_ids == read
    assert group.responses[0].length == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda ids: ids[:-1], r"at token 24 the end, expected \d+ \(24 tokens, expected 25\)"),
        (lambda ids: [3, *ids[1:]], r"at token 0 3, expected \d+ \(25 tokens, expected 25\)"),
    ],
)
def test_a_server_with_another_chat_template_is_refused(served, change, said):
    prompt = Prompt.of("Say it")
    read = encode_prompt(served().policy, prompt)
    with pytest.raises(GenerationError, match=said):
        served(read=change(list(read))).sample([prompt], ONE, STREAMS)


def test_answers_come_with_tokens_and_are_trained_on_as_if_sampled_here(served):
    engine = served()
    prompt = Prompt.of("Say it")
    (group,) = engine.sample([prompt], ONE, STREAMS)
    (response,) = group.responses
    assert group.policy == engine.version
    assert response.text.endswith(" it")
    assert response.length == 7
    tokenizer = engine.policy.tokenizer
    assert tokenizer.decode(response.token_ids, skip_special_tokens=True) == response.text
    assert response.token_ids[-1] in engine.policy.end_ids
    assert list(group.prompt_ids) == tokenizer.apply_chat_template(
        [{"role": "user", "content": "Say it"}], add_generation_prompt=True, return_dict=False
    )
    (cut,) = sample(engine, "a long one")[0]
    assert cut.truncated
    assert cut.token_ids[-1] not in engine.policy.end_ids


def test_a_server_samples_with_no_settings_but_those_it_is_asked_with(served, tmp_path):
    engine = served()
    config = engine.policy.model.generation_config
    config.update(top_k=7, repetition_penalty=1.3, do_sample=True)
    sample(engine, "x")
    (line,) = [
        line
        for line in (tmp_path / "served/log.txt").read_text().splitlines()
        if line.startswith("settings ")
    ]
    assert json.loads(line.removeprefix("settings ")) == {
        "eos_token_id": config.eos_token_id,
        "do_sample": True,
    }


@pytest.mark.parametrize("lora", [None, LoraSettings(rank=2, seed=1)], ids=["full", "lora"])
def test_every_policy_answers_with_its_own_weights(served, tmp_path, lora):
    engine = served(lora=lora)
    first = sample(engine, "x")[0][0].text
    server = pid(tmp_path)
    assert sample(engine, "x")[0][0].text == first
    assert pid(tmp_path) == server, "chunks of a stage have one server"
    trained(engine)
    assert not psutil.pid_exists(server), "training and answering take turns"
    trained(engine)  # the first step of LoRA moves one of its two matrices only
    assert sample(engine, "x")[0][0].text != first
    engine.load(None)
    assert sample(engine, "x")[0][0].text == first
    engine.close()
    assert sorted(p.name for p in (tmp_path / "served").iterdir()) == ["log.txt"]


def test_all_but_answering_frees_the_server_and_loading_the_same_weights_does_not(served, tmp_path):
    engine = served()
    engine.save(tmp_path / "weights")
    uses = {
        "save": lambda: engine.save(tmp_path / "again"),
        "logprobs": lambda: engine.logprobs([EXAMPLE]),
    }
    for name, use in uses.items():
        sample(engine, "x")
        server = pid(tmp_path)
        engine.load(tmp_path / "weights")
        assert psutil.pid_exists(server), name
        use()
        assert not psutil.pid_exists(server), name


def test_what_does_not_fit_is_not_asked_and_a_system_message_finds_its_place(served, tmp_path):
    engine = served()
    limit = engine.policy.context
    long = Prompt.of("word " * limit)
    system = Prompt((Message("system", "Be brief."), Message("user", "Say it")))
    groups = engine.sample([long, system], ONE, STREAMS)
    assert [len(g.responses) for g in groups] == [0, 1]
    assert groups[1].prompt == system
    assert (tmp_path / "served/log.txt").read_text().count("asked True") == 1


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        (("no-such-program", "{model}", "{port}"), "'no-such-program' cannot be started"),
        (
            (sys.executable, "-c", "print('no GPU'); raise SystemExit(7)", "{model}{port}"),
            r"ended with exit code 7\n.*log.txt\)\nno GPU",
        ),
    ],
)
def test_a_server_that_does_not_start_says_why(served, command, fault):
    with pytest.raises(GenerationError, match=fault):
        sample(served(command), "x")


def test_a_server_that_never_answers_is_given_up(served, tmp_path):
    sleeping = (sys.executable, "-c", "import time; time.sleep(60)", "{model}{port}")
    with pytest.raises(GenerationError, match=r"did not answer within 0.3 s"):
        sample(served(sleeping, seconds=0.3), "x")
    assert not (tmp_path / "served/pid").exists()


def test_a_fault_comes_with_the_servers_own_words(served):
    with pytest.raises(GenerationError, match=r"(?s)out of memory.*log.txt.*asked True"):
        sample(served(), "break it")


def test_a_server_that_ends_while_it_answers_says_so(served):
    with pytest.raises(
        GenerationError, match=r"(?s)ended with exit code 9 while it answered.*no memory left"
    ):
        sample(served(), "die")


def test_a_server_is_watched_as_long_as_it_runs(served):
    def watchers():
        children = psutil.Process().children()
        return [child for child in children if "eva.engines.leftover" in child.cmdline()]

    engine = served()
    sample(engine, "x")
    assert len(watchers()) == 1
    engine.close()
    assert not watchers()


@pytest.mark.parametrize("noted", [True, False])
def test_the_server_of_a_killed_run_is_ended_before_the_next(served, tmp_path, noted):
    engine = served()
    sample(engine, "x")
    left = engine._server._process
    _, _, (*_, watcher), _ = engine._server.end.detach()
    unwatch(watcher)  # as if both were killed
    if not noted:  # at the instant in which the server began
        (tmp_path / "served/pid").unlink()
    engine._server = None
    sample(served(), "x")
    assert pid(tmp_path) != left.pid
    left.wait(10)
    assert not psutil.pid_exists(left.pid)


def test_another_program_with_the_number_of_a_lost_server_is_left_alone(served, tmp_path):
    (tmp_path / "served").mkdir()
    (tmp_path / "served/pid").write_text(str(os.getpid()))
    assert sample(served(), "x")
