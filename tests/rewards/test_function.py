from __future__ import annotations

from pathlib import Path

import pytest

from eva.errors import ConfigError, RewardError
from eva.rewards import function
from eva.rewards.function import FunctionReward
from eva.rewards.guard import Guarded
from eva.types import Check, Group, Message, Prompt, Response

EXAMPLE = Path(__file__).parents[2] / "examples" / "rewards_own_function.py"

FUNCTIONS = '''
import asyncio, json, math, os, time

def single(prompt, response):
    """Do as the answer says."""
    if response == "raise":
        raise ValueError("not my kind of answer")
    if response == "hang":
        time.sleep(1000)
    if response == "die":
        os._exit(1)
    if response == "text":
        return "0.5"
    named = {"none": None, "nan": math.nan, "inf": math.inf, "parts": {"reward": 2, "half": 1}}
    return named[response] if response in named else float(response)

async def later(response):
    await asyncio.sleep(0)
    return float(response)

def seen(**columns):
    return {"reward": 1, "size": len(json.dumps(columns, sort_keys=True)), **{
        name: 1 for name in columns}}

def together(prompts, completions, **columns):
    if "raise" in completions:
        raise ValueError("one of them")
    if "few" in completions:
        return [1.0]
    if "die" in completions:
        os._exit(1)
    assert len(prompts) == len(completions) == len(columns["topic"])
    return [float(text) + len(completions) for text in completions]

async def together_later(completions):
    return await asyncio.gather(*(later(text) for text in completions))

once = 0
def counting(response):
    global once
    once += 1
    if response == "hang":
        time.sleep(1000)
    return once
'''


@pytest.fixture(scope="module")
def functions(tmp_path_factory):
    file = tmp_path_factory.mktemp("functions") / "functions.py"
    file.write_text(FUNCTIONS)
    return file


@pytest.fixture
def reward(functions):
    made = []

    def make(name, **settings):
        made.append(FunctionReward(f"{functions}:{name}", **({"seconds": 60} | settings)))
        return made[-1]

    yield make
    for one in made:
        one.close()


def group(*texts, prompt=None):
    return Group(prompt or Prompt.of("q"), (), tuple(Response(t, (7, 8)) for t in texts), "p")


def causes(scored):
    return [score.cause for score in scored.scores]


def test_every_failure_has_its_cause_and_costs_only_itself(reward):
    texts = ("1", "raise", "die", "none", "nan", "inf", "text", "parts", "-2")
    first, second = reward("single").score([group(*texts), group("3")])
    assert causes(first) == ["", "raised", "raised", "none", "nan", "nan", "raised", "", ""]
    assert first.rewards == (1, None, None, None, None, None, None, 2, -2)
    assert second.rewards == (3,)
    assert first.scores[1].detail == "ValueError: not my kind of answer"
    assert "exit code 1" in first.scores[2].detail
    assert "'0.5'" in first.scores[6].detail
    assert first.scores[7].parts == {"half": 1.0}


def test_a_hang_is_killed_and_the_worker_starts_anew(reward):
    (one,) = reward("counting", seconds=3).score([group("a", "b", "hang", "c")])
    assert causes(one) == ["", "", "timeout", ""]
    assert one.rewards == (1, 2, None, 1)
    assert "within 3 s" in one.scores[2].detail


def test_a_worker_that_always_hangs_stops_the_run_early(reward, monkeypatch):
    monkeypatch.setattr(function, "BROKEN_AT", 3)
    slow = reward("single", seconds=0.3)
    with pytest.raises(RewardError, match=r"3 responses in a row took longer than 0.3 s each"):
        slow.score([group(*["hang"] * 9)])


def test_async_functions_are_awaited(reward):
    (one,) = reward("later").score([group("0.5", "2")])
    assert one.rewards == (0.5, 2.0)
    (one,) = reward("together_later").score([group("0.5", "2")])
    assert one.rewards == (0.5, 2.0)


def test_functions_of_completions_get_a_prompts_answers_at_once(reward):
    first, second = reward("together").score([group("1", "2", "3"), group("1")])
    assert first.rewards == (4, 5, 6)
    assert second.rewards == (2,)


