from __future__ import annotations

import numpy as np
import pytest

from eva.evals.relevance import calibration, question, relevance, similarities
from eva.types import Check, Group, Prompt, Response

DIRECTIONS = {
    "sea": (1.0, 0.0, 0.0),
    "sky": (0.0, 1.0, 0.0),
    "rules": (0.0, 0.0, 1.0),
}


class Words:
    """An encoder that knows three words and averages their directions."""

    def embed(self, texts):
        vectors = [
            np.sum([DIRECTIONS[w] for w in t.split()] or [(0.0,) * 3], axis=0) for t in texts
        ]
        return np.array([v / (np.linalg.norm(v) or 1.0) for v in vectors]).reshape(len(texts), 3)


def group(prompt: Prompt, *texts: str) -> Group:
    return Group(prompt, (1,), tuple(Response(text, (1,)) for text in texts), "v")


def test_the_question_of_a_verifiable_prompt_is_its_topic() -> None:
    check = (Check("lowercase"),)
    assert question(Prompt.of("sea rules", checks=check, topic="sea")) == "sea"
    assert question(Prompt.of("sea rules", checks=check)) == "sea rules"
    assert question(Prompt.of("sea of all", topic="a label")) == "sea of all"


def test_parroting_the_constraint_does_not_count() -> None:
    prompt = Prompt.of("sea rules", checks=(Check("lowercase"),), topic="sea")
    parrot, honest = (
        relevance(Words())([group(prompt, "rules")]),
        relevance(Words())([group(prompt, "sea")]),
    )
    assert parrot[0].values["relevance"] == 0.0
    assert honest[0].values["relevance"] == 1.0


def test_relevance_by_hand_with_several_answers_and_none() -> None:
    groups = [
        group(Prompt.of("sea"), "sea", "sky", ""),
        group(Prompt.of("sky"), "sky"),
        group(Prompt.of("rules")),
    ]
    values = [m.values for m in relevance(Words())(groups)]
    # shuffled: the answers of the first prompt against sky and rules: 0, 1/2 and 0
    assert values[0] == {
        "relevance": pytest.approx(1 / 3), "relevance_shuffled": pytest.approx(1 / 6),
    }  # fmt: skip
    assert values[1] == {"relevance": 1.0, "relevance_shuffled": 0.0}
    assert values[2] == {"relevance": None, "relevance_shuffled": None}


def test_prompts_on_the_same_topic_are_no_shuffled_partners() -> None:
    similar = np.array([[0.9, 0.8], [0.7, 0.6], [0.1, 0.2]])
    own, shuffled = calibration(similar, ["sea", "sea", "sky"], [0, 1])
    assert own == [0.9, 0.6]
    assert shuffled == [0.1, 0.2]


def test_a_single_question_has_nothing_to_be_shuffled_with() -> None:
    assert calibration(np.array([[0.5]]), ["sea"], [0]) == ([0.5], [None])


def test_similarities_are_questions_by_answers() -> None:
    got = similarities(Words(), ["sea", "sky"], ["sea", "sky", "sea sky"])
    half = pytest.approx(2**-0.5)
    assert [list(row) for row in got] == [[1.0, 0.0, half], [0.0, 1.0, half]]
