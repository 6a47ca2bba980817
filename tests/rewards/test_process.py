from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time

import pytest

from eva.errors import ConfigError, DataError
from eva.rewards import process
from eva.rewards.process import Worker

FUNCTIONS = """
import os, signal, subprocess, sys, threading, time

def echo(response):
    print("to standard output", flush=True)
    print("to standard error", file=sys.stderr, flush=True)
    return float(response)

def trouble(response):
    if response == "hang":
        time.sleep(1000)
    if response == "leave":
        print("I am off", flush=True)
        os._exit(7)
    if response == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if response == "child":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
        with open(CHILD, "w") as file:
            file.write(str(child.pid))
        time.sleep(1000)
    if response == "asks":
        input()
    return float(os.getpid())
"""


@pytest.fixture
def functions(tmp_path):
    file = tmp_path / "functions.py"
    file.write_text(FUNCTIONS.replace("CHILD", repr(str(tmp_path / "child"))))
    return file


def ask(worker, response, seconds=60.0):
    return worker.ask({"items": [{"prompt": "", "response": response}]}, seconds=seconds)


def alive(pid):
    """Whether a process runs; one that only waits to be collected does not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pid):
    for _ in range(600):
        if not alive(pid):
            return True
        time.sleep(0.05)
    return False


def test_what_the_function_prints_goes_to_the_log_and_not_into_the_reply(functions, caplog):
    caplog.set_level(logging.INFO, logger="eva.rewards.process")
    worker = Worker(f"{functions}:echo")
    assert ask(worker, "1.5") == {"values": [1.5]}
    assert ask(worker, "2.5") == {"values": [2.5]}
    worker.close()
    words = [record.getMessage() for record in caplog.records]
    assert words.count("reward function: to standard output") == 2
    assert words.count("reward function: to standard error") == 2


def test_a_long_text_of_any_characters_comes_through(functions):
    worker = Worker(f"{functions}:echo")
    reply = ask(worker, "1" * 10 + "\u2028\n\ud800" * 300_000)
    assert reply["raised"].startswith("ValueError: could not convert string to float")
    assert len(reply["raised"]) == 1000
    worker.close()


def test_a_hang_ends_with_everything_that_the_function_started(functions, tmp_path):
    worker = Worker(f"{functions}:trouble")
    (pid,) = ask(worker, "")["values"]
    with pytest.raises(TimeoutError, match="no reply within 3 s; the worker was killed"):
        ask(worker, "child", seconds=3)
    assert gone(int(pid))
    assert gone(int((tmp_path / "child").read_text()))


@pytest.mark.parametrize(
    ("response", "words"),
    [("leave", r"exit code 7\); its last words: I am off"), ("crash", r"\(SIGSEGV\)")],
)
def test_the_end_of_a_worker_says_how_it_ended(functions, response, words):
    worker = Worker(f"{functions}:trouble")
    with pytest.raises(ConnectionError, match=words):
        ask(worker, response)


def test_a_function_that_asks_the_terminal_gets_nothing(functions):
    worker = Worker(f"{functions}:trouble")
    assert ask(worker, "asks")["raised"].startswith("EOFError")
    worker.close()


def test_a_worker_ends_when_nobody_holds_it(functions):
    worker = Worker(f"{functions}:trouble")
    (pid,) = ask(worker, "")["values"]
    assert alive(int(pid))
    del worker
    assert gone(int(pid))


def test_a_worker_ends_when_the_driver_is_killed(functions):
    code = (
        "import sys; from eva.rewards.process import Worker\n"
        "worker = Worker(sys.argv[1])\n"
        "item = {'prompt': '', 'response': ''}\n"
        "print(*worker.ask({'items': [item]}, seconds=60)['values'], flush=True)\n"
        "worker.ask({'items': [item | {'response': 'hang'}]}, seconds=600)\n"
    )
    command = [sys.executable, "-c", code, f"{functions}:trouble"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        pid = int(float(driver.stdout.readline()))
        os.kill(driver.pid, signal.SIGKILL)
    assert gone(pid)


def test_modules_that_the_driver_finds_the_worker_finds_too(tmp_path, monkeypatch):
    (tmp_path / "only_the_driver_knows.py").write_text("def f(response): return 1")
    monkeypatch.syspath_prepend(tmp_path)
    worker = Worker("only_the_driver_knows:f")
    assert ask(worker, "") == {"values": [1.0]}
    worker.close()


@pytest.mark.parametrize(
    ("body", "spec", "words"),
    [
        ("import nowhere_to_be_found", "f", "ModuleNotFoundError: .*nowhere_to_be_found"),
        ("def ff(response): return 1", "f", "unknown function 'f': did you mean 'ff'"),
        ("def f(text): return 1", "f", "expected .prompt, response. or"),
        ("raise SystemExit(3)", "f", "SystemExit: 3"),
        ("import os; os._exit(3)", "f", "exit code 3"),
    ],
)
def test_a_function_that_cannot_be_had_is_an_error_that_names_it(tmp_path, body, spec, words):
    file = tmp_path / "broken.py"
    file.write_text(body)
    with pytest.raises(ConfigError, match=rf"(?s)broken.py:{spec}'.*{words}"):
        Worker(f"{file}:{spec}")


def test_an_import_that_hangs_is_an_error_too(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "START_SECONDS", 3.0)
    file = tmp_path / "slow.py"
    file.write_text("import time; time.sleep(1000)")
    with pytest.raises(ConfigError, match="no reply within 3 s"):
        Worker(f"{file}:f")


def test_a_request_that_json_cannot_say_leaves_the_worker_running(functions):
    worker = Worker(f"{functions}:echo")
    with pytest.raises(DataError, match="not JSON serializable"):
        worker.ask({"items": [{"response": b"1"}]}, seconds=60.0)
    assert ask(worker, "2")["values"] == [2.0]
    worker.close()