def test_what_fails_together_is_tried_alone(reward):
    scored = reward("together").score([group("1", bad) for bad in ("raise", "few", "die")])
    assert [one.rewards[0] for one in scored] == [2, 2, 2]
    assert [one.scores[1].cause for one in scored] == ["raised", "", "raised"]
    assert scored[1].rewards[1] == 1


def test_a_wrong_number_of_values_has_the_cause_count(tmp_path):
    file = tmp_path / "short.py"
    file.write_text("def f(completions): return [1.0, 2.0, 3.0]")
    (one,) = FunctionReward(f"{file}:f").score([group("a", "b")])
    assert causes(one) == ["count", "count"]
    assert one.scores[0].detail == "it returned 3 values for 1 responses"


def test_columns_reach_the_function_and_never_hide_evas_own(reward):
    prompt = Prompt(
        (Message("system", "s"), Message("user", "q")),
        checks=(Check("no_comma", {"n": 1}),),
        topic="t",
        columns={"answer": "42", "response": "of the data set"},
    )
    (one,) = reward("seen").score([group("a", prompt=prompt)])
    own = {"messages", "topic", "checks", "truncated", "completion_ids", "prompt", "response"}
    assert set(one.scores[0].parts) == own | {"answer", "size"}


def test_a_missing_column_is_told_by_the_functions_own_words(reward, tmp_path):
    file = tmp_path / "needs.py"
    file.write_text("def f(response, answer): return 1.0")
    (one,) = FunctionReward(f"{file}:f").score([group("a")])
    assert "missing 1 required positional argument: 'answer'" in one.scores[0].detail


def test_a_worker_that_cannot_start_again_is_a_broken_reward(tmp_path):
    file = tmp_path / "vanishing.py"
    file.write_text("import os\ndef f(response): os._exit(1)")
    vanishing = FunctionReward(f"{file}:f")
    file.unlink()
    with pytest.raises(RewardError, match=r"could not be started again.*vanishing.py"):
        vanishing.score([group("a", "b")])


def test_a_function_that_always_raises_stops_the_run(reward):
    with pytest.raises(RewardError, match=r"20 raised.*not my kind of answer"):
        Guarded(reward("single")).score([group(*["raise"] * 20)])


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_time_limit_is_positive(seconds):
    with pytest.raises(ConfigError, match="seconds"):
        FunctionReward("math:sqrt", seconds=seconds)


def test_the_example_of_one_response():
    (one,) = FunctionReward(f"{EXAMPLE}:near_fifty_words").score(
        [group("word " * 50, "q " * 50, "", prompt=Prompt.of("Q"))]
    )
    assert one.rewards == (1.0, 0.5, 0.0)
    assert one.scores[1].parts == {"near": 1.0, "echo": 1.0}


def test_the_example_of_all_responses():
    with_answer = Prompt.of("6 x 7?", columns={"answer": "42"})
    without = Prompt.of("7 x 7?", columns={"answer": None})
    scored = FunctionReward(f"{EXAMPLE}:right_answer").score(
        [group("It is 42.", "41", prompt=with_answer), group("49", prompt=without)]
    )
    assert [one.rewards for one in scored] == [(1.0, 0.0), (None,)]


@pytest.mark.parametrize("name", ["single", "together"])
def test_what_json_cannot_say_fails_alone_with_the_cause(reward, name):
    made = reward(name)
    odd = Prompt.of("q", columns={"answer": b"bytes"})
    first, second = made.score([group("1", "2", prompt=odd), group("3")])
    assert causes(first) == ["raised", "raised"]
    assert "bytes is not JSON serializable" in first.scores[0].detail
    assert causes(second) == [""]


def test_an_interrupted_function_is_started_anew(reward, monkeypatch):
    made = reward("counting")

    class Interrupted:
        def settimeout(self, seconds):
            raise KeyboardInterrupt

    assert made.score([group("a")])[0].rewards == (1,)
    with monkeypatch.context() as patch:
        patch.setattr(made._worker, "_link", Interrupted())
        with pytest.raises(KeyboardInterrupt):
            made.score([group("b")])
    assert made.score([group("c")])[0].rewards == (1,)
