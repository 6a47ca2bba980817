from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from transformers import get_scheduler

from eva.errors import ConfigError, SolverError
from eva.rng import Streams
from eva.solver.fitting import FitResult, FitSettings, fit, plan_updates
from eva.solver.objectives import dpo
from eva.solver.reference import attach_reference
from eva.types import Example, Ragged, Stage

STREAMS = Streams(7, 2, "train")
VOCABULARY = 5
OBJECTIVE = partial(dpo, beta=0.5)


class Killed(BaseException):
    """The process dies here."""


class Unigram:
    """An engine whose policy is one softmax over tokens; dies at its `fatal`-th call, if any."""

    def __init__(self, fatal=None):
        self.logits = torch.nn.Parameter(torch.linspace(-1, 1, VOCABULARY, dtype=torch.float64))
        self.optimiser = torch.optim.Adam([self.logits])
        self.calls, self.fatal, self.norms = 0, fatal, []

    def _live(self):
        self.calls += 1
        if self.calls == self.fatal:
            raise Killed

    def _slots(self, examples):
        logps = self.logits.log_softmax(-1)
        slots = []
        for rows in zip(*(e.completions for e in examples), strict=True):
            flat = torch.tensor([token for row in rows for token in row])
            slots.append(Ragged(logps[flat], tuple(map(len, rows))))
        return tuple(slots)

    def logprobs(self, examples, *, base=False):
        with torch.no_grad():
            logps = self.logits.log_softmax(-1).tolist()
        return [tuple(tuple(logps[t] for t in row) for row in e.completions) for e in examples]

    def forward_backward(self, examples, objective, normaliser):
        self._live()
        sums = {}
        for example in examples:
            rows = zip(example.reference, example.completions, strict=True)
            fixed = tuple(Ragged(torch.tensor(r, dtype=torch.float64), (len(c),)) for r, c in rows)
            loss = objective(self._slots([example]), fixed, {})
            (loss.values.sum() / normaliser).backward()
            for name, value in {**loss.metrics, "loss": loss.values.detach()}.items():
                sums[name] = sums.get(name, 0.0) + value.item()
        return sums

    def step(self, lr, clip):
        self._live()
        norm = float(torch.nn.utils.clip_grad_norm_([self.logits], clip or math.inf))
        self.optimiser.param_groups[0]["lr"] = lr
        self.optimiser.step()
        self.optimiser.zero_grad()
        return norm

    def save(self, folder, *, optimiser=False):
        torch.save(self.logits.data, folder / "weights")
        self._live()
        if optimiser:
            torch.save(self.optimiser.state_dict(), folder / "optimiser")

    def load(self, folder, *, optimiser=False):
        self._live()
        self.logits.data = torch.load(folder / "weights")
        self.optimiser = torch.optim.Adam([self.logits])
        if optimiser:
            self.optimiser.load_state_dict(torch.load(folder / "optimiser"))


class Disk:
    """What outlives a process: committed checkpoints, and the metrics committed with them."""

    def __init__(self, root):
        self.root, self.attempts, self.commits = root, 0, []
        self.pending, self.logged = [], []

    def latest(self):
        self.pending = []
        return self.commits[-1][:2] if self.commits else None

    def commit(self, step, write, *, final=False):
        self.attempts += 1
        folder = self.root / f"attempt-{self.attempts}"
        folder.mkdir()
        write(folder)
        self.commits.append((step, folder, final))
        self.logged += self.pending
        self.pending = []
        return folder

    def log(self, metrics, *, step):
        self.pending.append((step, dict(metrics)))


class Watch:
    def __init__(self):
        self.seen = []

    def begin(self, stage, total, *, done=0, unit="prompts"):
        self.seen.append(("begin", stage, total, done, unit))

    def advance(self, done, **figures):
        self.seen.append(("advance", done, figures))

    def end(self):
        self.seen.append(("end",))


def make_examples(count=7):
    made = [
        Example(f"p{i}", (0,), ((i % VOCABULARY,) * (1 + i % 3), ((i + 2) % VOCABULARY, 4)))
        for i in range(count)
    ]
    return attach_reference(made, Unigram(), "previous")


EXAMPLES = make_examples()
SETTINGS = FitSettings(epochs=2, batch_size=2, lr=0.05, warmup=0.2, clip=0.5, checkpoint_every=2)


def play(engine, disk, *, examples=EXAMPLES, settings=SETTINGS, watch=None, objective=OBJECTIVE):
    return fit(
        engine,
        examples,
        objective=objective,
        settings=settings,
        checkpoints=disk,
        streams=STREAMS,
        log=disk.log,
        progress=watch or Watch(),
    )


