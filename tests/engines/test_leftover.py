"""Servers end with the process that started them, however that ends."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from eva.engines.leftover import NOTE, end_all, end_left_over, marked, unwatch, watch

# has a folder watched, starts its "server", says its number, and waits to be killed; either of
# the two signs by which the server is known is enough
STARTER = """
import pathlib, subprocess, sys, time
from eva.engines.leftover import NOTE, marked, watch

folder, sign = pathlib.Path(sys.argv[1]), sys.argv[2]
watch(folder)
sleeping = [sys.executable, "-c", "import time; time.sleep(60)", str(folder / "model")]
env = marked(folder) if sign == "mark" else None
server = subprocess.Popen(sleeping, start_new_session=True, env=env)
if sign == "note":
    (folder / NOTE).write_text(str(server.pid))
print(server.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("sign", ["mark", "note"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_server_ends_when_whoever_started_it_is_killed(tmp_path, how, sign):
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path), sign], stdout=subprocess.PIPE, text=True
    )
    server = psutil.Process(int(starter.stdout.readline()))
    starter.send_signal(how)
    starter.communicate()
    server.wait(20)
    assert not server.is_running()


def test_a_temporary_folder_goes_with_whoever_made_it(tmp_path):
    place = tmp_path / "place"
    (place / "served").mkdir(parents=True)
    script = (
        "import sys; from pathlib import Path; from eva.engines.leftover import watch\n"
        "folder = Path(sys.argv[1]); watcher = watch(folder, remove=folder.parent)\n"
        "print(watcher.pid, flush=True); sys.stdin.read()"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", script, str(place / "served")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    watcher = psutil.Process(int(starter.stdout.readline()))
    starter.kill()
    starter.communicate()
    psutil.wait_procs([watcher], timeout=20)
    assert not place.exists()


def test_a_watch_that_is_over_ends_nothing(tmp_path):
    watcher = watch(tmp_path)
    assert watcher.poll() is None
    (tmp_path / NOTE).write_text(str(os.getpid()))
    unwatch(watcher)
    assert watcher.returncode is not None
    end_left_over(tmp_path)  # not a server of this folder: this process lives on


def test_the_server_of_another_folder_is_left_alone(tmp_path):
    sleeping = [sys.executable, "-c", "import time; time.sleep(60)"]
    server = subprocess.Popen(sleeping, env=marked(tmp_path / "other"), start_new_session=True)
    end_left_over(tmp_path)
    assert server.poll() is None
    end_left_over(tmp_path / "other")
    server.wait(20)
    assert not psutil.pid_exists(server.pid)


def test_what_a_server_started_ends_although_the_server_has():
    script = "import subprocess, sys; print(subprocess.Popen(sys.argv[1:]).pid, flush=True)"
    sleeping = [sys.executable, "-c", "import time; time.sleep(60)"]
    server = subprocess.Popen(
        [sys.executable, "-c", script, *sleeping],
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    child = psutil.Process(int(server.stdout.readline()))
    server.wait()
    end_all(server.pid)
    server.stdout.close()
    assert not child.is_running()
