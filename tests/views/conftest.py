"""Runs to look at: a scripted policy, everything else real, and texts as hostile as can be."""

import json

import numpy as np
import pytest

from eva import offline, online
from eva.app.load import parse_config
from eva.app.progress import Silent
from eva.creator.creator import EvaCreator
from eva.creator.informativeness import METRICS
from eva.creator.online import BufferCreator, OnlineSizes
from eva.creator.pace import AtOnce
from eva.creator.sampling import SAMPLERS
from eva.evals.heldout import constraint_labels, held_out
from eva.runs.folder import RunFolder
from eva.solver.fitting import FitSettings
from eva.solver.online import OaifLearner, make_policy_gradient_learner
from eva.solver.pairs import PairSettings
from eva.solver.solver import PairSolver
from eva.solver.updates import UpdateSettings
from eva.types import (
    Check,
    Group,
    Prompt,
    Proposal,
    Response,
    SamplingParams,
    Score,
    ScoredGroup,
)

HOSTILE = (
    "<script>alert(1)</script>",
    "</style></pre><img src=x onerror=alert(1)>",
    '"><a href="javascript:alert(1)">x</a>',
    "quotes ' and \" and & and &lt;b&gt;",
    "\u202eright to left\u202c, \u05e9\u05dc\u05d5\u05dd",
    "nul \x00, escape \x1b[31mred\x1b[0m, bell \x07",
    "long " + "word " * 20_000,
)


class ScriptedEngine:
    """Answers with random tokens; its only weight counts the examples it was trained on."""

    version = property(lambda self: f"/models/scripted+{self.weight}")

    def __init__(self):
        self.weight = self.pending = 0

    def sample(self, prompts, params, streams):
        return [self._answer(prompt, params, streams) for prompt in prompts]

    def _answer(self, prompt, params, streams):
        responses = []
        for i in range(params.n):
            rng = streams.of(prompt.id, i)
            ids = tuple(int(x) + self.weight // 20 for x in rng.integers(1, 50, size=5))
            text = f"<script>answer({ids[0]})</script> {' '.join(map(str, ids))}"
            finish = "length" if ids[0] % 5 == 0 else "stop"
            responses.append(Response(text, ids, (-1.0,) * len(ids), finish))
        return Group(prompt, (1, 2), tuple(responses), self.version)

    def logprobs(self, examples, *, base=False):
        return [tuple((-1.0,) * len(ids) for ids in e.completions) for e in examples]

    def forward_backward(self, examples, objective, normaliser):
        self.pending += len(examples)
        n = float(len(examples))
        return {"loss": n / (1 + self.weight), "margin": n, "accuracy": n / 2}

    def step(self, lr, clip):
        self.weight += self.pending
        self.pending = 0
        return 1.0

    def save(self, folder, *, optimiser=False):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "weight.json").write_text(json.dumps(self.weight))

    def load(self, folder, *, optimiser=False):
        self.weight = 0 if folder is None else json.loads((folder / "weight.json").read_text())


class TokenMean:
    """A reward without ties to speak of; one answer in 25 has none."""

    def score(self, groups):
        return [ScoredGroup(g, tuple(map(self._score, g.responses))) for g in groups]

    def _score(self, response):
        if response.token_ids[-1] % 25 == 0:
            return Score(None, "timeout")
        return Score(float(np.mean(response.token_ids)) / 50)


class Suffix:
    """Writes children that say where they are from; every third proposal of a step is none."""

    chain = True

    def propose(self, parents, step, streams):
        return [self._child(i, parent, step, streams) for i, parent in enumerate(parents)]

    def _child(self, i, parent, step, streams):
        if (i + step) % 3 == 2:
            reason = "no idea <script>"
            return Proposal(parent, "deepen", None, reason=reason, text=HOSTILE[0])
        operator = ("constraints", "deepen")[step % 2]
        child = parent.rewritten(
            f"{parent.text[-60:]} and step {step} of round {streams.round}",
            operator=operator,
            born=streams.round,
            checks=(Check("min_words", {"level": step + 1, "words": 10}),),
        )
        return Proposal(parent, operator, child, generated_tokens=5)


def prompts(n, start=0):
    return tuple(
        Prompt.of(f"Tell me of number {i}: {HOSTILE[i % len(HOSTILE)]}")
        for i in range(start, start + n)
    )


def config(**changes):
    data = {
        "rounds": 2,
        "policy": {"model": "org/<b>scripted"},
        "prompts": {"source": "people.jsonl", "per_round": 20},
        "reward": {"name": "python", "function": "rewards.py:score"},
        "solver": {"objective": "dpo"},
    }
    return parse_config(data | changes).model_dump(mode="json")


def game(**changes):
    kinds = ("min_words", "title", "numbered")
    measured = [
        Prompt.of(f"Measure {i}: {HOSTILE[i % 6]}", checks=(Check(kinds[i % 3]),))
        for i in range(12)
    ]
    labels = constraint_labels({"min_words", "title"})
    parts = {
        "human": prompts(20),
        "engine": ScriptedEngine(),
        "reward": TokenMean(),
        "solver": PairSolver(
            objective=lambda *a: None,
            fitting=FitSettings(epochs=2, batch_size=4),
            pairs=PairSettings(),
            progress=Silent(),
        ),
        "answers": SamplingParams(n=4),
        "creator": EvaCreator(
            informativeness=METRICS["a_min"],
            sampler=SAMPLERS["weighted"],
            evolver=Suffix(),
            gates=(),
        ),
        "evaluators": (held_out(measured, TokenMean(), labels=labels),),
        "per_round": 20,
        "chunk": 6,
    }
    return offline.Game(**(parts | changes))


