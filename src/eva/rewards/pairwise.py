"""A language model compares the answers to a prompt two by two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from eva.comparisons import Comparisons
from eva.protocols import RewardModel
from eva.rewards.judging import COMPARISON, Asking, comparison_question, read_verdict, too_long
from eva.types import Group, Response, Score, ScoredGroup


@dataclass(frozen=True)
class PairwiseReward(RewardModel):
    """An answer's mean probability to beat another answer to its prompt, from 0 to 1.

    Every pair is asked about in both orders, and the mean of both verdicts counts: a judge that
    always takes the first answer makes a tie of every pair. A pair without a verdict in one of the
    orders is not judged, and the mean is over the others; an answer is not its own opponent here.
    Answers that are the same tie without being asked about.
    """

    judge: Asking
    template: str = COMPARISON
    compares: ClassVar[bool] = True

    def score(self, groups: Sequence[Group]) -> list[ScoredGroup]:
        """Return the groups, in order, with their comparisons and the scores that follow.

        Raises:
            GenerationError: the judge is broken as a whole.
        """
        pairs = [_pairs(group) for group in groups]
        questions = [
            comparison_question(
                group.prompt,
                group.responses[i].text,
                group.responses[j].text,
                template=self.template,
            )
            for group, some in zip(groups, pairs, strict=True)
            for i, j in some
        ]
        replies = iter(self.judge.ask(questions))
        return [
            _scored(group, {pair: _verdict(next(replies)) for pair in some})
            for group, some in zip(groups, pairs, strict=True)
        ]


def _pairs(group: Group) -> list[tuple[int, int]]:
    """Return the ordered pairs of answers that are not the same."""
    texts = [response.text for response in group.responses]
    places = range(len(texts))
    return [(i, j) for i in places for j in places if texts[i] != texts[j]]


def _verdict(replies: tuple[Response, ...]) -> Score:
    return read_verdict(replies[0]) if replies else too_long()


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
