"""Whole runs of the smoke configs: in this process, as a command, killed, and from outside."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

import eva
from eva.app import play
from eva.app.build import Parts
from eva.app.load import load_config
from eva.errors import AlarmError, ConfigError, DataError, GenerationError, RunError
from eva.runs import faults
from eva.runs.folder import RunFolder
from eva.views.findings import Findings

ROOT = Path(__file__).parents[2]
SMOKE = ROOT / "configs" / "smoke.toml"
ONLINE = ROOT / "configs" / "smoke-online.toml"
TIMES = {"time", "created", "seconds"}


def snapshot(path):
    with RunFolder.open_readonly(path) as folder:
        tables = {
            name: [
                {key: value for key, value in row.items() if key not in TIMES}
                for row in folder.population.table(name)
            ]
            for name in ("prompts", "scores", "informativeness", "refusals", "commits", "metrics")
        }
    weights = sorted(path.glob("rounds/*/policy/*.safetensors"))
    return tables, [(file.relative_to(path), file.read_bytes()) for file in weights]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "unbroken"
    play.run(load_config(SMOKE), path)
    return path


@pytest.fixture(scope="module")
def unbroken_online(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "online"
    play.run(load_config(ONLINE), path)
    return path


def test_a_run_leaves_what_the_docs_promise(unbroken):
    for name in (
        "run.json",
        "population.sqlite",
        "metrics.jsonl",
        "rounds/001/record.json",
        "rounds/002/creator/answer/00000.parquet",
        "rounds/002/policy/model.safetensors",
    ):
        assert (unbroken / name).exists(), name
    assert json.loads((unbroken / "run.json").read_text())["status"] == "finished"


def test_a_policys_server_ends_with_the_run_however_that_ends(tmp_path, monkeypatch):
    ended = []

    class Served:
        def close(self):
            ended.append(self)

    def broken(parts):
        raise GenerationError("no")

    monkeypatch.setattr("eva.app.build.served_engine", lambda *parts: Served())
    monkeypatch.setattr(Parts, "game", broken)
    serve = "policy.serve={command=['x','{model}','{port}']}"
    with pytest.raises(GenerationError):
        play.run(load_config(SMOKE, [serve]), tmp_path / "run")
    assert len(ended) == 1


def test_the_creator_and_both_rewards_took_part(unbroken):
    with RunFolder.open_readonly(unbroken) as folder:
        records = folder.records()
        first = folder.population.table("prompts")[0]
    assert records[1]["counts"]["evolved"] > 0
    assert records[1]["solver"]["pairs"] > 0
    assert first["checks"]


def test_an_online_run_goes_through_its_phases_and_leaves_its_files(unbroken_online):
    for name in (
        "rounds/001/online/steps/00000.parquet",
        "rounds/002/policy/model.safetensors",
        "rounds/002/policy/creator.safetensors",
    ):
        assert (unbroken_online / name).exists(), name
    with RunFolder.open_readonly(unbroken_online) as folder:
        first, second = folder.records()
    phases = Counter(first["creator"]["phases"]) + Counter(second["creator"]["phases"])
    assert set(phases) == {"warm-up", "mix-up", "bootstrap"}
    assert second["counts"]["evolved"] > 0
    assert first["solver"]["training"]["updates"] > 6


def test_a_finished_run_is_left_alone(unbroken):
    before = snapshot(unbroken)
    play.resume(unbroken)
    assert snapshot(unbroken) == before


def test_running_a_finished_game_again_changes_nothing(unbroken):
    before = snapshot(unbroken)
    assert play.run(load_config(SMOKE), unbroken) == unbroken
    assert snapshot(unbroken) == before


def test_a_folder_that_cannot_be_made_is_an_error_of_evas():
    with pytest.raises(RunError, match="cannot make a run folder"):
        play.run(load_config(SMOKE), "/proc/nowhere/run")


def test_a_bad_reward_leaves_no_folder_behind(tmp_path):
    reward = "reward={name='python',function='no_such_module:f'}"
    with pytest.raises(ConfigError, match="no_such_module"):
        play.run(load_config(SMOKE, [reward]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_another_config_is_refused_and_nothing_overwritten(unbroken):
    before = snapshot(unbroken)
    with pytest.raises(RunError, match="seed"):
        play.run(load_config(SMOKE, ["seed=7"]), unbroken)
    assert snapshot(unbroken) == before


def test_eva_run_is_the_same_function():
    assert eva.run is play.run


def command(path, config=SMOKE):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "eva", "run", str(config), "--out", str(path), "--quiet"],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def commits(path):
    try:
        address = f"file:{path / 'population.sqlite'}?mode=ro"
        with closing(sqlite3.connect(address, uri=True)) as database:
            return database.execute("SELECT COUNT(*) FROM commits").fetchone()[0]
    except sqlite3.Error:
        return 0


@pytest.mark.parametrize("config", [SMOKE, ONLINE], ids=lambda path: path.stem)
def test_six_kills_change_nothing(config, request, tmp_path):
    whole = request.getfixturevalue("unbroken" if config == SMOKE else "unbroken_online")
    path = tmp_path / "run"
    total = commits(whole)
    for kill in range(6):
        process = command(path, config)
        enough = 1 + kill * (total - 4) // 6
        while commits(path) < enough and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stderr.close()
        assert commits(path) < total
    last = command(path, config)
    assert last.wait() == 0, last.stderr.read()
    last.stderr.close()
    assert snapshot(path) == snapshot(whole)


def test_a_run_that_went_past_an_alarm_goes_on_without_being_told_again(tmp_path):
    alarm = "alarms.diversity={action='stop',limit=0.0}"
    overrides = ("rounds=3", "prompts.per_round=16", "evaluation.when=never", alarm)
    config = load_config(SMOKE, list(overrides))
    with pytest.raises(AlarmError):
        play.run(config, tmp_path)
    with pytest.raises(AlarmError):
        play.resume(tmp_path)
    assert Findings.read(tmp_path).stopped
    with faults.armed("creator/answer:before_work"), pytest.raises(faults.Crash):
        play.resume(tmp_path, past_alarms=True)
    assert not Findings.read(tmp_path).stopped
    play.resume(tmp_path)
    assert Findings.read(tmp_path).status == "finished, 3 of 3 rounds"


def test_a_second_process_is_refused(unbroken, tmp_path):
    with RunFolder.create(tmp_path / "run", load_config(SMOKE).model_dump(mode="json")):
        second = command(tmp_path / "run")
        _, error = second.communicate()
    assert second.returncode == 1
    assert str(os.getpid()) in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("override", "error", "says"),
    [
        ("prompts.source=missing.jsonl", DataError, r"missing\.jsonl"),
        ("prompts.column=promt", DataError, "did you mean 'prompt'"),
        ("policy.model=/no/such/folder", ConfigError, "/no/such/folder"),
        ("policy.device=cuda:77", ConfigError, "cuda"),
        ("answers.max_tokens=100000", ConfigError, "answers.max_tokens = 100000"),
        ("policy.lora={targets=['nope']}", ConfigError, "nope"),
    ],
)
def test_bad_input_is_named_before_anything_is_played(override, error, says, tmp_path):
    with pytest.raises(error, match=says):
        play.run(load_config(SMOKE, [override]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_bad_prompts_are_set_aside_and_listed(tmp_path):
    source = tmp_path / "prompts.jsonl"
    good = [json.dumps({"prompt": f"Say something about number {i}."}) for i in range(30)]
    source.write_text("\n".join([*good, '{"prompt": ""}', good[0]]) + "\n")
    path = tmp_path / "run"
    play.run(load_config(SMOKE, [f"prompts.source={source}", "rounds=1"]), path)
    with RunFolder.open_readonly(path) as folder:
        aside = folder.population.table("set_aside")
    assert [(row["source"], row["place"], row["reason"].split(":")[0]) for row in aside] == [
        (str(source), "line 31", "empty"),
        (str(source), "line 32", "duplicate"),
    ]
