import numpy as np

from eva import records
from eva.runs import metrics
from eva.types import (
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
    assert metrics.describe("solver/skipped") is None
    assert metrics.describe("solverXpairs") is None


def test_every_metric_says_what_it_is_and_in_what_unit():
    for name, metric in metrics.METRICS.items():
        assert metric.meaning, name
        assert metric.unit, name
    table = metrics.markdown().splitlines()
    assert len(table) == 2 + len(metrics.METRICS)
    assert "| `tokens/total` | all tokens of the round, generated and trained | tokens |" in table


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
