from __future__ import annotations

import math

import pytest

from eva.errors import ConfigError, SolverError
from eva.solver.updates import UpdateSettings, descend
from eva.types import Example

EXAMPLES = [Example(f"p{i}", (1,), ((2,) * (i + 1),)) for i in range(5)]


class Recorder:
    """An engine that writes down its updates; the loss of an example is its completion's length."""

    def __init__(self, broken=False):
        self.did, self.broken = [], broken

    def forward_backward(self, examples, objective, normaliser):
        if self.broken:
            raise SolverError("loss nan")
        self.did.append(([e.prompt_id for e in examples], normaliser))
        return {"loss": sum(e.trained_tokens for e in examples), "ratio": 3.0 * len(examples)}

    def step(self, lr, clip):
        self.did.append((lr, clip))
        return 7.0


def play(work, *, step=0, total=1, engine=None, **settings):
    engine = engine or Recorder()
    updates = UpdateSettings(**settings)
    figures = descend(engine, work, None, updates=updates, step=step, total=total)
    return figures, engine.did


# ── the plan ─────────────────────────────────────────────────────────────────────────────────


def test_a_plan_goes_through_the_batch_once_per_epoch():
    plan = UpdateSettings(epochs=3, minibatch=2).plan(5, step=0)
    assert [len(batch) for batch in plan] == [2, 2, 1] * 3
    epochs = [[i for batch in plan[k : k + 3] for i in batch] for k in (0, 3, 6)]
    assert all(sorted(order) == list(range(5)) for order in epochs)
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("minibatch", [None, 5, 99])
def test_a_whole_batch_is_one_update(minibatch):
    (batch,) = UpdateSettings(minibatch=minibatch).plan(5, step=3)
    assert sorted(batch) == list(range(5))


def test_a_plan_depends_on_seed_and_step_alone():
    plans = {
        (seed, step): UpdateSettings(minibatch=3, seed=seed).plan(20, step=step)
        for seed in (0, 1)
        for step in (0, 1)
    }
    assert len(set(plans.values())) == 4
    assert UpdateSettings(minibatch=3).plan(20, step=0) == plans[0, 0]


def test_nothing_needs_no_plan():
    assert UpdateSettings(epochs=2).plan(0, step=0) == ()


# ── the updates ──────────────────────────────────────────────────────────────────────────────


def test_updates_and_their_figures_by_hand():
    figures, did = play([(EXAMPLES[:2], 4.0), (EXAMPLES[4:], 1.0)], lr=0.5, clip=None)
    assert did == [(["p0", "p1"], 4.0), (0.5, None), (["p4"], 1.0), (0.5, None)]
    assert figures == {
        "loss": (3 / 4 + 5) / 2,
        "ratio": 3.0,
        "grad_norm": 7.0,
        "lr": 0.5,
        "updates": 2,
        "trained_tokens": 8,
    }


def test_an_update_without_examples_is_not_made_but_counted_by_the_schedule():
    work = [(EXAMPLES[:1], 1.0), ([], 1.0), (EXAMPLES[1:2], 1.0)]
    figures, did = play(work, lr=1.0, schedule="linear")
    assert [entry[0] for entry in did[1::2]] == pytest.approx([1.0, 1 / 3])
    assert figures["updates"] == 2


def test_nothing_to_do_is_no_update():
    assert play([]) == ({"updates": 0, "trained_tokens": 0}, [])


def test_the_rate_follows_from_the_step_over_the_whole_run():
    work = [(EXAMPLES[:1], 1.0)] * 2
    rates = []
    for step in range(3):
        _, did = play(work, step=step, total=3, lr=6.0, schedule="linear", warmup=2)
        rates += [entry[0] for entry in did[1::2]]
    assert rates == pytest.approx([0.0, 3.0, 6.0, 4.5, 3.0, 1.5])


def test_an_error_says_where():
    with pytest.raises(SolverError, match="step 2 of 5, update 1 of 1: loss nan"):
        play([(EXAMPLES, 1.0)], step=2, total=5, engine=Recorder(broken=True))


@pytest.mark.parametrize("step", [-1, 4])
def test_a_step_outside_the_run_is_refused(step):
    with pytest.raises(ConfigError, match="expected 0 to 3"):
        play([(EXAMPLES, 1.0)], step=step, total=4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs = 0, expected at least 1"),
        ({"minibatch": 0}, "minibatch = 0"),
        ({"lr": math.nan}, "lr = nan"),
        ({"clip": 0.0}, r"clip = 0\.0"),
        ({"warmup": -1.0}, r"warmup = -1\.0"),
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        UpdateSettings(**settings)
