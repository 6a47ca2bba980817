import dataclasses
import json
import sys

import pytest
import torch
from safetensors.torch import load_file

from eva.app.build import solver
from eva.app.launch import launched
from eva.app.load import parse_config
from eva.app.policy import local_engine
from eva.app.progress import Silent
from eva.errors import SolverError
from eva.rng import Streams
from eva.runs.memory import MemoryJournal
from eva.types import Prompt, SamplingParams, Score, ScoredGroup, Stage

STREAMS = Streams(1, 1, "solver/train")
STAGE = Stage(1, "solver/train")
GAME = {
    "seed": 1,
    "policy": {"model": "random:tiny", "device": "cpu"},
    "prompts": {"source": "unused.jsonl"},
    "reward": {"name": "python", "function": "m:f"},
    "solver": {
        "objective": {"name": "dpo", "beta": 0.1},
        "pairs": {"truncated_chosen": True},
        "learning_rate": 1e-2,
        "batch_size": 3,
    },
    "run": {"checkpoint_every": 1, "threads": 1, "processes": 2},
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EVA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def game_of(**run):
    return parse_config(GAME | {"run": GAME["run"] | run})


def rollouts(engine, parts):
    """Pairs of sampled answers; the richer in different letters is chosen."""
    prompts = [Prompt.of(f"Say the number {number}.") for number in range(7)]
    groups = engine.sample(prompts, SamplingParams(4, 1.0, 1.0, 24), Streams(1, 1, "answer"))
    scored = [
        ScoredGroup(g, tuple(Score(float(len(set(r.text)))) for r in g.responses)) for g in groups
    ]
    pairing = parts.pair(scored, Streams(1, 1, "solver/pairs"))
    assert len(pairing.examples) > 4
    return parts.refer(engine, pairing.examples)


def alone(game):
    """Train in this process; return the examples, the summary and the journal."""
    engine, parts = local_engine(game), solver(game, Silent())
    examples, journal = rollouts(engine, parts), MemoryJournal()
    summary = parts.train(engine, examples, journal, STREAMS)
    return examples, summary, journal


def weights(journal):
    step, folder = journal.checkpoints(STAGE).latest()
    return step, load_file(folder / "model.safetensors")


def agree(ours, theirs):
    for name, wanted in theirs.items():
        torch.testing.assert_close(ours[name], wanted, rtol=0, atol=1e-5)


def training_metrics(journal):
    return [
        (row["step"], row["metrics"])
        for row in journal.population.table("metrics")
        if row["step"] is not None
    ]


def test_two_processes_train_as_one_does(tmp_path):
    game = game_of()
    examples, summary, theirs = alone(game)
    engine, ours = local_engine(game), MemoryJournal()
    launcher = launched(solver(game, Silent()), game, tmp_path / "run")
    assert launcher.train(engine, examples, ours, STREAMS) == summary
    assert weights(ours)[0] == weights(theirs)[0] == summary["updates"]
    agree(weights(ours)[1], weights(theirs)[1])
    agree({n: p.detach() for n, p in engine.policy.model.named_parameters()}, weights(ours)[1])
    # the policy did change, and metrics of every update came back
    assert engine.version != local_engine(game).version
    ours_logged, theirs_logged = training_metrics(ours), training_metrics(theirs)
    assert [step for step, _ in ours_logged] == [step for step, _ in theirs_logged]
    for (_, ours_m), (_, theirs_m) in zip(ours_logged, theirs_logged, strict=True):
        assert ours_m == pytest.approx(theirs_m, rel=1e-4, abs=1e-6)
    assert not list((tmp_path / "run/rounds/001").glob("train_job*"))
    # once committed, the round is not trained again: nothing can be launched here
    idle = launched(solver(game, Silent()), game, tmp_path / "nowhere")
    (tmp_path / "nowhere/rounds/001/train_job").mkdir(parents=True)
    assert idle.train(local_engine(game), examples, ours, STREAMS) == summary
    # nor does what a kill left behind the last checkpoint stay
    assert not (tmp_path / "nowhere/rounds/001/train_job").exists()


def test_a_process_that_dies_is_quoted_and_the_stage_resumes(tmp_path):
    game = game_of(strategy="fsdp2")
    examples, summary, theirs = alone(game)
    dying = tmp_path / "dying.py"
    dying.write_text(
        "import os, sys\n"
        "from eva.app import training_process\n"
        "from eva.engines.local import LocalEngine\n"
        "step = LocalEngine.step\n"
        "def mortal(self, lr, clip):\n"
        "    if os.environ['RANK'] == '1' and self._history.updates == 2:\n"
        "        raise OSError('the second process fell over')\n"
        "    return step(self, lr, clip)\n"
        "LocalEngine.step = mortal\n"
        "raise SystemExit(training_process.main(sys.argv[1:]))\n"
    )
    whole = launched(solver(game, Silent()), game, tmp_path / "run")
    broken = dataclasses.replace(whole, entry=(str(dying),))
    ours = MemoryJournal()
    with pytest.raises(SolverError, match="the second process fell over"):
        broken.train(local_engine(game), examples, ours, STREAMS)
    assert ours.checkpoints(STAGE).latest()[0] == 2
    assert whole.train(local_engine(game), examples, ours, STREAMS) == summary
    agree(weights(ours)[1], weights(theirs)[1])
    assert [step for step, _ in training_metrics(ours)] == list(range(1, summary["updates"] + 1))


def test_a_process_that_is_killed_is_named(tmp_path):
    game = game_of()
    engine, parts = local_engine(game), solver(game, Silent())
    examples, journal = rollouts(engine, parts), MemoryJournal()
    dying = tmp_path / "dying.py"
    dying.write_text(
        "import os, signal, sys\n"
        "from eva.app import training_process\n"
        "from eva.engines.local import LocalEngine\n"
        "step = LocalEngine.step\n"
        "def mortal(self, lr, clip):\n"
        "    if os.environ['RANK'] == '1':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return step(self, lr, clip)\n"
        "LocalEngine.step = mortal\n"
        "raise SystemExit(training_process.main(sys.argv[1:]))\n"
    )
    broken = dataclasses.replace(launched(parts, game, tmp_path / "run"), entry=(str(dying),))
    with pytest.raises(SolverError, match="process 1 was ended by SIGKILL, as a system does"):
        broken.train(engine, examples, journal, STREAMS)


def test_a_launcher_that_is_killed_is_named(tmp_path, monkeypatch):
    game = game_of()
    engine, parts = local_engine(game), solver(game, Silent())
    examples, journal = rollouts(engine, parts), MemoryJournal()
    killed = tmp_path / "python"
    killed.write_text("#!/bin/sh\nkill -9 $$\n")
    killed.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(killed))
    with pytest.raises(SolverError, match="the launcher was ended by SIGKILL"):
        launched(parts, game, tmp_path / "run").train(engine, examples, journal, STREAMS)


