from __future__ import annotations

import pytest

from eva.errors import ConfigError, RewardError
from eva.rewards.guard import Guarded
from eva.rewards.verifier import VerifierReward
from eva.types import Group, Prompt, Response

CHECKS = """
import time

def same(response, reference, factor):
    if response == "hang":
        time.sleep(1000)
    return factor * float(response == str(reference))
"""


@pytest.fixture(scope="module")
def check(tmp_path_factory):
    file = tmp_path_factory.mktemp("checks") / "checks.py"
    file.write_text(CHECKS)
    return f"{file}:same"


@pytest.fixture
def reward(check):
    made = []

    def make(**settings):
        given = {"columns": {"reference": "answer"}, "settings": {"factor": 2}, "seconds": 60}
        made.append(VerifierReward(check, name="same", **(given | settings)))
        return made[-1]

    yield make
    for one in made:
        one.close()


def answered(*texts, **columns):
    return Group(Prompt.of("q", columns=columns), (), tuple(Response(t, ()) for t in texts), "p")


def test_the_column_of_each_prompt_is_the_reference_and_settings_are_the_same_for_all(reward):
    groups = [answered("7", "8", answer=7), answered("8", answer="8", factor=9)]
    first, second = reward().score(groups)
    assert first.group is groups[0]
    assert first.rewards == (2.0, 0.0)
    assert second.rewards == (2.0,)  # a column of the data set is no setting


def test_a_prompt_without_the_column_is_unscored_and_says_what_it_has(reward):
    (one,) = reward().score([answered("7", "8", solution=7, answer=None)])
    assert one.rewards == (None, None)
    assert one.scores[0].cause == "none"
    assert "'answer'" in one.scores[0].detail
    assert "'solution'" in one.scores[0].detail


def test_an_answer_that_keeps_the_check_busy_costs_only_its_own_score(reward):
    (one,) = reward(seconds=0.2).score([answered("7", "hang", "7", answer=7)])
    assert [score.cause for score in one.scores] == ["", "timeout", ""]


def test_prompts_that_all_lack_the_column_stop_the_run(reward):
    with pytest.raises(RewardError, match="'answer'"):
        Guarded(reward()).score([answered(*"abcdefghijklmnopqrstu")])


def test_a_check_that_cannot_be_had_is_an_error_at_once():
    with pytest.raises(ConfigError, match="no_such_package"):
        VerifierReward("no_such_package:check", name="x", columns={})
