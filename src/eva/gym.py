"""Puzzles of reasoning-gym, made to order at any level, and whether an answer solves one.

Some of the library's judges run an answer as Python, or hand it to SymPy, whose parser does the
same: their tasks are refused, since what a model writes is never executed. What a judge does is
read from its code, not from a list that a new version outgrows.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from types import CodeType, FunctionType, ModuleType
from typing import Any

from eva.errors import ConfigError, DataError, unknown_name
from eva.types import Json, Prompt

# With the module rather than at the first call, which has a time limit.
_LIBRARY: Any = import_module("reasoning_gym.factory") if find_spec("reasoning_gym") else None

REQUEST = "End with nothing but the answer between <answer> and </answer>."
"""What every puzzle asks for, so that the answer can be found."""

_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_RUNS = frozenset({"eval", "exec", "compile", "__import__", "parse_expr", "sympify", "sympy"})


def library() -> Any:
    """Return the library's registry.

    Raises:
        ConfigError: it is not installed.
    """
    if _LIBRARY is None:
        raise ConfigError('puzzles need reasoning-gym: pip install "eva-align[gym]"')
    return _LIBRARY


def check_task(task: str) -> None:
    """Refuse a task that cannot be played.

    Raises:
        ConfigError: there is none of that name with levels, or its judge would run answers.
    """
    known = library()
    if task not in known.CURRICULA:
        raise ConfigError(unknown_name("task of reasoning-gym", task, known.CURRICULA))
    owner = known.DATASETS[task][0]
    found = sorted(_running(owner, owner.score_answer, set()))
    if found:
        raise ConfigError(
            f"reasoning-gym's task {task!r}: its judge runs what a model writes ({found[0]}):"
            " take another task"
        )


@lru_cache(maxsize=256)
def top_level(task: str) -> int:
    """Return the highest level of a task; the lowest is 0."""
    attributes: Mapping[str, Any] = library().create_curriculum(task).attributes
    return max((len(attribute.levels) for attribute in attributes.values()), default=1) - 1


def puzzle(task: str, level: int, seed: int, **lineage: Any) -> Prompt:
    """Return a puzzle as a prompt; `lineage` may set parents, operator and born.

    Its columns are `task`, `level`, `answer`, and `entry`, what the judge needs to know.

    Raises:
        DataError: the library makes none of this task at this level, or none that text can hold.
    """
    try:
        made = _dataset(task, level, seed=seed)[0]
    # Generators refuse levels in ways of their own, by assertions above all.
    except Exception as error:
        raise DataError(
            f"reasoning-gym: no {task!r} at level {level}: {type(error).__name__}: {error}"
        ) from error
    entry = {name: made[name] for name in ("question", "answer", "metadata")}
    if not _is_text(entry):
        raise DataError(f"reasoning-gym: {task!r}: what its judge needs cannot be kept as text")
    columns = {"task": task, "level": level, "answer": entry["answer"], "entry": repr(entry)}
    return Prompt.of(f"{entry['question']}\n\n{REQUEST}", topic=task, columns=columns, **lineage)


def solved(response: str, *, task: str, level: int, entry: str) -> float:
    """Return how well a response solves a puzzle, from 0 to 1, by the task's own judge.

    Without the marks the whole response is taken for the answer.
    """
    # Up to the last end mark: each mark that nothing closes would be followed to the text's end.
    before, end, _ = response.rpartition("</answer>")
    marked = _ANSWER.findall(before + end)
    answer = (marked[-1] if marked else response).strip()
    judge, known = _judge(task, level), ast.literal_eval(entry)
    try:
        return float(judge.score_answer(answer, known))
    # Some judges raise at what they cannot read; where the right answer passes, it is a wrong one.
    except Exception:
        judge.score_answer(known["answer"], known)
        return 0.0


@lru_cache(maxsize=256)
def _judge(task: str, level: int) -> Any:
    check_task(task)
    return _dataset(task, level, seed=0)


def _dataset(task: str, level: int, *, seed: int) -> Any:
    curriculum = library().create_curriculum(task)
    curriculum.set_global_level(level)
    settings = curriculum.generate_configuration({"seed": seed, "size": 1})
    return library().DATASETS[task][0](settings)


def _is_text(entry: Json) -> bool:
    try:
        return bool(ast.literal_eval(repr(entry)) == entry)
    except (ValueError, SyntaxError):
        return False


def _running(owner: type, function: Any, seen: set[Any]) -> Iterator[str]:
    """Yield the names by which a judge, or what it calls of its own library, runs text."""
    if not isinstance(function, FunctionType) or function in seen:
        return
    seen.add(function)
    for name in _names(function.__code__):
        known = function.__globals__.get(name, getattr(owner, name, None))
        home = known.__name__ if isinstance(known, ModuleType) else getattr(known, "__module__", "")
        if str(home).startswith("reasoning_gym"):
            yield from _running(owner, known, seen)
        elif name in _RUNS or str(home).startswith("sympy"):
            yield name


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names(inner)