@pytest.fixture
def new_disk(tmp_path_factory):
    return lambda: Disk(tmp_path_factory.mktemp("disk"))


def test_two_epochs_are_those_of_a_plain_loop(new_disk):
    """The oracle: whole-batch autograd, torch's clipping, transformers' schedule."""
    engine, disk = Unigram(), new_disk()
    result = play(engine, disk)
    logits = Unigram().logits
    adam = torch.optim.Adam([logits], lr=SETTINGS.lr)
    schedule = get_scheduler("cosine", adam, 2, 8)
    losses = []
    for batch in plan_updates(EXAMPLES, settings=SETTINGS, streams=STREAMS):
        logps, terms = logits.log_softmax(-1), []
        for example in (EXAMPLES[i] for i in batch):
            new = [logps[list(row)].sum() for row in example.completions]
            old = [sum(row) for row in example.reference]
            terms.append(torch.log1p(torch.exp(-0.5 * (new[0] - old[0] - new[1] + old[1]))))
        loss = sum(terms) / len(terms)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([logits], 0.5)
        adam.step(), schedule.step(), adam.zero_grad()
        losses.append(loss.item())
    torch.testing.assert_close(engine.logits, logits, rtol=1e-9, atol=1e-12)
    logged = [metrics for _, metrics in disk.logged]
    assert [m["solver/loss"] for m in logged] == pytest.approx(losses, rel=1e-9)
    assert logged[0]["solver/loss"] == pytest.approx(math.log(2))
    assert losses[-1] < losses[0]
    assert result == FitResult(8, 2 * sum(e.trained_tokens for e in EXAMPLES), disk.commits[-1][1])


def test_what_is_logged(new_disk):
    engine, disk, watch = Unigram(), new_disk(), Watch()
    result = play(engine, disk, watch=watch)
    assert [step for step, _ in disk.logged] == list(range(1, 9))
    names = {"loss", "margin", "accuracy", "implicit_chosen", "implicit_rejected"}
    names |= {"logp_chosen", "logp_rejected", "grad_norm", "lr", "tokens"}
    assert all(set(m) == {f"solver/{n}" for n in names} for _, m in disk.logged)
    plan = plan_updates(EXAMPLES, settings=SETTINGS, streams=STREAMS)
    tokens = [sum(EXAMPLES[i].trained_tokens for i in batch) for batch in plan]
    assert [m["solver/tokens"] for _, m in disk.logged] == tokens
    assert all(0 <= m["solver/accuracy"] <= 1 for _, m in disk.logged)
    assert watch.seen[0] == ("begin", Stage(2, "train"), 8, 0, "updates")
    assert [seen[1] for seen in watch.seen[1:-1]] == list(range(1, 9))
    assert watch.seen[1][2]["loss"] == disk.logged[0][1]["solver/loss"]
    # a rate is made of all tokens since the beginning, not of the last update's
    assert watch.seen[-2][2]["tokens"] == result.trained_tokens
    assert watch.seen[-1] == ("end",)


def test_the_last_batch_of_an_epoch_has_its_own_normaliser(new_disk):
    seen = []

    class Spy(Unigram):
        def forward_backward(self, examples, objective, normaliser):
            seen.append((len(examples), normaliser))
            return super().forward_backward(examples, objective, normaliser)

    play(Spy(), new_disk())
    assert seen == [(2, 2), (2, 2), (2, 2), (1, 1)] * 2


def test_every_epoch_visits_every_example_in_another_order():
    plan = plan_updates(EXAMPLES, settings=SETTINGS, streams=STREAMS)
    epochs = [[i for batch in half for i in batch] for half in (plan[:4], plan[4:])]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(7))
    assert epochs[0] != epochs[1]
    assert plan == plan_updates(EXAMPLES, settings=SETTINGS, streams=STREAMS)
    other = plan_updates(EXAMPLES, settings=SETTINGS, streams=Streams(8, 2, "train"))
    assert plan != other


def test_checkpoints_fall_due_and_only_the_last_is_the_policy(new_disk):
    disk = new_disk()
    play(Unigram(), disk, settings=replace(SETTINGS, checkpoint_every=3))
    assert [(step, final) for step, _, final in disk.commits] == [(3, False), (6, False), (8, True)]
    holds = [(folder / "optimiser").exists() for _, folder, _ in disk.commits]
    assert holds == [True, True, False]
    disk = new_disk()
    play(Unigram(), disk, settings=replace(SETTINGS, checkpoint_every=None, carry_optimiser=True))
    assert [(step, final) for step, _, final in disk.commits] == [(8, True)]
    assert (disk.commits[0][1] / "optimiser").exists()