def test_the_last_words_of_a_launcher_that_never_got_that_far(tmp_path):
    game = game_of()
    engine, parts = local_engine(game), solver(game, Silent())
    examples, journal = rollouts(engine, parts), MemoryJournal()
    stub = dataclasses.replace(
        launched(parts, game, tmp_path / "run"), entry=(str(tmp_path / "no_such_file.py"),)
    )
    with pytest.raises(SolverError, match="no_such_file"):
        stub.train(engine, examples, journal, STREAMS)
    assert journal.checkpoints(STAGE).latest() is None
    job = json.loads((tmp_path / "run/rounds/001/train_job/job.json").read_text())
    assert parse_config(job["game"]) == game


def test_processes_that_end_too_early_leave_no_finished_round(tmp_path):
    game = game_of(processes=1)
    quitter = tmp_path / "quitter.py"
    quitter.write_text(
        "import os, sys\n"
        "from eva.app import training_process\n"
        "from eva.engines.local import LocalEngine\n"
        "step = LocalEngine.step\n"
        "def weary(self, lr, clip):\n"
        "    if self._history.updates == 1:\n"
        "        sys.stdout.flush()\n"
        "        os._exit(0)\n"
        "    return step(self, lr, clip)\n"
        "LocalEngine.step = weary\n"
        "raise SystemExit(training_process.main(sys.argv[1:]))\n"
    )
    engine, parts = local_engine(game), solver(game, Silent())
    examples, journal = rollouts(engine, parts), MemoryJournal()
    whole = launched(parts, game, tmp_path / "run")
    with pytest.raises(SolverError, match="without an error after 1 of"):
        dataclasses.replace(whole, entry=(str(quitter),)).train(engine, examples, journal, STREAMS)
    assert journal.checkpoints(STAGE).latest()[0] == 1
