"""What a trainer's reward functions return, seen as they return it; and one that scores checks.

The trainer's total is watched, not made again: its weights, its sum over the functions that scored
an answer, and no reward where none did. What a trainer does to it afterwards (clipping, a KL
penalty, normalising each function by itself) is not in it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from torch import nn

from eva.integrations.trl_rows import SLOT, checks_of, said
from eva.rewards.rules import RuleReward
from eva.types import Group, Json, Prompt, Response

Reward: TypeAlias = Any
"""A reward function or reward model, as the trainer takes it."""


class Answer(NamedTuple):
    """One answer of this rank."""

    slot: int
    reward: float | None
    """The trainer's total; None where no function gave a finite one."""
    truncated: bool
    """Whether the token limit cut it off; False where only reward models score."""
    members: tuple[float, ...] = ()
    """What each function gave, if they are an ensemble and all did; their mean is the reward."""


class Observer:
    """Watches reward functions and keeps the totals of this rank's answers."""

    def __init__(
        self,
        weights: Sequence[float],
        *,
        slots: Callable[[int], Sequence[int]],
        training: Callable[[], bool],
        truncated: Callable[[Sequence[int]], bool],
        ensemble: bool = False,
    ) -> None:
        """Watch as many functions as there are weights.

        Args:
            weights: the trainer's.
            slots: returns the slots of so many rows that are now answered; asked where only reward
                models score, which see texts but no columns.
            training: whether it trains now, or evaluates.
            truncated: whether these token ids were cut off by the limit.
            ensemble: whether to keep what each function gave.
        """
        self.figures: list[Mapping[str, float]] = []
        """What is logged with the next answers, by name."""
        self._weights = np.array(weights, dtype=np.float32)
        self._slots = slots
        self._training = training
        self._truncated = truncated
        self._ensemble = ensemble
        self._scores: dict[int, list[float | None]] = {}
        self._rows: list[int] | None = None
        self._cut: list[bool] | None = None
        self._answers: list[Answer] = []

    def watch(self, index: int, reward: Reward) -> Reward:
        """Return what takes a reward's place in the trainer; a reward model keeps it."""
        if isinstance(reward, nn.Module):
            reward.register_forward_hook(
                lambda module, inputs, output: self._model_called(index, output)
            )
            return reward
        if is_async(reward):

            @functools.wraps(reward)
            async def awaited(**columns: Any) -> list[Any]:
                return self._called(index, await reward(**columns), columns)

            return awaited

        @functools.wraps(reward)
        def called(**columns: Any) -> list[Any]:
            return self._called(index, reward(**columns), columns)

        return called

    def take(self) -> list[Answer]:
        """Return the answers since the last call."""
        taken, self._answers = self._answers, []
        return taken

    def take_figures(self) -> dict[str, float]:
        """Return the means of the figures since the last call."""
        taken, self.figures = self.figures, []
        names = sorted({name for figures in taken for name in figures})
        return {
            name: float(np.mean([figures[name] for figures in taken if name in figures]))
            for name in names
        }

    def _called(self, index: int, output: Any, columns: Mapping[str, Any]) -> list[Any]:
        made = list(output)
        # rows of an evaluation set have no slots
        if SLOT in columns and len(made) == len(columns[SLOT]):
            self._rows = [int(slot) for slot in columns[SLOT]]
            self._cut = [self._truncated(ids) for ids in columns["completion_ids"]]
            for name, value in self.take_figures().items():
                columns["log_metric"](f"eva/{name}", value)
            self._scored(index, [None if one is None else float(one) for one in made])
        return made

    def _model_called(self, index: int, output: Any) -> None:
        if self._training():
            self._scored(index, output.logits[:, 0].float().tolist())

    def _scored(self, index: int, scores: list[float | None]) -> None:
        self._scores[index] = scores
        if len(self._scores) < len(self._weights):
            return
        columns = [self._scores[i] for i in range(len(self._weights))]
        rows = self._rows or list(self._slots(len(scores)))
        cut = self._cut or [False] * len(scores)
        rewards = totals(columns, self._weights)
        given = members(columns, self._weights) if self._ensemble else [()] * len(rewards)
        self._answers += map(Answer, rows, rewards, cut, given)
        self._scores, self._rows, self._cut = {}, None, None


def totals(
    scores: Sequence[Sequence[float | None]], weights: Sequence[float] | np.ndarray[Any, Any]
) -> list[float | None]:
    """Return the weighted sums over functions, (F, B) and (F,) -> (B,), in float32.

    >>> totals([[1.0, None, None], [2.0, 4.0, None]], [1.0, 0.5])
    [2.0, 2.0, None]
    """
    values = np.array(scores, dtype=np.float32)  # None becomes NaN
    sums = np.nansum(values * np.asarray(weights, dtype=np.float32)[:, None], axis=0)
    sums[np.isnan(values).all(axis=0)] = np.nan
    return [float(total) if np.isfinite(total) else None for total in sums]


def members(
    scores: Sequence[Sequence[float | None]], weights: Sequence[float] | np.ndarray[Any, Any]
) -> list[tuple[float, ...]]:
    """Return each answer's scores by function, scaled so that their mean is the weighted sum.

    None for an answer that a function left out: (F, B) and (F,) -> B tuples of F, or empty.

    >>> members([[1.0, None], [2.0, 4.0]], [1.0, 0.5])
    [(2.0, 2.0), ()]
    """
    scaled = np.array(scores, dtype=np.float64) * np.asarray(weights)[:, None] * len(scores)
    return [tuple(row) if np.isfinite(row).all() else () for row in scaled.T.tolist()]


def is_async(function: Callable[..., object]) -> bool:
    """Whether a call returns an awaitable: of a function, a partial of one, or an object."""
    while isinstance(function, functools.partial):
        function = function.func
    called = type(function).__call__ if not inspect.isroutine(function) else function
    return inspect.iscoroutinefunction(called)


def constraints_met(
    *,
    prompts: Sequence[Json],
    completions: Sequence[Json],
    checks: Sequence[Json] | None = None,
    credit: Literal["share", "all"] = "share",
    min_words: int = 1,
    **columns: Any,
) -> list[float | None]:
    """Return the share of its prompt's constraints that each completion meets; None without any.

    A reward function for TRL: put it into `reward_funcs`. It reads the column `checks` of the rows
    that eva makes, and of an evaluation set with such a column.

    Args:
        prompts: as the trainer gives them; not read.
        completions: texts, or lists of messages.
        checks: the constraints of each row: lists of objects, or JSON texts.
        credit: `share` of the constraints, or 1 only where `all` are met.
        min_words: an answer with fewer words gets 0.
        columns: whatever else the trainer gives.

    Raises:
        DataError: a column of checks holds something else.
    """
    reward = RuleReward(credit=credit, min_words=min_words)
    found: list[float | None] = []
    for completion, value in zip(completions, checks or [None] * len(completions), strict=True):
        wanted = checks_of(value)
        asked = Prompt.of("?", checks=wanted)
        answer = Group(asked, (), (Response(said(completion), ()),), policy="")
        found.append(reward.score([answer])[0].rewards[0] if wanted else None)
    return found
