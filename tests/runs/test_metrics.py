from dataclasses import replace

import numpy as np

from eva import records
from eva.creator.informativeness import METRICS
from eva.creator.online import BufferCreator
from eva.creator.sampling import SAMPLERS
from eva.runs import metrics
from eva.types import (
    Arrival,
    Draw,
    Estimates,
    Evolution,
    Group,
    Pairing,
    Prompt,
    Refusal,
    Response,
    Score,
    ScoredGroup,
)


def test_names_with_placeholders_cover_one_name_each():
    assert metrics.describe("solver/skipped/tie") == metrics.METRICS["solver/skipped/{cause}"]
    assert metrics.describe("solver/skipped/a/b") is None
    assert metrics.describe("solver/unscored") is None
    assert metrics.describe("solverXpairs") is None


def test_every_metric_says_what_it_is_and_in_what_unit():
    for name, metric in metrics.METRICS.items():
        assert metric.meaning, name
        assert metric.unit, name
    table = metrics.markdown().splitlines()
    assert len(table) == 2 + len(metrics.METRICS)
    assert "| `tokens/total` | all tokens of the round, generated and trained | tokens |" in table


def test_every_number_of_a_step_and_of_a_round_of_steps_is_in_the_table():
    prompt = Prompt.of("q")
    child = prompt.rewritten("q?", operator="deepen", born=1)
    group = Group(prompt, (1,), (Response("a", (1,)), Response("b", (2,))), "v")
    scored = [ScoredGroup(group, (Score(1.0), Score(None, "nan")))]
    refusal = Refusal(prompt.id, "add", "length", "long", "", 1)
    step = records.of_step(
        3,
        draws=[Draw((prompt,), "mix-up", 1, 0)],
        dropped_tokens=2,
        scored=scored,
        estimates=Estimates(np.array([1.0]), np.array([0.5]), np.array([1])),
        seeds=[0],
        arrivals=[Arrival(1, (Evolution(prompt.id, (child,), (refusal,), 3),), (1.0,))],
    )
    buffer = BufferCreator(
        [prompt], informativeness=METRICS["a_avg"], sampler=SAMPLERS["greedy"], evolver=None
    )
    step = replace(step, figures={"solver/updates": 1.0, **buffer.figures(step=3)})
    names = {**records.step_figures(step), **records.figures(records.of_steps(1, [step]))}
    assert {"creator/phases/mix-up", "creator/delay", "creator/buffer", "steps"} <= set(names)
    assert [name for name in names if metrics.describe(name) is None] == []


def test_every_number_of_a_record_is_in_the_table():
    prompt = Prompt.of("q")
    child = prompt.rewritten("q?", operator="deepen", born=1)
    group = Group(prompt, (1,), (Response("a", (1,)), Response("b", (2,))), "v")
    scored = [ScoredGroup(group, (Score(1.0), Score(None, "nan")))]
    info = Estimates(np.array([1.0]), np.array([0.5]), np.array([1]))
    sample = records.of_sample([prompt], info, np.array([0]))
    refusal = Refusal(prompt.id, "add", "length", "long", "", 1)
    evolutions = [Evolution(prompt.id, (child,), (refusal,), 3)]
    training = {"updates": 1, "trained_tokens": 2}
    record = records.of_round(
        1,
        prompts=[child],
        creator=records.of_creator(scored, sample, evolutions),
        scored=scored,
        solver=records.of_solver(Pairing((), {"tie": 1}), training),
    )
    names = records.figures(record)
    assert len(names) > 30
    assert [name for name in names if metrics.describe(name) is None] == []
