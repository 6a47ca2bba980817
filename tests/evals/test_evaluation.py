from __future__ import annotations

import json

import pytest

from eva.errors import DataError, GenerationError
from eva.evals.evaluation import GREEDY, Evaluation
from eva.evals.rows import Measured
from eva.rng import Streams
from eva.types import Group, Prompt, Response, SamplingParams

PROMPTS = [Prompt.of(text) for text in ("One", "Two", "Three")]
STREAMS = Streams(0, 0, "evaluate")


class Scripted:
    """Answers with the prompt's own text, nothing to `Three`; remembers its calls."""

    def __init__(self, drop: int = 0) -> None:
        self.calls: list[tuple[int, SamplingParams, Streams]] = []
        self.drop = drop

    def sample(self, prompts, params, streams):
        self.calls.append((len(prompts), params, streams))
        groups = [
            Group(p, (1,), () if p.text == "Three" else (Response(f"{p.text} it is", (1, 2)),), "v")
            for p in prompts
        ]
        return groups[self.drop :]


def letters(groups):
    return [
        Measured({"letters": float(len(g.responses[0].text)) if g.responses else None})
        for g in groups
    ]


def evaluation(**fields):
    return Evaluation("held", PROMPTS, (letters,), **fields)


def test_all_prompts_are_answered_greedily_in_one_call() -> None:
    policy = Scripted()
    evaluation().evaluate(policy, STREAMS)
    assert policy.calls == [(3, GREEDY, STREAMS)]
    assert (GREEDY.n, GREEDY.temperature) == (1, 0.0)


def test_rows_metrics_and_intervals_say_the_same() -> None:
    got = evaluation(labels=lambda p: ["t"] if p.text.startswith("T") else []).evaluate(
        Scripted(), STREAMS
    )
    assert [row["values"]["letters"] for row in got["rows"]] == [9.0, 9.0, None]
    assert got["metrics"] == {
        "held/letters": 9.0,
        "held/letters/t": 9.0,
        "held/prompts": 3.0,
        "held/unanswered": 1.0,
        "held/distinct_2": 0.75,  # one it, it is, two it, it is
    }
    assert got["intervals"]["held/letters"]["n"] == 2
    assert got["intervals"]["held/letters/t"]["low"] is None


def test_the_result_is_json() -> None:
    got = evaluation(about={"version": "1"}, counts={"unavailable": 2.0}).evaluate(
        Scripted(), STREAMS
    )
    assert json.loads(json.dumps(got, allow_nan=False)) == got
    assert got["about"] == {"version": "1"}
    assert got["metrics"]["held/unavailable"] == 2.0


def test_a_prompt_given_twice_is_refused() -> None:
    with pytest.raises(DataError, match="1 prompts are there twice"):
        Evaluation("held", [*PROMPTS, Prompt.of("One")], (letters,))


def test_a_generator_that_loses_a_prompt_is_refused() -> None:
    with pytest.raises(GenerationError, match="asked for 3 prompts, got 2"):
        evaluation().evaluate(Scripted(drop=1), STREAMS)


def test_a_measure_that_loses_a_group_is_refused() -> None:
    broken = Evaluation("held", PROMPTS, (letters, lambda groups: letters(groups)[1:]))
    with pytest.raises(ValueError, match="shorter"):
        broken.evaluate(Scripted(), STREAMS)
