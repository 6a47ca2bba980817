"""Relevance: whether an answer is about its question, so that ignoring it can't pass for progress.

The value is the cosine similarity of sentence embeddings of question and answer. It says what the
answer is about, not whether it is right: an answer that repeats the question is relevant too
(`echo` in `eva.evals.lengths` shows that).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eva.encoder import Encoder
from eva.evals.rows import Measure, Measured, mean
from eva.types import Floats, Group, Prompt


def question(prompt: Prompt) -> str:
    """Return what an answer should be about.

    For a verifiable prompt that is its bare topic: an answer that takes up nothing but the
    constraint is not about it.
    """
    return prompt.topic if prompt.checks and prompt.topic else prompt.text


def relevance(encoder: Encoder) -> Measure:
    """Return the measure `relevance`, with `relevance_shuffled` beside it.

    The latter is what the same answers score against the other prompts' questions, on average: so
    it says what "not about the question at all" amounts to on these prompts.
    """

    def measure(groups: Sequence[Group]) -> list[Measured]:
        owners = [i for i, group in enumerate(groups) for _ in group.responses]
        questions = [question(group.prompt) for group in groups]
        answers = [response.text for group in groups for response in group.responses]
        similar = similarities(encoder, questions, answers)
        own, shuffled = calibration(similar, questions, owners)
        return [
            Measured({"relevance": mean(a), "relevance_shuffled": mean(b)})
            for a, b in zip(
                _gather(own, owners, groups), _gather(shuffled, owners, groups), strict=True
            )
        ]

    return measure


def similarities(encoder: Encoder, questions: Sequence[str], answers: Sequence[str]) -> Floats:
    """Return the similarity of every question to every answer, (P, A)."""
    return encoder.embed(questions) @ encoder.embed(answers).T


def calibration(
    similar_PA: Floats, questions: Sequence[str], owners: Sequence[int]
) -> tuple[list[float], list[float | None]]:
    """Return each answer's similarity to its own question, and its mean over other questions.

    `owners` holds the index of each answer's question, (A,). All other questions count, so nothing
    is drawn; questions with the same text as the own one do not, and where there is no other
    question the second number is None.
    """
    own = [float(similar_PA[owner, a]) for a, owner in enumerate(owners)]
    texts = np.array(questions, dtype=object)
    shuffled: list[float | None] = []
    for a, owner in enumerate(owners):
        others = similar_PA[texts != texts[owner], a]
        shuffled.append(float(others.mean()) if others.size else None)
    return own, shuffled


def _gather(
    values: Sequence[float | None], owners: Sequence[int], groups: Sequence[Group]
) -> list[list[float | None]]:
    """Return the answers' values by prompt, (P, G) ragged."""
    gathered: list[list[float | None]] = [[] for _ in groups]
    for owner, value in zip(owners, values, strict=True):
        gathered[owner].append(value)
    return gathered
