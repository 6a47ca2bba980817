"""Checks of an answer against what the prompt's data set says of it, with a time limit.

A check is a function of eva's own (`mathematics`, `pattern`, `json_schema`). It reads text that a
model wrote, and some texts keep a parser busy for ever or break it: so it runs where a user's
function runs, in a process that can be killed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from eva.rewards.function import FunctionReward
from eva.types import Group, Json, Prompt, Score, ScoredGroup


class VerifierReward:
    """What a check says of a response and of columns of its prompt.

    A prompt that lacks one of the columns has no scores. A check that raises, or takes too long,
    leaves its response unscored: it can't tell a wrong answer from a wrong reference there.

    Args:
        check: `module:function`, as for a user's function; its parameters are `response`, and the
            names of `columns` and `settings`.
        name: what a combination calls it.
        columns: which column of the prompt is which argument.
        settings: further arguments, the same for all prompts.
        seconds: time limit for one response.

    Raises:
        ConfigError: what the check is made with is not installed.
    """

    def __init__(
        self,
        check: str,
        *,
        name: str,
        columns: Mapping[str, str],
        settings: Mapping[str, Json] | None = None,
        seconds: float = 5.0,
    ) -> None:
        self.name = name
        self._columns = dict(columns)
        self._settings = dict(settings or {})
        self._function = FunctionReward(check, seconds=seconds)

    def score(self, groups: Sequence[Group]) -> list[ScoredGroup]:
        """Return the groups, in order, each response with its score or why it has none.

        Raises:
            RewardError: 20 responses in a row took too long.
        """
        return [ScoredGroup(group, self._scores(group)) for group in groups]

    def close(self) -> None:
        """End the worker process; a further call starts another one."""
        self._function.close()

    def _scores(self, group: Group) -> tuple[Score, ...]:
        prompt = group.prompt
        lacking = [c for c in self._columns.values() if prompt.columns.get(c) is None]
        if lacking:
            return (_unscored(prompt, lacking),) * len(group.responses)
        given = {name: prompt.columns[column] for name, column in self._columns.items()}
        seen = replace(prompt, columns=given | self._settings)
        (scored,) = self._function.score([replace(group, prompt=seen)])
        return scored.scores


def _unscored(prompt: Prompt, lacking: Sequence[str]) -> Score:
    detail = (
        f"prompt {prompt.id} has no {', '.join(map(repr, lacking))}; it has"
        f" {', '.join(map(repr, prompt.columns)) or 'no columns'}: see prompts.keep, and"
        " keep_columns of the evolver"
    )
    return Score(None, cause="none", detail=detail)
