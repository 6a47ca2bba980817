"""A Python function of the user's as a reward, in a worker process with a time limit.

A function takes one response, or all responses of one prompt as TRL's reward functions do (told by
a parameter named `completions`); either may be `async`:

    def reward(prompt: str, response: str, **columns) -> float | None | dict[str, float]
    def reward(prompts: list[str], completions: list[str], **columns) -> list[float | None]

`columns` are those of the data set and `messages`, `topic`, `checks`, `truncated`,
`completion_ids`; a function gets those that its parameters name, or all of them with `**columns`.
Docs: docs/rewards.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from eva.errors import ConfigError, DataError, RewardError
from eva.rewards.guard import BROKEN_AT, as_score
from eva.rewards.process import Worker
from eva.types import Group, Json, Prompt, Response, Score, ScoredGroup


class FunctionReward:
    """The value of a user's function, higher being better.

    The function runs in a process of its own: a hang, a crash or an exception costs the response
    that it was called for, nothing else. After a hang or a crash the process is started anew, so
    the function must not rely on what it remembers.

    Args:
        spec: `package.module:function` or `path/to/file.py:function`.
        seconds: time limit for one response; for all responses of a prompt, that times their
            number.

    Raises:
        ConfigError: the function cannot be imported, or does not take what it would be given.
    """

    def __init__(self, spec: str, *, seconds: float = 10.0) -> None:
        if not seconds > 0:
            raise ConfigError(f"reward function {spec!r}: {seconds} seconds; expected more than 0")
        self.spec = spec
        self.seconds = seconds
        self._worker: Worker | None = Worker(spec)
        self._late = 0

    def score(self, groups: Sequence[Group]) -> list[ScoredGroup]:
        """Return the groups, in order, each response with its score or why it has none.

        Raises:
            RewardError: 20 responses in a row took too long, or the process cannot be restarted.
        """
        return [ScoredGroup(group, tuple(self._scores(group))) for group in groups]

    def close(self) -> None:
        """End the worker process; a further call starts another one."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _scores(self, group: Group) -> list[Score]:
        items = [_item(group.prompt, response) for response in group.responses]
        if len(items) > 1 and self._running().batch:
            together = self._ask(items)
            if not isinstance(together, Score):
                return together
        # What failed for all of them need not fail for each.
        return [self._single(item) for item in items]

    def _single(self, item: Mapping[str, Json]) -> Score:
        answer = self._ask([item])
        score = answer if isinstance(answer, Score) else answer[0]
        self._late = self._late + 1 if score.cause == "timeout" else 0
        if self._late >= BROKEN_AT:
            raise RewardError(
                f"reward function {self.spec!r}: {self._late} responses in a row took longer than"
                f" {self.seconds:g} s each; make it faster or allow it more seconds"
            )
        return score

    def _ask(self, items: Sequence[Mapping[str, Json]]) -> list[Score] | Score:
        """Return the scores of the items, or the one failure of them all."""
        try:
            reply = self._running().ask({"items": items}, seconds=self.seconds * len(items))
        except DataError as error:
            return Score(None, cause="raised", detail=str(error))
        except (TimeoutError, ConnectionError) as error:
            self._worker = None
            cause = "timeout" if isinstance(error, TimeoutError) else "raised"
            return Score(None, cause=cause, detail=str(error))
        except BaseException:  # an interrupt has closed the worker: a later call needs another
            self._worker = None
            raise
        if "raised" in reply:
            return Score(None, cause="raised", detail=reply["raised"])
        values = reply["values"]
        if len(values) != len(items):
            detail = f"it returned {len(values)} values for {len(items)} responses"
            return Score(None, cause="count", detail=detail)
        return [_score(value) for value in values]

    def _running(self) -> Worker:
        if self._worker is None:
            try:
                self._worker = Worker(self.spec)
            except ConfigError as error:
                raise RewardError(f"the worker could not be started again: {error}") from error
        return self._worker


def _item(prompt: Prompt, response: Response) -> dict[str, Json]:
    """Return what the function may ask for; these names win over columns of the data set."""
    return {
        **prompt.columns,
        "prompt": prompt.text,
        "response": response.text,
        "messages": [asdict(message) for message in prompt.messages],
        "topic": prompt.topic,
        "checks": [{"kind": check.kind, "args": dict(check.args)} for check in prompt.checks],
        "truncated": response.truncated,
        "completion_ids": list(response.token_ids),
    }


def _score(value: Json) -> Score:
    if not isinstance(value, Mapping):
        return as_score(value)
    parts = {name: part for name, part in value.items() if name != "reward"}
    return as_score(value["reward"], parts)
