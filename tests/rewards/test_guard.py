from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eva.errors import ConfigError, RewardError
from eva.rewards.guard import Guarded, as_score, judge
from eva.types import Group, Prompt, Response, Score, ScoredGroup


def group(*texts: str, asked: str = "q") -> Group:
    return Group(Prompt.of(asked), (), tuple(Response(text, ()) for text in texts), "p")


class Model:
    """Scores an answer by `value(text)`, group by group, and counts its calls."""

    def __init__(self, value):
        self.value = value
        self.calls = 0

    def score(self, groups):
        self.calls += 1
        return [
            ScoredGroup(g, tuple(Score(self.value(r.text)) for r in g.responses)) for g in groups
        ]


def number(text):
    if text == "bad":
        raise ValueError("no number in it")
    return float(text)


def test_what_raises_costs_only_itself_and_order_is_kept():
    groups = [group("1", "2"), group("3", "bad", "4", asked="r"), group(), group("5")]
    scored = Guarded(Model(number)).score(groups)
    assert [one.group for one in scored] == groups
    assert [one.rewards for one in scored] == [(1, 2), (3, None, 4), (), (5,)]
    bad = scored[1].scores[1]
    assert (bad.cause, bad.detail) == ("raised", "ValueError: no number in it")


def test_one_bad_response_costs_few_further_calls():
    model = Model(number)
    groups = [group("1", "2", asked=str(i)) for i in range(63)] + [group("bad", "1")]
    Guarded(model).score(groups)
    assert model.calls <= 1 + 2 * 6 + 2  # the halves, six times, then each response


@given(st.lists(st.lists(st.sampled_from(["1", "2", "bad"]), max_size=4), max_size=8))
def test_whatever_fails_the_others_are_scored_as_if_alone(texts):
    groups = [group(*answers, asked=str(i)) for i, answers in enumerate(texts)]
    count, bad = sum(map(len, texts)), sum(answers.count("bad") for answers in texts)
    if count >= 20 and 2 * bad > count:
        with pytest.raises(RewardError):
            Guarded(Model(number)).score(groups)
        return
    want = [tuple(None if t == "bad" else float(t) for t in answers) for answers in texts]
    assert [one.rewards for one in Guarded(Model(number)).score(groups)] == want


@pytest.mark.parametrize(
    ("value", "cause"),
    [(math.nan, "nan"), (-math.inf, "nan"), (None, "none"), ("high", "nan"), ([1.0], "nan")],
)
def test_a_reward_that_is_no_finite_number_is_none_with_a_cause(value, cause):
    (one,) = Guarded(Model(lambda text: value)).score([group("a")])
    assert (one.scores[0].reward, one.scores[0].cause) == (None, cause)


def test_numbers_of_any_kind_become_floats():
    (one,) = Guarded(Model(lambda text: np.float32(0.5))).score([group("a")])
    assert one.rewards == (0.5,)
    assert type(one.rewards[0]) is float
    assert as_score(True).reward == 1.0


def test_a_part_that_is_not_finite_makes_the_response_unscored():
    score = as_score(1.0, {"length": math.nan})
    assert (score.cause, score.detail) == ("nan", "part 'length' is nan")


def test_a_cause_of_the_rewards_own_is_kept():
    class Long(Model):
        def score(self, groups):
            return [ScoredGroup(g, (Score(None, "too_long", "9 tokens"),)) for g in groups]

    (one,) = Guarded(Long(None)).score([group("a")])
    assert one.scores == (Score(None, "too_long", "9 tokens"),)


class Shortened(Model):
    def score(self, groups):
        return super().score(groups)[: max(1, len(groups) - 1)]


def test_a_wrong_number_of_groups_is_repeated_until_it_is_right():
    groups = [group("1", asked="a"), group("2", asked="b"), group("3", asked="c")]
    scored = Guarded(Shortened(number)).score(groups)
    assert [one.rewards for one in scored] == [(1,), (2,), (3,)]


@pytest.mark.parametrize("answer", [lambda groups: [], lambda groups: None, lambda groups: [0.5]])
def test_what_is_no_scored_group_has_the_cause_count(answer):
    class Odd:
        score = staticmethod(answer)

    (one,) = Guarded(Odd()).score([group("a", "b")])
    assert [score.cause for score in one.scores] == ["count", "count"]


class Reversed(Model):
    def score(self, groups):
        return super().score(groups)[::-1]


def test_groups_in_another_order_are_never_taken_for_the_right_ones():
    groups = [group("1", asked="a"), group("2", asked="b")]
    assert [one.rewards for one in Guarded(Reversed(number)).score(groups)] == [(1,), (2,)]


def test_more_than_half_of_twenty_stop_the_run_with_counts_and_the_last_error():
    values = {"n": None, "x": math.nan, "1": 1.0}
    answers = [*["1"] * 9, *["x"] * 8, *["n"] * 3]
    with pytest.raises(RewardError, match=r"11 of 20 .*\(8 nan, 3 none\).* the last one: none\."):
        Guarded(Model(values.get)).score([group(*answers)])


def test_half_of_twenty_and_all_of_nineteen_do_not():
    Guarded(Model(number)).score([group(*["1"] * 10, *["bad"] * 10)])
    Guarded(Model(number)).score([group(*["bad"] * 19)])


def test_small_calls_are_judged_together():
    guarded = Guarded(Model(number))
    for _ in range(4):
        guarded.score([group("bad", "bad", "bad", "1")])
    with pytest.raises(RewardError, match="15 of 20"):
        guarded.score([group("bad", "bad", "bad", "1")])


def test_a_reward_that_breaks_in_the_middle_of_a_run_is_noticed():
    guarded = Guarded(Model(number))
    for _ in range(20):
        guarded.score([group(*["1"] * 30)])
    with pytest.raises(RewardError, match="16 of 30"):
        guarded.score([group(*["1"] * 14, *["bad"] * 16)])


def test_a_long_good_past_does_not_cover_a_reward_that_broke_in_small_calls():
    guarded = Guarded(Model(number))
    guarded.score([group(*["1"] * 300)])
    for _ in range(3):
        guarded.score([group(*["bad"] * 5)])
    with pytest.raises(RewardError, match="20 of 20"):
        guarded.score([group(*["bad"] * 5)])


def test_prompts_without_responses_count_neither_way():
    guarded = Guarded(Model(number))
    for _ in range(30):
        assert guarded.score([group(), group()])[1].scores == ()


def test_once_the_verdict_is_certain_the_rest_is_not_tried():
    tried = []

    def broken(text):
        tried.append(text)
        raise OSError("no route to host")

    with pytest.raises(RewardError, match="raised OSError: no route to host"):
        Guarded(Model(broken)).score([group(*map(str, range(100)))])
    assert "50" in tried
    assert "51" not in tried


@pytest.mark.parametrize("error", [ConfigError("a config"), RewardError("a server")])
def test_what_says_that_the_reward_is_wrong_passes_through(error):
    def wrong(text):
        raise error

    with pytest.raises(type(error), match=str(error)):
        Guarded(Model(wrong)).score([group("a")])


def test_judge_knows_how_many_are_still_to_come():
    failed = [Score(None, "raised", "x")] * 12
    judge(failed, of=24)
    with pytest.raises(RewardError, match="12 of 23"):
        judge(failed, of=23)
