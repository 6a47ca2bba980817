"""Makes verifiable prompts of plain ones: the seeds of training and the held-out sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from eva.constraints.composition import compose
from eva.constraints.registry import compatible, find
from eva.errors import ConfigError
from eva.types import Check, Message, Prompt

if TYPE_CHECKING:
    import numpy as np

_TRIES = 4
"""Draws of arguments per kind: a conflict may lie in the arguments only."""


def request(prompt: Prompt) -> str:
    """Return what a prompt asks for without its constraints."""
    return prompt.topic if prompt.checks else prompt.text


def fitting(
    others: Sequence[Check],
    kinds: Sequence[str],
    rng: np.random.Generator,
    *,
    level: int,
    budget: int,
) -> Check | None:
    """Draw a check that goes together with others; None if no kind has one.

    Args:
        others: the checks that it must not conflict with.
        kinds: names of the kinds to draw from, uniformly.
        rng: the stream to draw from.
        level: the level wanted; a kind that has fewer gives its highest.
        budget: how many words an answer may have; a check that needs more is not drawn.

    Raises:
        ConfigError: a kind is unknown.
    """
    for i in rng.permutation(len(kinds)):
        kind = find(kinds[i])
        for _ in range(_TRIES):
            check = kind.draw(min(level, len(kind.levels)), rng, budget=budget)
            if kind.least_words(check.args) <= budget and compatible(check, others):
                return check
    return None


def dress(
    prompt: Prompt,
    rng: np.random.Generator,
    *,
    kinds: Sequence[str],
    count: int = 1,
    level: int = 1,
    budget: int = 40,
) -> Prompt:
    """Return a prompt with `count` constraints of a level; its own text becomes the topic.

    Args:
        prompt: a prompt without checks; earlier turns and columns are kept.
        rng: the stream to draw from.
        kinds: names of the kinds to draw from.
        count: number of constraints, all of different kinds.
        level: their level, 1 the easiest; a kind that has fewer gives its highest.
        budget: words that an answer may have. A limit of 64 tokens leaves room for about 40.

    Raises:
        ConfigError: a kind is unknown, or no `count` of them go together in that budget.
        ValueError: the prompt has checks already.
    """
    if prompt.checks:
        raise ValueError(f"prompt {prompt.id} has constraints already: evolve it instead")
    for _ in range(_TRIES):
        checks: list[Check] = []
        while len(checks) < count:
            check = fitting(checks, kinds, rng, level=level, budget=budget)
            if check is None:
                break
            checks.append(check)
        else:
            topic = prompt.text
            turn = Message("user", compose(topic, checks, rng))
            return replace(
                prompt,
                messages=(*prompt.messages[:-1], turn),
                checks=tuple(checks),
                topic=topic,
                id="",
            )
    raise ConfigError(
        f"cannot put {count} constraints of level {level} on a prompt: of {len(kinds)} kinds "
        f"({', '.join(kinds)}) too few go together in {budget} words; allow more kinds or words"
    )