@pytest.fixture(scope="session")
def play(tmp_path_factory):
    """Play a scripted game into a new run folder: `play(rounds=2, **changes_of_the_game)`."""

    def played(*, rounds=2, finish=True, settings=None, **changes):
        path = tmp_path_factory.mktemp("runs") / "run"
        with RunFolder.create(path, config(**(settings or {}))) as folder:
            journal = folder.journal(progress=Silent())
            journal.set_aside("people.jsonl", [("line 3", "empty"), ("line <4>", "too long: 9")])
            if rounds:
                list(offline.rounds(game(**changes), journal, until=rounds))
            if finish:
                folder.finish()
        return path

    return played


# ── online ────────────────────────────────────────────────────────────────────────────────────

SIZES = {"batch": 4, "buffer": 12, "children": 2}
UPDATES = UpdateSettings(lr=1e-3)


def online_config(**changes):
    objective = changes.pop("objective", "rloo")
    sizes = {name: SIZES[name] for name in ("batch", "buffer")}
    data = {
        "schedule": "online",
        "solver": {"objective": objective},
        "creator": {"children": SIZES["children"]} | changes.pop("creator", {}),
        "online": sizes | {"steps": 6} | changes.pop("online", {}),
    }
    return config(**(data | changes))


def online_game(**changes):
    measured = [Prompt.of(f"Measure {i}: {HOSTILE[i % 6]}") for i in range(6)]
    human = changes.pop("human", prompts(20))
    creator = BufferCreator(
        human,
        informativeness=METRICS["a_avg"],
        sampler=SAMPLERS["greedy"],
        evolver=changes.pop("evolver", Suffix()),
        sizes=OnlineSizes(**(SIZES | changes.pop("sizes", {}))),
    )
    parts = {
        "human": human,
        "engine": ScriptedEngine(),
        "reward": TokenMean(),
        "answers": SamplingParams(n=4),
        "learner": make_policy_gradient_learner("rloo", updates=UPDATES),
        "creator": creator,
        "pace": AtOnce(),
        "evaluators": (held_out(measured, TokenMean(), labels=constraint_labels(set())),),
        "steps": 6,
        "total": 12,
        "commit_every": 2,
        "checkpoint_every": 4,
    }
    return online.Game(**(parts | changes))


@pytest.fixture(scope="session")
def play_online(tmp_path_factory):
    """Play a scripted game of online eva: `play_online(rounds=2, **changes_of_the_game)`."""

    def played(*, rounds=2, finish=True, settings=None, **changes):
        path = tmp_path_factory.mktemp("online") / "run"
        with RunFolder.create(path, online_config(**(settings or {}))) as folder:
            journal = folder.journal(progress=Silent())
            if rounds:
                list(online.rounds(online_game(**changes), journal, until=rounds))
            if finish:
                folder.finish()
        return path

    return played


@pytest.fixture(scope="session")
def finished_online(play_online):
    """A finished run of two rounds of six steps, through all three phases."""
    return play_online()


@pytest.fixture(scope="session")
def begun_online(play_online):
    """A run that was made, and stopped before its first step."""
    return play_online(rounds=0, finish=False)


class CutError(Exception):
    """Stops a game, as a kill would."""


class CutEngine(ScriptedEngine):
    """Fails in the fifth step."""

    def forward_backward(self, examples, objective, normaliser):
        if self.weight > 60:
            raise CutError
        return super().forward_backward(examples, objective, normaliser)


@pytest.fixture(scope="session")
def interrupted_online(play_online, tmp_path_factory):
    """A run that was cut off in its first round: four steps of it are committed."""
    path = tmp_path_factory.mktemp("cut") / "run"
    game = online_game(engine=CutEngine(), evaluators=())
    with RunFolder.create(path, online_config()) as folder:
        rounds = online.rounds(game, folder.journal(progress=Silent()), until=2)
        with pytest.raises(CutError):
            list(rounds)
    return path


@pytest.fixture(scope="session")
def static_online(play_online):
    """A baseline: human prompts over and over."""
    sizes = {"evolved": 0.0}
    return play_online(sizes=sizes, settings={"creator": {"name": "static"}})


@pytest.fixture(scope="session")
def oaif(play_online):
    """A run that trains on pairs of every step's answers."""
    learner = OaifLearner(
        objective=lambda *a: None, updates=UpdateSettings(seed=42), pairs=PairSettings()
    )
    return play_online(learner=learner, settings={"objective": "oaif"})


@pytest.fixture(scope="session")
def finished(play):
    """A finished run of three rounds, measured after each."""
    return play(rounds=3, evaluate_every_round=True, settings={"rounds": 3})


@pytest.fixture(scope="session")
def begun(play):
    """A run that was made, and stopped before its first round."""
    return play(rounds=0, finish=False)


@pytest.fixture(scope="session")
def interrupted(play):
    """A run with one round of two, never measured."""
    return play(rounds=1, finish=False, evaluators=())


@pytest.fixture(scope="session")
def static(play):
    """A baseline: the same human prompts in both rounds."""
    return play(creator=None, settings={"creator": {"name": "static"}})
