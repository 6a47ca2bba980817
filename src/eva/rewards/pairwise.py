"""The answers to a prompt are compared two by two, by a judge or by a preference model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import numpy as np

from eva.comparisons import Comparisons
from eva.protocols import RewardModel
from eva.rewards.judging import COMPARISON, Asking, comparison_question, read_verdict, too_long
from eva.types import Group, Prompt, Score, ScoredGroup


class Pair(NamedTuple):
    """Two answers to a prompt, in the order in which they are shown."""

    prompt: Prompt
    first: str
    second: str


class Comparer(Protocol):
    """Says which of two answers is better."""

    def compare(self, pairs: Sequence[Pair]) -> list[Score]:
        """Return P(first beats second) of each pair as a score, or why there is none.

        Raises:
            GenerationError: what compares is broken as a whole.
        """


@dataclass(frozen=True)
class JudgeComparer(Comparer):
    """A language model, asked which answer is better: 1, 1/2 or 0."""

    judge: Asking
    template: str = COMPARISON

    def compare(self, pairs: Sequence[Pair]) -> list[Score]:
        """Return the verdicts; see `Comparer`."""
        questions = [comparison_question(*pair, template=self.template) for pair in pairs]
        return [
            read_verdict(replies[0]) if replies else too_long()
            for replies in self.judge.ask(questions)
        ]


@dataclass(frozen=True)
class PairwiseReward(RewardModel):
    """An answer's mean probability to beat another answer to its prompt, from 0 to 1.

    Every pair is compared in both orders, and the mean of both verdicts counts: a comparer that
    always takes the first answer makes a tie of every pair. A pair without a verdict in one of the
    orders is not judged, and the mean is over the others; an answer is not its own opponent here.
    Answers that are the same tie without being compared.
    """

    comparer: Comparer
    compares: ClassVar[bool] = True

    def score(self, groups: Sequence[Group]) -> list[ScoredGroup]:
        """Return the groups, in order, with their comparisons and the scores that follow.

        Raises:
            GenerationError: what compares is broken as a whole.
        """
        places = [_places(group) for group in groups]
        pairs = [
            Pair(group.prompt, group.responses[i].text, group.responses[j].text)
            for group, some in zip(groups, places, strict=True)
            for i, j in some
        ]
        verdicts = iter(self.comparer.compare(pairs))
        return [
            _scored(group, {place: next(verdicts) for place in some})
            for group, some in zip(groups, places, strict=True)
        ]


def _places(group: Group) -> list[tuple[int, int]]:
    """Return the ordered pairs of answers that are not the same."""
    texts = [response.text for response in group.responses]
    places = range(len(texts))
    return [(i, j) for i in places for j in places if texts[i] != texts[j]]


def _scored(group: Group, verdicts: dict[tuple[int, int], Score]) -> ScoredGroup:
    places = range(len(group.responses))
    tie = Score(0.5)
    compared = Comparisons(
        tuple(tuple(verdicts.get((i, j), tie).reward for j in places) for i in places),
        dict(Counter(v.cause for v in verdicts.values() if v.reward is None)),
    )
    wins = compared.wins
    np.fill_diagonal(wins, np.nan)
    scores = tuple(_score(wins[i].tolist(), _why(i, verdicts)) for i in places)
    return ScoredGroup(group, scores, compared)


def _score(wins: list[float], why: Score) -> Score:
    """Return the mean of what is known of an answer's wins, (G,)."""
    known = [win for win in wins if win == win]
    if not known:
        return why
    return Score(sum(known) / len(known), parts={"opponents": float(len(known))})


def _why(answer: int, verdicts: dict[tuple[int, int], Score]) -> Score:
    """Return the first failed comparison of an answer, which explains it if none was judged."""
    failed = (v for pair, v in verdicts.items() if answer in pair and v.reward is None)
    return next(failed, Score(None, "alone", "there is no other answer to compare it with"))
