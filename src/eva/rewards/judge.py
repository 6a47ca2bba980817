"""A language model grades answers one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eva.protocols import RewardModel
from eva.rewards.judging import RUBRIC, Asking, read_score, rubric_question, too_long
from eva.types import Group, Response, Score, ScoredGroup


@dataclass(frozen=True)
class JudgeReward(RewardModel):
    """The score that a judge gives an answer, on its scale; the mean where it is asked n times.

    At least half of n replies must hold a score. `parts` says how many did where n is above 1.
    """

    judge: Asking
    template: str = RUBRIC
    scale: tuple[int, int] = (1, 10)

    def score(self, groups: Sequence[Group]) -> list[ScoredGroup]:
        """Return the groups, in order, each response with its score or why it has none.

        Raises:
            GenerationError: the judge is broken as a whole.
        """
        questions = [
            rubric_question(group.prompt, r.text, template=self.template, scale=self.scale)
            for group in groups
            for r in group.responses
        ]
        scores = map(self._score, self.judge.ask(questions))
        return [
            ScoredGroup(group, tuple(next(scores) for _ in group.responses)) for group in groups
        ]

    def _score(self, replies: tuple[Response, ...]) -> Score:
        if not replies:
            return too_long()
        read = [read_score(reply, self.scale) for reply in replies]
        known = [score.reward for score in read if score.reward is not None]
        if 2 * len(known) < len(read) or not known:
            return next(score for score in read if score.reward is None)
        parts = {"replies": float(len(known))} if len(read) > 1 else {}
        return Score(sum(known) / len(known), parts=parts)
