"""What several test files share: a tiny random model, and a quiet, offline environment."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pytest
import torch
from hypothesis import settings

# how long an example takes says how busy the machine is
settings.register_profile("eva", deadline=None)
settings.load_profile("eva")

# with both cores busy a second thread spins more than it helps, and sums stay the same
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A random Llama of some thousand parameters with a byte-level tokenizer."""
    from eva.engines.tiny import build_tiny

    folder = tmp_path_factory.mktemp("models") / "tiny"
    build_tiny(folder, seed=1)
    return folder


class Loopback:
    """A server on loopback that speaks `/v1/chat/completions`, and has faults on demand.

    `answer` maps a request's body to a completion; `fault` maps the body, and how often it came
    before, to the name of a fault, or None.
    """

    def __init__(self, answer, fault=lambda body, before: None):
        self.answer, self.fault = answer, fault
        self.asked = []
        """Bodies, in order of arrival."""
        self.keys = []
        """What came as `Authorization`."""
        self.most = 0
        """Most requests at once."""
        self.now = 0
        self.lock, self.ended = threading.Lock(), threading.Event()
        loopback = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                loopback.serve(self)

            def log_message(self, *words):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.http.server_port}/v1"

    def serve(self, handler):
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self.lock:
            fault = self.fault(body, self.asked.count(body))
            self.asked.append(body)
            self.keys.append(handler.headers.get("Authorization"))
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            self.reply(handler, body, fault)
        except ConnectionError:
            pass
        finally:
            with self.lock:
                self.now -= 1

    def reply(self, handler, body, fault):
        headers, status, missing = {}, 200, 0
        if fault == "slow":
            self.ended.wait(5)
        if fault in {"drop", "slow"}:
            handler.close_connection = True
            return
        if fault and fault[:3].isdigit():
            status, _, said = fault.partition(" ")
            said, _, after = said.partition(" after ")
            headers = {"Retry-After": after} if after else {}
            told = {"error": {"message": said, "type": "scripted"}}
        else:
            told = self.answer(body)
            choice = told["choices"][0]
            if fault == "two choices":
                told["choices"] = [choice, choice]
            if fault == "no choices":
                told["choices"] = []
            if fault == "empty":
                choice["message"]["content"] = ""
            if fault == "no text":
                choice |= {"message": {"content": None}, "finish_reason": "stop"}
        content = json.dumps(told).encode()
        if fault == "cut json":
            content = content[: len(content) // 2]
        if fault == "cut off":
            missing = len(content) // 2
        handler.send_response(int(status))
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content[: len(content) - missing])
        if missing:
            handler.close_connection = True

    def close(self):
        self.ended.set()
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def loopback():
    """Start servers, which end with the test."""
    running = []

    def start(answer, fault=lambda body, before: None):
        running.append(Loopback(answer, fault))
        return running[-1]

    yield start
    for server in running:
        server.close()


class Alarmed:
    """Raises an alarm in the rounds it is told."""

    def __init__(self, *rounds, does, back=None):
        self.rounds, self.does, self.back, self.asked = rounds, does, back, []

    def look(self, records, past, *, before, after):
        self.asked.append(
            (len(records), [len(some) for some in past], sorted(before), sorted(after))
        )
        if len(records) not in self.rounds:
            return []
        back = self.back or [len(records)]
        does = {"stops": self.does == "stops", "rolls_back": back if self.does != "stops" else []}
        return [{"alarm": "scripted", "value": 2.0, "limit": 1.0, "says": "it is bad", **does}]


@pytest.fixture(scope="session")
def alarmed():
    """Make a `Watch`: `alarmed(2, does="stops")` raises an alarm in round 2."""
    return Alarmed