@pytest.mark.parametrize("every", [1, 2, 3, None])
def test_killed_anywhere_and_resumed_it_ends_in_the_same_bits(new_disk, every):
    settings = replace(SETTINGS, checkpoint_every=every, carry_optimiser=True)
    unbroken, whole = Unigram(), new_disk()
    expected = play(unbroken, whole, settings=settings)
    for fatal in range(1, unbroken.calls + 1):
        disk = new_disk()
        with pytest.raises(Killed):
            play(Unigram(fatal), disk, settings=settings)
        resumed = Unigram()
        result = play(resumed, disk, settings=settings)
        assert torch.equal(resumed.logits, unbroken.logits)
        state, want = (e.optimiser.state_dict()["state"][0] for e in (resumed, unbroken))
        assert all(torch.equal(state[key], want[key]) for key in want)
        assert disk.logged == whole.logged
        assert replace(result, folder=expected.folder) == expected
        assert disk.commits[-1][::2] == (8, True)


def test_a_finished_round_is_loaded_and_not_trained_again(new_disk):
    disk, engine = new_disk(), Unigram()
    result = play(engine, disk)
    again, watch = Unigram(), Watch()
    assert play(again, disk, watch=watch) == result
    assert again.calls == 1, "one load"
    assert torch.equal(again.logits, engine.logits)
    assert [seen[0] for seen in watch.seen] == ["begin", "end"]


def test_a_token_budget_ends_the_plan_before_it_is_exceeded(new_disk):
    per_epoch = sum(e.trained_tokens for e in EXAMPLES)
    full = plan_updates(EXAMPLES, settings=SETTINGS, streams=STREAMS)
    for budget in range(5, 2 * per_epoch + 1):
        settings = replace(SETTINGS, max_tokens=budget)
        plan = plan_updates(EXAMPLES, settings=settings, streams=STREAMS)
        trained = sum(EXAMPLES[i].trained_tokens for batch in plan for i in batch)
        assert budget - max(e.trained_tokens for e in EXAMPLES) < trained <= budget
        assert plan[:-1] == full[: len(plan) - 1]
        assert plan[-1] == full[len(plan) - 1][: len(plan[-1])]
    assert plan == full
    short, disk = replace(SETTINGS, max_tokens=per_epoch + 5), new_disk()
    result = play(Unigram(), disk, settings=short)
    assert per_epoch < result.trained_tokens <= per_epoch + 5
    assert 4 < result.updates < 8
    assert disk.logged[-1][1]["solver/lr"] < SETTINGS.lr, "the schedule knows the end"


def test_no_examples_say_what_to_do(new_disk):
    with pytest.raises(SolverError, match=r"round 2, train: got no examples.*temperature"):
        play(Unigram(), new_disk(), examples=[])


def test_a_budget_below_one_example_says_what_to_do(new_disk):
    with pytest.raises(SolverError, match="max_tokens = 1 is below"):
        play(Unigram(), new_disk(), settings=replace(SETTINGS, max_tokens=1))


def test_a_loss_that_is_not_finite_says_where(new_disk):
    class Broken(Unigram):
        def forward_backward(self, examples, objective, normaliser):
            if self.calls == 6:
                raise SolverError("the loss is nan: lower the learning rate")
            return super().forward_backward(examples, objective, normaliser)

    disk = new_disk()
    with pytest.raises(
        SolverError, match=r"round 2, train, update 3 of 8 \(prompts p\d, p\d\): the loss is nan"
    ):
        play(Broken(), disk, settings=replace(SETTINGS, checkpoint_every=1))
    assert disk.commits[-1][0] == 2, "the last good state stays"


def test_checkpoints_of_another_plan_are_refused(new_disk):
    disk = new_disk()
    play(Unigram(), disk)
    with pytest.raises(SolverError, match="at update 8 of a plan of 4"):
        play(Unigram(), disk, settings=replace(SETTINGS, epochs=1))


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"max_tokens": 0},
        {"checkpoint_every": 0},
        {"lr": 0.0},
        {"lr": math.nan},
        {"clip": -1.0},
        {"warmup": -0.1},
        {"schedule": "step"},
    ],
)
def test_settings_that_cannot_train_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        replace(SETTINGS, **wrong)
