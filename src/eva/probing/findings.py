"""Everything that a probe measures, from scored answers and the prompts they answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from eva.creator.gates.duplicate import Duplicate
from eva.probing.measures import Contrast, Headroom, Noise, complete, contrast, headroom, noise
from eva.probing.reliability import Reliabilities, reliabilities
from eva.rng import Streams
from eva.types import Prompt, ScoredGroup

Repeatability: TypeAlias = Literal["exact by construction", "same score again", "varies", "unknown"]


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long the answers are; NaN without answers."""

    answers: int
    mean: float
    """Tokens, end token included, as all that follow."""
    median: float
    p90: float
    longest: float
    truncated: float
    """Share of answers that the limit cut off."""
    empty: float
    """Share of answers without a word."""


@dataclass(frozen=True, slots=True)
class Repeats:
    """Prompts of the whole set that another one before them makes superfluous."""

    prompts: int
    """Prompts that were compared."""
    equal: int
    """As another but for case, punctuation and spacing, or the same row again."""
    near: int
    """Word triples in common with another: a Jaccard similarity of 0.7 at least."""

    @property
    def share(self) -> float:
        """Share of the prompts."""
        return (self.equal + self.near) / self.prompts if self.prompts else 0.0


@dataclass(frozen=True, slots=True)
class Findings:
    """What was measured."""

    prompts: int
    """Prompts that were put to the model."""
    unanswered: int
    """Of them, too long for it."""
    measured: int
    """Prompts that contrast, headroom and reliability speak of."""
    k: int
    """Scored answers of each of them."""
    unscored: Mapping[str, int]
    """Answers without a reward, by cause."""
    contrast: Contrast
    headroom: Headroom
    repeatability: Repeatability
    """Whether a second scoring of an answer gives the same."""
    noise: Noise | None
    """Only where it varies."""
    reliability: Reliabilities
    lengths: Lengths
    repeats: Repeats

    @property
    def unscored_share(self) -> float:
        """Share of the answers that have no reward."""
        return sum(self.unscored.values()) / self.lengths.answers if self.lengths.answers else 0.0


def findings(
    scored: Sequence[ScoredGroup],
    again: Sequence[ScoredGroup],
    *,
    repeats: Repeats,
    exact: bool,
    streams: Streams,
) -> Findings:
    """Measure scored answers.

    Args:
        scored: the answers of all prompts, unanswered ones included.
        again: some of the same answers, scored a second time: those of the first prompts.
        repeats: what `count_repeats` found.
        exact: whether the reward cannot but give the same again.
        streams: for the bootstrap and the splits.
    """
    rewards_PK = complete([group.rewards for group in scored])
    room = headroom(rewards_PK, streams.of("headroom"))
    first = [reward for group in scored[: len(again)] for reward in group.rewards]
    second = [reward for group in again for reward in group.rewards]
    found = noise(first, second, k=max(2, rewards_PK.shape[1]), spread=room.spread)
    told = any(a is not None and b is not None for a, b in zip(first, second, strict=True))
    varies: Repeatability = "varies" if found else "same score again" if told else "unknown"
    causes = Counter(s.cause for group in scored for s in group.scores if s.reward is None)
    return Findings(
        prompts=len(scored),
        unanswered=sum(not group.scores for group in scored),
        measured=rewards_PK.shape[0],
        k=rewards_PK.shape[1],
        unscored=dict(causes.most_common()),
        contrast=contrast(rewards_PK),
        headroom=room,
        repeatability="exact by construction" if exact else varies,
        noise=found,
        reliability=reliabilities(rewards_PK, streams.of("reliability")),
        lengths=lengths(scored),
        repeats=repeats,
    )


def lengths(scored: Sequence[ScoredGroup]) -> Lengths:
    """Measure the answers' lengths."""
    answers = [answer for group in scored for answer in group.group.responses]
    if not answers:
        return Lengths(0, *[float("nan")] * 6)
    tokens = np.array([answer.length for answer in answers])
    return Lengths(
        len(answers),
        float(tokens.mean()),
        float(np.median(tokens)),
        float(np.quantile(tokens, 0.9)),
        float(tokens.max()),
        float(np.mean([answer.truncated for answer in answers])),
        float(np.mean([not answer.text.strip() for answer in answers])),
    )


def count_repeats(prompts: Sequence[Prompt], *, dropped: int = 0) -> Repeats:
    """Count the prompts that repeat an earlier one, as the gate `duplicate` sees it.

    `dropped` exact copies were left out when the prompts were read.
    """
    gate, equal, near = Duplicate(), dropped, 0
    for prompt in prompts:
        reason = gate(prompt, ()) or ""
        equal += reason.startswith("equals")
        near += reason.startswith("resembles")
        gate.remember(prompt)
    return Repeats(len(prompts) + dropped, equal, near)


def percent(share: float) -> str:
    """Return a share as people read it.

    >>> percent(0.125)
    '12 %'
    """
    return f"{100 * share:.0f} %"
