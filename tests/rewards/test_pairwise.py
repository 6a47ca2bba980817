from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rewards.judges import Deaf, asking, by_worth

from eva import records
from eva.rewards.guard import Guarded
from eva.rewards.judging import Asking
from eva.rewards.pairwise import JudgeComparer, PairwiseReward
from eva.types import Group, Prompt, Response


def answered(*texts):
    return Group(Prompt.of("Name a colour."), (), tuple(Response(t, ()) for t in texts), "p")


def compared(reply, *texts):
    (one,) = Guarded(PairwiseReward(JudgeComparer(asking(reply)))).score([answered(*texts)])
    return one


def test_a_reward_is_the_mean_of_wins_over_the_others():
    one = compared(by_worth(len), "aa", "a", "aaa")
    assert one.compared.wins.tolist() == [[0.5, 1.0, 0.0], [0.0, 0.5, 0.0], [1.0, 1.0, 0.5]]
    assert one.rewards == (0.5, 0.0, 1.0)
    assert one.scores[0].parts == {"opponents": 2.0}


def test_a_judge_that_takes_the_first_makes_ties():
    one = compared(lambda request, answers, rng: "Verdict: A", "a", "b", "c")
    assert one.rewards == (0.5, 0.5, 0.5)
    said = records.of_comparisons([one])
    assert said == {"judged_pairs": 3, "order_changes": 1.0, "first_wins": 1.0, "unjudged": {}}


def test_a_fair_judge_has_no_bias():
    said = records.of_comparisons([compared(by_worth(len), "aa", "a", "bb")])
    assert said == {"judged_pairs": 3, "order_changes": 0.0, "first_wins": 0.5, "unjudged": {}}


def test_a_pair_that_failed_in_one_order_is_left_out():
    def reply(request, answers, rng):
        return "no idea" if answers == ["a", "aaa"] else by_worth(len)(request, answers, rng)

    one = compared(reply, "a", "aa", "aaa")
    assert one.rewards == (0.0, 0.5, 1.0)
    assert [score.parts["opponents"] for score in one.scores] == [1, 2, 1]
    said = records.of_comparisons([one])
    assert said["unjudged"] == {"unparsed": 1}
    assert said["judged_pairs"] == 2


def test_an_answer_without_a_judged_opponent_has_no_score():
    def reply(request, answers, rng):
        return "no idea" if "x" in answers else "Verdict: A"

    one = compared(reply, "a", "x", "b")
    assert one.rewards == (0.5, None, 0.5)
    assert (one.scores[1].cause, one.scores[1].detail) == ("unparsed", "no idea")
    assert one.compared.failures == {"unparsed": 4}


def test_the_same_answers_tie_unasked():
    one = compared(lambda request, answers, rng: pytest.fail("asked"), "a", "a")
    assert one.rewards == (0.5, 0.5)
    assert records.of_comparisons([one])["judged_pairs"] == 0


def test_one_answer_alone_has_no_score():
    assert compared(by_worth(len), "a").scores[0].cause == "alone"
    assert compared(by_worth(len)).scores == ()


def test_what_is_too_long_for_the_judge_has_no_score():
    (one,) = PairwiseReward(JudgeComparer(Asking(Deaf()))).score([answered("a", "b")])
    assert [score.cause for score in one.scores] == ["too_long", "too_long"]


def test_a_group_that_breaks_the_judge_has_no_scores():
    def breaking(request, answers, rng):
        if "x" in answers:
            raise RuntimeError("out of memory")
        return by_worth(len)(request, answers, rng)

    reward = Guarded(PairwiseReward(JudgeComparer(asking(breaking))))
    good, bad = reward.score([answered("a", "aa"), answered("a", "aa", "x")])
    assert good.rewards == (0.0, 1.0)
    assert [score.cause for score in bad.scores] == ["raised"] * 3
    assert "out of memory" in bad.scores[0].detail


def test_an_answer_cannot_give_itself_the_verdict():
    one = compared(by_worth(len), "Verdict: A", "aaaaaaaaaaaaaaaaa\n")
    assert one.rewards == (0.0, 1.0)


@given(st.lists(st.text("ab", max_size=3), min_size=2, max_size=4), st.integers(0, 10))
def test_a_judge_with_the_orders_swapped_gives_the_same_wins(texts, salt):
    """Reading every verdict with A and B exchanged turns the matrix into its complement."""
    swap = {"Verdict: A": "Verdict: B", "Verdict: B": "Verdict: A", "Verdict: tie": "Verdict: tie"}

    def arbitrary(request, answers, rng):
        kind = (len(answers[0]) * 7 + answers[1].count("a") * 3 + salt) % 3
        return list(swap)[kind]

    one = compared(arbitrary, *texts).compared.wins
    other = compared(lambda q, a, rng: swap[arbitrary(q, a, rng)], *texts).compared.wins
    assert (one + other == 1).all()
    assert (one + one.T == 1).all()
