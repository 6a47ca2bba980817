"""The guard around a reward: one bad response is data, a broken reward stops the run.

Every score that leaves it is a finite number or None with a cause:

    raised     the reward raised an exception, or the process it runs in died
    timeout    it took longer than its time limit
    nan        it returned something that is not a finite number
    none       it returned None
    count      it returned another number of results than it was asked for
    too_long   the conversation is longer than the reward model takes
    part       a part of a combined reward is unscored
    unparsed, several, out_of_range, cut_off
               a judge's reply does not end with one verdict that can be read
    alone      there was no other response to compare it with
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any

from eva.errors import ConfigError, GenerationError, RewardError
from eva.protocols import RewardModel
from eva.rewards.worker import told
from eva.types import Group, Score, ScoredGroup

BROKEN_AT = 20
"""Responses from which on a reward that fails for more than half of them is broken."""


class Guarded:
    """A reward model whose failures are recorded response by response, and judged as a whole.

    When a call raises or returns something malformed, it is repeated on halves, down to single
    responses, so that a bad response costs only its own score. A reward that compares the responses
    to a prompt says so (`compares = True`) and is repeated on whole groups. A `ConfigError`,
    `RewardError` or `GenerationError` is no such failure: it says that the reward itself is wrong,
    or that its judge can't be asked, and passes through.

    The reward is judged over its latest calls: as many of them as together hold 20 responses or
    more, so a call of 20 or more is judged by itself and a reward that breaks in the middle of a
    run is noticed. Prompts without responses count neither way.
    """

    def __init__(self, reward: RewardModel) -> None:
        self._reward = reward
        self._latest: deque[tuple[Score, ...]] = deque()

    @property
    def wanted(self) -> tuple[str, ...]:
        """Parts of the scores that are the better the higher, where the reward says so."""
        return tuple(getattr(self._reward, "wanted", ()))

    def score(self, groups: Sequence[Group]) -> list[ScoredGroup]:
        """Return the groups, in order, each response with its score or why it has none.

        Raises:
            RewardError: more than half of 20 or more responses could not be scored.
            ConfigError: the reward says that it cannot work on what the config gave it.
        """
        scored = attempt(self._reward, groups)
        self._latest.append(tuple(score for group in scored for score in group.scores))
        while sum(map(len, self._latest)) - len(self._latest[0]) >= BROKEN_AT:
            self._latest.popleft()
        judge([score for call in self._latest for score in call])
        return scored


def attempt(reward: RewardModel, groups: Sequence[Group]) -> list[ScoredGroup]:
    """Score groups, in order; whatever fails costs only the responses that it fails for.

    Raises:
        RewardError: more than half of 20 or more responses are already known to have failed.
        ConfigError: as the reward raises it.
    """
    return _Attempt(reward, sum(len(group.responses) for group in groups)).score(groups)


def judge(scores: Sequence[Score], *, of: int | None = None) -> None:
    """Raise if more than half of 20 or more responses could not be scored.

    Args:
        scores: those known so far, in order.
        of: how many there will be in all; by default these are all.

    Raises:
        RewardError: with the counts by cause and the last error's own words.
    """
    total = len(scores) if of is None else of
    failed = [score for score in scores if score.reward is None]
    if total < BROKEN_AT or 2 * len(failed) <= total:
        return
    causes = Counter(score.cause for score in failed)
    counts = ", ".join(f"{n} {cause}" for cause, n in causes.most_common())
    last = f"{failed[-1].cause} {failed[-1].detail}".strip()
    raise RewardError(
        f"the reward is broken: {len(failed)} of {total} responses could not be scored ({counts});"
        f" the last one: {last}. Score a few answers by hand, repair the reward, and run it again"
    )


def as_score(value: Any, parts: Mapping[str, Any] | None = None) -> Score:
    """Return the score that a reward's value means; one that is no finite number has a cause.

    >>> as_score(0.5).reward, as_score(None).cause, as_score(float("inf")).cause
    (0.5, 'none', 'nan')
    """
    if value is None:
        return Score(None, cause="none", detail="the reward is None")
    values = {"the reward": value} | {
        f"part {name!r}": part for name, part in (parts or {}).items()
    }
    for what, number in values.items():
        if not isinstance(number, Real) or not math.isfinite(number):
            return Score(None, cause="nan", detail=f"{what} is {number!r}")
    return Score(float(value), parts={name: float(part) for name, part in (parts or {}).items()})


def raised(error: BaseException) -> Score:
    """Return the score of a response whose reward raised."""
    return Score(None, cause="raised", detail=told(error))


class _MalformedError(Exception):
    """A reward model returned something other than one scored group per group."""


@dataclass
class _Attempt:
    """One call, and what has failed in it for good so far."""

    reward: RewardModel
    total: int
    failed: list[Score] = field(default_factory=list)

    def score(self, groups: Sequence[Group]) -> list[ScoredGroup]:
        """Return the groups scored; what fails is halved until it is single responses."""
        try:
            return [
                replace(one, group=group, scores=tuple(map(_checked, one.scores)))
                for group, one in zip(groups, self._answer(groups), strict=True)
            ]
        except (ConfigError, GenerationError, RewardError):
            raise
        except _MalformedError as error:
            failure = Score(None, cause="count", detail=str(error))
        # A reward may be anyone's code: whatever it raises is a fact about these responses.
        except Exception as error:
            failure = raised(error)
        return self._apart(groups, failure)

    def _answer(self, groups: Sequence[Group]) -> Sequence[ScoredGroup]:
        scored = self.reward.score(groups)
        if not isinstance(scored, Sequence) or len(scored) != len(groups):
            got = len(scored) if isinstance(scored, Sequence) else type(scored).__name__
            raise _MalformedError(f"got {got}, expected {len(groups)} scored groups")
        for group, one in zip(groups, scored, strict=True):
            if not isinstance(one, ScoredGroup) or one.group != group:
                raise _MalformedError(f"prompt {group.prompt.id}: its scored group is missing")
        return scored

    def _apart(self, groups: Sequence[Group], failure: Score) -> list[ScoredGroup]:
        if len(groups) > 1:
            half = len(groups) // 2
            return self.score(groups[:half]) + self.score(groups[half:])
        (group,) = groups
        # one that compares responses has nothing to say of a single one
        if len(group.responses) > 1 and not getattr(self.reward, "compares", False):
            singles = [replace(group, responses=(response,)) for response in group.responses]
            scores = [self.score([single])[0].scores[0] for single in singles]
            return [ScoredGroup(group, tuple(scores))]
        self.failed += [failure] * len(group.responses)
        # Certain already: the rest need not be tried, each with its own time limit.
        judge(self.failed, of=self.total)
        return [ScoredGroup(group, (failure,) * len(group.responses))]


def _checked(score: Score) -> Score:
    """Return a score with a finite reward, or with None and a cause."""
    if score.reward is None:
        return score if score.cause else replace(score, cause="none")
    return replace(as_score(score.reward, score.parts), members=score.members)
