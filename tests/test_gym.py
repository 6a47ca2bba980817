"""Puzzles: against a small library of the same shape, and against the real one where it is."""

from __future__ import annotations

import random
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from eva import gym
from eva.errors import ConfigError, DataError

REAL = pytest.mark.skipif(gym._LIBRARY is None, reason="reasoning-gym is not installed")


@dataclass
class Sums:
    """Two numbers below 10 ** (level + 1)."""

    seed: int
    size: int
    level: int

    def __getitem__(self, i):
        if self.level > 3:
            raise AssertionError("level must be <= 3")
        rng = random.Random(self.seed)
        pair = tuple(rng.randrange(10 ** (self.level + 1)) for _ in range(2))
        return {"question": f"{pair[0]} + {pair[1]}?", "answer": str(sum(pair)),
                "metadata": {"pair": pair}, "other": object()}  # fmt: skip

    def score_answer(self, answer, entry):
        assert isinstance(entry["metadata"]["pair"], tuple)
        return float(int(answer) == sum(entry["metadata"]["pair"]))


class Runs(Sums):
    def score_answer(self, answer, entry):
        return max((float(eval(each)) for each in [answer]), default=0.0)


class Unkept(Sums):
    def __getitem__(self, i):
        return super().__getitem__(i) | {"metadata": {"object": object()}}


class Curriculum:
    def __init__(self, task):
        self.task = task
        self.attributes = {
            "a": SimpleNamespace(levels=[1, 2]),
            "b": SimpleNamespace(levels=[1] * 6),
        }

    def set_global_level(self, level):
        self.level = level

    def generate_configuration(self, defaults):
        return {**defaults, "level": self.level}


@pytest.fixture
def library(monkeypatch):
    tasks = {"sums": Sums, "runs": Runs, "unkept": Unkept}
    made = {name: (_made(owner), None) for name, owner in tasks.items()}
    fake = SimpleNamespace(CURRICULA=tasks, DATASETS=made, create_curriculum=Curriculum)
    for cached in (gym._judge, gym.top_level):
        cached.cache_clear()
    monkeypatch.setattr(gym, "_LIBRARY", fake)
    yield
    for cached in (gym._judge, gym.top_level):
        cached.cache_clear()


def _made(owner):
    class Made(owner):
        def __init__(self, settings):
            super().__init__(**settings)

    return Made


@pytest.mark.usefixtures("library")
def test_a_puzzle_is_a_prompt_with_what_its_judge_needs():
    prompt = gym.puzzle("sums", 1, 7, operator="harder", born=3, parents=("x",))
    a, b = map(int, prompt.text.partition("?")[0].split(" + "))
    assert prompt.text.endswith(gym.REQUEST)
    assert (prompt.topic, prompt.operator, prompt.born) == ("sums", "harder", 3)
    columns = prompt.columns
    assert (columns["task"], columns["level"], columns["answer"]) == ("sums", 1, str(a + b))
    assert gym.puzzle("sums", 1, 7).id == prompt.id != gym.puzzle("sums", 1, 8).id
    known = {name: columns[name] for name in ("task", "level", "entry")}
    assert gym.solved(f"No: <answer>1</answer>, <answer> {a + b} </answer>.", **known) == 1.0
    assert gym.solved(f"{a + b}\n", **known) == 1.0
    assert gym.solved(f"<answer>{a + b + 1}</answer>", **known) == 0.0
    assert gym.solved("it raises at this", **known) == 0.0


@pytest.mark.usefixtures("library")
def test_marks_are_read_in_time_that_does_not_grow_with_their_number():
    known = gym.puzzle("sums", 0, 7).columns
    known = {name: known[name] for name in ("task", "level", "entry")}
    right = str(sum(map(int, gym.puzzle("sums", 0, 7).text.partition("?")[0].split(" + "))))
    # with 10^11 steps the suite's own limit would end it
    opened = "<answer>" * (2 * 10**5)
    assert gym.solved(f"<answer>{right}</answer>{opened}", **known) == 1.0
    assert gym.solved(opened, **known) == 0.0


@pytest.mark.usefixtures("library")
def test_a_judge_that_fails_on_the_right_answer_is_broken():
    entry = "{'answer': '3', 'metadata': {}}"
    with pytest.raises(KeyError):
        gym.solved("3", task="sums", level=1, entry=entry)


@pytest.mark.usefixtures("library")
def test_levels_reach_to_the_longest_attribute():
    assert gym.top_level("sums") == 5


@pytest.mark.usefixtures("library")
def test_what_cannot_be_made_is_told():
    with pytest.raises(DataError, match="no 'sums' at level 4: AssertionError: level must be"):
        gym.puzzle("sums", 4, 0)
    with pytest.raises(DataError, match="cannot be kept as text"):
        gym.puzzle("unkept", 0, 0)


@pytest.mark.usefixtures("library")
def test_tasks_that_cannot_be_played_are_refused():
    gym.check_task("sums")
    with pytest.raises(ConfigError, match="did you mean 'sums'"):
        gym.check_task("sum")
    with pytest.raises(ConfigError, match=r"runs what a model writes \(eval\)"):
        gym.check_task("runs")
    with pytest.raises(ConfigError, match="runs what a model writes"):
        gym.solved("1", task="runs", level=0, entry=gym.puzzle("runs", 0, 0).columns["entry"])


def test_without_the_library_it_is_named(monkeypatch):
    monkeypatch.setattr(gym, "_LIBRARY", None)
    with pytest.raises(ConfigError, match=r"eva-align\[gym\]"):
        gym.check_task("gcd")


@REAL
@pytest.mark.parametrize(
    "task", ["gcd", "chain_sum", "leg_counting", "mini_sudoku", "caesar_cipher"]
)
def test_the_right_answer_of_the_real_library_solves(task):
    gym.check_task(task)
    for level in (0, gym.top_level(task) if task != "caesar_cipher" else 0):
        columns = gym.puzzle(task, level, 5).columns
        known = {name: columns[name] for name in ("task", "level", "entry")}
        assert gym.solved(f"So <answer>{columns['answer']}</answer>", **known) == 1.0
        assert gym.solved("<answer>no idea</answer>", **known) < 0.2


@REAL
@pytest.mark.parametrize("task", ["spiral_matrix", "countdown", "simple_integration", "n_queens"])
def test_judges_of_the_real_library_that_run_answers_are_found(task):
    with pytest.raises(ConfigError, match="runs what a model writes"):
        gym.check_task(task)
