"""The command line as a user meets it: exit codes, no tracebacks, help that is there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from eva.app import cli
from eva.errors import AlarmError, ConfigError, DataError, RewardError, RunError

ROOT = Path(__file__).parents[2]
SMOKE = ROOT / "configs" / "smoke.toml"


def eva(*words, cwd=None):
    done = subprocess.run(
        [sys.executable, "-m", "eva", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_every_verb_has_help():
    commands = cli.app.registered_commands
    assert {command.name or command.callback.__name__ for command in commands} == {
        "quickstart",
        "new",
        "check",
        "probe",
        "run",
        "resume",
        "show",
        "compare",
        "report",
        "export",
        "list",
    }
    assert all(command.callback.__doc__ for command in commands)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("bad [red]config"), 2),
        (DataError("bad data"), 2),
        (RunError("locked"), 1),
        (RewardError("broken"), 1),
        (AlarmError("stopped after round 2"), 3),
        (KeyboardInterrupt(), 130),
    ],
)
def test_errors_have_exit_codes_and_keep_their_words(error, code, capsys):
    def verb():
        raise error

    assert cli.guarded(verb) == code
    assert str(error) in capsys.readouterr().err


def test_ctrl_c_in_a_command_says_how_to_go_on(monkeypatch, capsys):
    def interrupted(kind=""):
        raise KeyboardInterrupt

    monkeypatch.setattr("eva.views.parts.show", interrupted)
    assert cli.guarded(lambda: cli.app(["list"])) == 130
    said = capsys.readouterr().err
    assert "the same command goes on from there (or `eva resume RUN`, where it plays a run)" in said
    with pytest.raises(SystemExit, match="2"):
        cli.guarded(lambda: cli.app(["no-such-command"]))


def test_bugs_keep_their_traceback():
    def verb():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cli.guarded(verb)


def test_a_bad_config_names_every_fault_and_exits_with_2(tmp_path):
    config = tmp_path / "bad.toml"
    config.write_text(SMOKE.read_text().replace("rounds = 2", "rouns = 2\nseed2 = 1"))
    done = eva("run", config, "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "did you mean 'rounds'" in done.stderr
    assert "seed2" in done.stderr
    assert not (tmp_path / "run").exists()


def test_an_alarm_stops_a_run_which_goes_on_when_told(tmp_path):
    run = tmp_path / "run"
    overrides = ("rounds=3", "prompts.per_round=16", "alarms.diversity={action='stop',limit=0.0}")
    done = eva("run", SMOKE, "--out", run, "--quiet", "evaluation.when=never", *overrides)
    assert done.returncode == 3, done.stderr
    assert "alarm: stopped after round 2. diversity:" in done.stderr
    shown = eva("show", run).stdout
    assert "stopped by an alarm, 2 of 3 rounds" in shown
    assert f"eva resume {run} --past-alarms\n" in shown
    done = eva("resume", run, "--json")
    assert done.returncode == 3
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["status"] == "stopped"
    assert [a["stops"] for a in last["alarms"] if a["alarm"] == "diversity"] == [True]
    done = eva("resume", run, "--json", "--past-alarms")
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["status"] == "finished"
    assert [a["round"] for a in last["alarms"] if a["alarm"] == "diversity"] == [2, 3]
    assert "alarm: round 2, diversity: of the runs of three words" in eva("show", run).stdout
    assert eva("report", run).returncode == 0
    assert "round 2, diversity: of the runs of three words" in (run / "report.html").read_text()


def test_run_show_report_export_and_list(tmp_path):
    run = tmp_path / "run"
    done = eva("run", SMOKE, "--out", run, "--json", "rounds=2")
    assert done.returncode == 0, done.stderr
    assert '"stage": "solver/train"' in done.stdout
    again = eva("resume", run)
    assert again.returncode == 0
    assert "This run was finished before, and nothing was played." in again.stdout
    assert eva("run", SMOKE, "--out", run, "--quiet", "rounds=2").stdout == ""
    shown = eva("show", run)
    assert shown.returncode == 0, shown.stderr
    assert eva("show", run, "--prompt", "no-such-id").returncode == 2
    assert eva("report", run).returncode == 0
    assert (run / "report.html").stat().st_size > 5_000
    for what, name in (("model", "model"), ("pairs", "pairs.parquet"), ("prompts", "new.jsonl")):
        done = eva("export", run, what, tmp_path / name)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / name).exists()
    assert eva("list", "samplers").returncode == 0
    assert eva("list", "sampler").returncode in {0, 2}


def test_new_writes_a_config_that_checks(tmp_path):
    assert eva("new", "game.toml", "--template", "smoke", cwd=tmp_path).returncode == 0
    done = eva("check", "game.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert eva("new", "game.toml", cwd=tmp_path).returncode == 2


def test_modes():
    assert cli._mode(quiet=True, as_json=False) == "quiet"
    assert cli._mode(quiet=True, as_json=True) == "json"
    assert cli._mode(quiet=False, as_json=False) == "live"


def test_version(capsys):
    with pytest.raises(typer.Exit):
        cli._version(True)
    assert capsys.readouterr().out.startswith("eva ")
