"""A run that dies anywhere and goes on ends in the same bits as one that never did."""

import json

import pytest
import torch

from eva import offline
from eva.alarms import Limit, Watcher
from eva.constraints import KINDS, dress
from eva.creator.creator import EvaCreator
from eva.creator.gates.duplicate import Duplicate
from eva.creator.gates.length_band import LengthBand
from eva.creator.informativeness import METRICS
from eva.creator.rules import RuleEvolver
from eva.creator.sampling import SAMPLERS
from eva.engines.local import LocalEngine, LocalSettings
from eva.engines.lora import LoraSettings
from eva.engines.policy import load_policy
from eva.errors import RunError
from eva.rng import Streams
from eva.runs import faults
from eva.runs.durable import Files
from eva.runs.folder import RunFolder
from eva.solver.fitting import FitSettings
from eva.solver.objectives import make_objective
from eva.solver.pairs import PairSettings
from eva.solver.solver import PairSolver
from eva.types import Prompt, SamplingParams, Score, ScoredGroup

TIMES = {"time", "created", "seconds", "started", "finished", "host", "pid"}


class Vowels:
    """A reward with contrast on random text."""

    def score(self, groups):
        return [ScoredGroup(g, tuple(map(self._score, g.responses))) for g in groups]

    def _score(self, response):
        return Score(float(sum(token % 5 for token in response.token_ids)))


class Length:
    name = "length"

    def evaluate(self, policy, streams):
        prompts = [Prompt.of("How long is a piece of string?")]
        groups = policy.sample(prompts, SamplingParams(1, 0.0, 1.0, 6), streams)
        rows = [{"id": g.prompt.id, "text": g.responses[0].text} for g in groups]
        return {"rows": rows, "metrics": {"length/tokens": float(groups[0].generated_tokens)}}


class Nothing:
    def begin(self, stage, total, *, done=0, unit="prompts"):
        pass

    def advance(self, done, **figures):
        pass

    def end(self):
        pass


def human():
    subjects = ("rain", "bread", "chess", "bees", "kites", "ice")
    asked = [f"Tell me about {subject}." for subject in subjects]
    streams = Streams(0, 0, "test")
    return tuple(dress(Prompt.of(text), streams.of(text), kinds=tuple(KINDS)[:6]) for text in asked)


@pytest.fixture(scope="module")
def play(tiny_folder):
    """Play two rounds into a folder, from wherever it is."""
    torch.set_num_threads(1)
    settings = LocalSettings(lora=LoraSettings(rank=2, seed=3))
    engine = LocalEngine(load_policy(tiny_folder), settings)

    def played(path):
        solver = PairSolver(
            objective=make_objective("dpo", beta=0.1),
            fitting=FitSettings(epochs=2, batch_size=2, lr=1e-2, checkpoint_every=2),
            progress=Nothing(),
            pairs=PairSettings(truncated_chosen=True),
        )
        game = offline.Game(
            human=human(),
            engine=engine,
            reward=Vowels(),
            solver=solver,
            answers=SamplingParams(n=3, temperature=1.0, top_p=1.0, max_tokens=5),
            creator=EvaCreator(
                METRICS["a_min"],
                SAMPLERS["weighted"],
                RuleEvolver(),
                gates=(Duplicate(), LengthBand()),
                fraction=0.5,
                children=2,
            ),
            evaluators=(Length(),),
            watch=Watcher({"length": Limit(1.5)}),
            per_round=6,
            seed=5,
            chunk=3,
        )
        with RunFolder.create(path, {"test": 1}) as folder:
            for _ in offline.rounds(game, folder.journal(), until=2):
                pass

    return played


def snapshot(path):
    """Everything that a run left, but for times."""
    with RunFolder.open_readonly(path) as folder:
        tables = {
            name: [timeless(row) for row in folder.population.table(name)]
            for name in ("prompts", "scores", "informativeness", "refusals", "commits", "metrics")
        }
    files = {
        file.relative_to(path).as_posix(): file.read_bytes()
        for file in sorted(path.glob("rounds/**/*"))
        if file.is_file()
    }
    lines = (path / "metrics.jsonl").read_text().splitlines()
    return tables, files, [timeless(json.loads(line)) for line in lines]


def timeless(row):
    return {key: value for key, value in row.items() if key not in TIMES}


@pytest.fixture(scope="module")
def unbroken(play, tmp_path_factory):
    path = tmp_path_factory.mktemp("unbroken") / "run"
    play(path)
    return snapshot(path)


def test_the_unbroken_run_passes_every_kind_of_stage(unbroken):
    _, files, _ = unbroken
    names = " ".join(files)
    for stage in ("creator/answer", "creator/sample", "creator/evolve", "solver/pairs", "policy"):
        assert stage in names


POINTS = [
    *((f"{stage}:{step}", at) for stage in faults.STAGES for step in faults.STEPS for at in (1,)),
    *((f"solver/train:{step}", 3) for step in faults.STEPS),
    *((f"creator/mix:{step}", 1) for step in faults.STEPS),
    *((f"evaluate/length:{step}", 2) for step in faults.STEPS),
    *((f"record:{step}", 2) for step in faults.STEPS),
]


@pytest.mark.parametrize(("point", "at"), POINTS, ids=lambda value: str(value))
def test_a_crash_changes_nothing(point, at, play, unbroken, tmp_path):
    path = tmp_path / "run"
    with faults.armed(point, at) as fault, pytest.raises(faults.Crash):
        play(path)
    assert fault.passages == at
    play(path)
    tables, files, lines = snapshot(path)
    assert tables == unbroken[0]
    assert files.keys() == unbroken[1].keys()
    assert [name for name in files if files[name] != unbroken[1][name]] == []
    assert lines == unbroken[2]


def test_a_full_disk_keeps_the_last_good_state(play, unbroken, tmp_path, monkeypatch):
    path = tmp_path / "run"
    write = Files.write

    def full(self, name, data, *, stage):
        if stage == "solver/score":
            raise OSError(28, "No space left on device")
        return write(self, name, data, stage=stage)

    with monkeypatch.context() as patched:
        patched.setattr(Files, "write", full)
        with pytest.raises(RunError, match="No space left"):
            play(path)
    play(path)
    assert snapshot(path)[0] == unbroken[0]


def test_a_truncated_file_is_named(play, tmp_path):
    path = tmp_path / "run"
    with faults.armed("solver/train:before_work"), pytest.raises(faults.Crash):
        play(path)
    chunk = next(path.glob("rounds/001/solver/answer/*.parquet"))
    chunk.write_bytes(chunk.read_bytes()[:-20])
    with pytest.raises(RunError, match=chunk.name):
        play(path)
