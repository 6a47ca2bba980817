from __future__ import annotations

import json
from collections import Counter

import pytest
from tests.rewards.judges import asking, good_judge

from eva.rewards.judge import JudgeReward
from eva.rewards.judge_check import KINDS, cases, check_judge
from eva.rewards.pairwise import JudgeComparer, PairwiseReward
from eva.rewards.training import wilson_interval


def checked(reply, *, compares):
    judge = asking(reply)
    reward = PairwiseReward(JudgeComparer(judge)) if compares else JudgeReward(judge)
    return check_judge(reward, compares=compares)


both = pytest.mark.parametrize("compares", [False, True], ids=["rubric", "comparison"])


@both
def test_a_good_judge_passes(compares):
    report = checked(good_judge, compares=compares)
    assert report.faults == ()
    assert (report.accuracy, report.unread) == (1.0, 0.0)
    assert report.accuracy_low == pytest.approx(wilson_interval(20, 20)[0])
    assert report.order_changes == (0.0 if compares else None)
    assert report.first_wins == (0.5 if compares else None)


@both
def test_a_judge_that_guesses_is_refused(compares):
    def guess(request, answers, rng):
        if compares:
            return f"Verdict: {rng.choice(['A', 'B'])}"
        return f"Score: {rng.integers(1, 11)}"

    report = checked(guess, compares=compares)
    assert report.accuracy_low < 0.7
    assert "it is right in" in report.faults[0]


@pytest.mark.parametrize("verdict", ["A", "B", "tie"])
def test_a_judge_that_always_says_the_same_is_refused(verdict):
    report = checked(lambda request, answers, rng: f"Verdict: {verdict}", compares=True)
    assert report.accuracy == 0.5
    assert report.order_changes == (0.0 if verdict == "tie" else 1.0)
    assert report.first_wins == {"A": 1.0, "B": 0.0, "tie": 0.5}[verdict]
    assert len(report.faults) == (1 if verdict == "tie" else 2)


def test_a_judge_that_always_gives_ten_is_refused():
    report = checked(lambda request, answers, rng: "Score: 10", compares=False)
    assert report.accuracy == 0.5
    assert all(counts["tied"] == sum(counts.values()) for counts in report.outcomes.values())
    assert len(report.faults) == 1


@both
def test_a_judge_that_cannot_be_read_is_refused(compares):
    report = checked(lambda request, answers, rng: "They are all very nice.", compares=compares)
    assert (report.accuracy, report.accuracy_low, report.unread) == (0.0, 0.0, 1.0)
    assert report.replies == ("They are all very nice.",) * 3
    assert len(report.faults) == 2


@both
def test_a_good_judge_that_often_cannot_be_read_is_refused(compares):
    def mumbling(request, answers, rng):
        return "Hm." if rng.random() < 0.2 else good_judge(request, answers, rng)

    report = checked(mumbling, compares=compares)
    assert report.accuracy == 1.0
    assert 0.1 < report.unread < 1
    assert [fault for fault in report.faults if "could not be judged" in fault]


def test_a_good_judge_that_often_takes_the_first_is_refused():
    def hasty(request, answers, rng):
        return "Verdict: A" if rng.random() < 0.7 else good_judge(request, answers, rng)

    report = checked(hasty, compares=True)
    assert report.order_changes > 0.3
    assert report.first_wins > 0.6
    assert [fault for fault in report.faults if "order of the answers" in fault]


@both
def test_a_judge_that_seldom_errs_passes(compares):
    goods = {case.prompt: case.good for case in cases()}
    strict = set(list(goods)[:1])

    def erring(request, answers, rng):
        wrong = request in strict
        said = good_judge(request, answers[::-1] if wrong and compares else answers, rng)
        return "Score: 5" if wrong and not compares else said

    report = checked(erring, compares=compares)
    assert report.faults == ()
    # three of 60 pairs: wrong when compared, tied when graded
    assert report.accuracy == pytest.approx(0.95 if compares else 0.975)


def test_the_table_and_the_data_say_what_happened():
    report = checked(lambda request, answers, rng: "Score: 10", compares=False)
    head, *rows = report.table().splitlines()
    assert head.split() == ["corruption", "right", "tied", "wrong", "unread"]
    assert rows[0].split() == ["false", "0", "10", "0", "0"]
    told = json.loads(json.dumps(report.json()))
    assert told["passed"] is False
    assert told["outcomes"]["false"]["tied"] == 10


def test_the_cases_are_what_they_say():
    some = cases()
    assert Counter(Counter(case.prompt for case in some).values()) == {3: 20}
    count = Counter(case.kind for case in some)
    assert set(count) == set(KINDS)
    assert set(count.values()) <= {9, 10, 11}
    goods = {case.good for case in some}
    for case in some:
        assert case.bad != case.good
        assert (case.bad in goods) == (case.kind == "off_topic")
        if case.kind == "shuffled":
            assert sorted(case.bad.split()) == sorted(case.good.split())
            assert len(case.good.split()) >= 6, "fewer words shuffled may be as good"
        if case.kind == "truncated":
            assert " ".join(case.good.split()).startswith(case.bad)
