from __future__ import annotations

import pytest

from eva.rng import Streams
from eva.solver.fitting import FitSettings
from eva.solver.objectives import make_objective
from eva.solver.pairs import PairSettings
from eva.solver.solver import PairSolver
from eva.types import Example, Group, Prompt, Response, Score, ScoredGroup, Stage


class Recorder:
    """Engine, journal, checkpoints and progress in one; writes down what is asked of it."""

    def __init__(self, root):
        self.root, self.did, self.committed = root, [], {}

    def logprobs(self, examples, *, base=False):
        self.did.append(("logprobs", base))
        return [tuple((-1.0,) * len(ids) for ids in e.completions) for e in examples]

    def forward_backward(self, examples, objective, normaliser):
        return {"loss": float(len(examples))}

    def step(self, lr, clip):
        self.did.append("step")
        return 1.0

    def save(self, folder, *, optimiser=False):
        self.did.append(("save", optimiser))

    def checkpoints(self, stage):
        return Shelf(self, stage)

    def log(self, stage, metrics, *, step=None):
        self.did.append(("log", stage, step))

    def begin(self, stage, total, *, done=0, unit="prompts"):
        self.did.append(("begin", stage, total))

    def advance(self, done, **figures):
        pass

    def end(self):
        pass


class Shelf:
    def __init__(self, recorder, stage):
        self.recorder, self.stage = recorder, stage

    def latest(self):
        return self.recorder.committed.get(self.stage)

    def commit(self, step, write, *, final=False):
        folder = self.recorder.root / f"round-{self.stage.round}"
        write(folder)
        self.recorder.committed[self.stage] = step, folder
        return folder


def make_solver(recorder, **fitting):
    return PairSolver(
        objective=make_objective("dpo"),
        reference="previous",
        pairs=PairSettings(),
        fitting=FitSettings(**({"epochs": 3, "batch_size": 2} | fitting)),
        progress=recorder,
    )


def make_scored(*rewards):
    responses = tuple(Response("a", (10 + i, 2)) for i in range(len(rewards)))
    group = Group(Prompt.of(f"q{rewards}"), (1,), responses, "v")
    return ScoredGroup(group, tuple(Score(r) for r in rewards))


def test_a_round_from_scored_groups_to_a_committed_policy(tmp_path):
    recorder = Recorder(tmp_path)
    solver, streams = make_solver(recorder), Streams(0, 1, "solver/train")
    scored = [make_scored(0.0, 1.0), make_scored(1.0, 1.0), make_scored(0.0, 0.5, 2.0)]
    pairing = solver.pair(scored, Streams(0, 1, "solver/pairs"))
    assert [e.columns["reward_chosen"] for e in pairing.examples] == [1.0, 2.0]
    assert pairing.skipped == {"no_contrast": 1}
    assert pairing.figures["reward_margin"] == 1.5
    examples = solver.refer(recorder, pairing.examples)
    assert examples[0].reference == ((-1.0, -1.0), (-1.0, -1.0))
    summary = solver.train(recorder, examples, recorder, streams)
    stage = Stage(1, "solver/train")
    assert recorder.did == [
        ("logprobs", False),
        ("begin", stage, 3),
        *[entry for step in (1, 2, 3) for entry in ("step", ("log", stage, step))],
        ("save", False),
    ]
    assert recorder.committed[stage][0] == 3
    assert summary == {"updates": 3, "trained_tokens": 24}


def test_the_cost_is_what_training_counts(tmp_path):
    examples = [Example(f"p{i}", (1,), ((5, 2), (6, 7, 2))) for i in range(3)]
    recorder = Recorder(tmp_path)
    solver = make_solver(recorder)
    summary = solver.train(recorder, examples, recorder, Streams(0, 1, "solver/train"))
    assert solver.cost(examples) == summary["trained_tokens"] == 3 * 3 * 5


@pytest.mark.parametrize("keep", [True, False])
def test_the_optimiser_is_kept_where_rounds_carry_it(tmp_path, keep):
    recorder = Recorder(tmp_path)
    solver = make_solver(recorder, carry_optimiser=keep)
    assert solver.carries is keep
    solver.train(recorder, [Example("p", (1,), ((2,), (3,)))], recorder, Streams(0, 1, "t"))
    assert ("save", keep) in recorder.did
