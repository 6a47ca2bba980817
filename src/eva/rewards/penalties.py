"""Penalties: rewards from -1 to 0 for what an answer should not do, to be added to another reward.

Each is a function of one response's text; `PenaltyReward` makes a reward of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

from eva.constraints.measure import words
from eva.errors import ConfigError
from eva.types import Group, Response, Score, ScoredGroup


@dataclass(frozen=True, slots=True)
class PenaltyReward:
    """A penalty as a reward; an answer that deserves none has 0."""

    name: str
    """What a combination calls it."""
    penalty: Callable[[Response], float]

    def score(self, groups: Sequence[Group]) -> list[ScoredGroup]:
        """Return the groups, in order, each response with its score."""
        return [
            ScoredGroup(group, tuple(Score(self.penalty(r)) for r in group.responses))
            for group in groups
        ]


def length(response: Response, *, limit: int, ramp: int, tokens: bool = False) -> float:
    """Return 0 up to a limit, -1 from limit + ramp on, and a straight line between.

    The "soft overlong punishment" of DAPO (arXiv:2503.14476, eq. 13), counted in words or tokens.

    Raises:
        ValueError: tokens are asked for, and the response came without any.
    """
    if tokens and response.text and not response.token_ids:
        raise ValueError("the answer has no token ids, as answers of text servers: count words")
    size = len(response.token_ids) if tokens else len(words(response.text))
    return -min(max(size - limit, 0) / max(ramp, 1), 1.0) if size > limit else 0.0


def repetition(response: Response, *, ngram: int, allowed: float = 0.0) -> float:
    """Return minus the share of word n-grams that were there before, beyond what is allowed.

    What is allowed costs nothing, and the rest is stretched, so that -1 is still all of them.
    """
    said = [word.casefold() for word in words(response.text)]
    grams = [tuple(said[i : i + ngram]) for i in range(len(said) - ngram + 1)]
    if not grams:
        return 0.0
    share = 1 - len(set(grams)) / len(grams)
    return -max(share - allowed, 0.0) / (1 - allowed) + 0.0


def listed(response: Response, *, found: re.Pattern[str], full: int) -> float:
    """Return minus the number of listed words over `full`, at least -1."""
    return -min(sum(1 for _ in found.finditer(response.text)) / full, 1.0) + 0.0


def profanity(forbidden: Collection[str], *, full: int = 1) -> Callable[[Response], float]:
    """Return a penalty for words and phrases, matched whole and in any case.

    Args:
        forbidden: the words; no list comes with eva, since what is offensive depends on who reads.
        full: how many of them, counted with repeats, cost all of the penalty.

    Raises:
        ConfigError: there are no words.
    """
    clean = sorted({" ".join(word.split()) for word in forbidden if word.strip()})
    if not clean:
        raise ConfigError("reward 'profanity': no words; list them in words, or in a file")
    inner = "|".join(r"\s+".join(map(re.escape, phrase.split())) for phrase in clean)
    return partial(listed, found=re.compile(rf"(?<!\w)(?:{inner})(?!\w)", re.IGNORECASE), full=full)
