"""The verifiable reward: which of a prompt's constraints an answer meets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from eva.constraints import meets
from eva.constraints.measure import words
from eva.errors import ConfigError, RewardError
from eva.types import Group, Prompt, Response, Score, ScoredGroup

_BROKEN_AT = 20
"""Responses from which on a reward that fails for more than half of them is broken."""


@dataclass(frozen=True, slots=True)
class RuleReward:
    """The share of the checks that an answer meets, between 0 and 1.

    A truncated answer is scored as it stands. An empty answer meets no check, though it has no
    commas and no forbidden words; whether an answer is about the question is for another reward to
    say. `parts` says for each kind whether it was met. A prompt without checks has no score.

    Raises:
        ConfigError: `credit` or `min_words` is out of range.
    """

    credit: Literal["share", "all"] = "share"
    """`share` of the checks met, or 1 only if `all` are met."""
    min_words: int = 1
    """An answer with fewer words gets 0, so that constraints are not met by saying nothing."""

    def __post_init__(self) -> None:
        if self.credit not in ("share", "all"):
            raise ConfigError(f"credit: got {self.credit!r}, expected 'share' or 'all'")
        if self.min_words < 0:
            raise ConfigError(f"min_words: got {self.min_words}, expected 0 or more")

    def score(self, groups: Sequence[Group]) -> list[ScoredGroup]:
        """Return the groups, in order, each response with its score or why it has none.

        Raises:
            RewardError: more than half of 20 or more responses could not be scored.
            ConfigError: a check is of an unknown kind.
        """
        scored = [
            ScoredGroup(group, tuple(self._score(group.prompt, r) for r in group.responses))
            for group in groups
        ]
        scores = [score for group in scored for score in group.scores]
        failed = [score for score in scores if score.reward is None]
        if len(scores) >= _BROKEN_AT and 2 * len(failed) > len(scores):
            last = f"{failed[-1].cause} {failed[-1].detail}".strip()
            raise RewardError(
                f"rule reward: {len(failed)} of {len(scores)} responses could not be scored, the "
                f"last one with: {last}; give the prompts checks, or use another reward"
            )
        return scored

    def _score(self, prompt: Prompt, response: Response) -> Score:
        if not prompt.checks:
            return Score(None, cause="none", detail=f"prompt {prompt.id} has no checks")
        said_enough = len(words(response.text)) >= self.min_words
        met: list[bool] = []
        for check in prompt.checks:
            try:
                met.append(said_enough and meets(response.text, check))
            except ConfigError:
                raise
            # A kind may be anyone's code: whatever it raises concerns this response alone.
            except Exception as error:
                detail = f"{check.key()}: {type(error).__name__}: {error}"
                return Score(None, cause="raised", detail=detail)
        parts: dict[str, float] = {}
        for check, one in zip(prompt.checks, met, strict=True):
            # Two checks of a kind, from a data set: the kind is met if both are.
            parts[check.kind] = min(float(one), parts.get(check.kind, 1.0))
        reward = sum(met) / len(met) if self.credit == "share" else float(all(met))
        return Score(reward, parts=parts)
