from __future__ import annotations

import pytest
from tests.rewards.judges import Deaf, asking, by_worth

from eva.errors import GenerationError
from eva.rewards.guard import Guarded
from eva.rewards.judge import JudgeReward
from eva.rewards.judging import Asking
from eva.types import Group, Prompt, Response


def answered(*texts):
    return Group(Prompt.of("Name a colour."), (), tuple(Response(t, ()) for t in texts), "p")


def test_every_answer_gets_the_score_of_its_reply():
    reward = Guarded(JudgeReward(asking(by_worth(len))))
    one, two = reward.score([answered("Red.", "Indigo."), answered("Pink.")])
    assert one.rewards == (4.0, 7.0)
    assert two.rewards == (5.0,)
    assert one.compared is None


def test_a_reply_that_cannot_be_read_costs_only_its_own_score():
    reward = Guarded(JudgeReward(asking(by_worth(lambda text: len(text) if text else "?"))))
    (one,) = reward.score([answered("Red.", "", "twelve chars")])
    assert [(s.reward, s.cause) for s in one.scores] == [
        (4.0, ""), (None, "unparsed"), (None, "out_of_range"),
    ]  # fmt: skip
    assert one.scores[1].detail == "So it is. Score: ?"


def test_a_question_that_is_too_long_has_no_score():
    (one,) = JudgeReward(Asking(Deaf())).score([answered("Red.")])
    assert one.scores[0].cause == "too_long"


def test_several_replies_are_averaged_where_half_can_be_read():
    said = {"good": iter(["Score: 8", "?", "Score: 5", "Score: 5"]), "bad": iter("???1")}
    reward = JudgeReward(asking(lambda request, answers, rng: next(said[answers[0]]), n=4))
    (one,) = reward.score([answered("good", "bad")])
    assert one.rewards == (6.0, None)
    assert one.scores[0].parts == {"replies": 3.0}
    assert one.scores[1].cause == "unparsed"


def test_a_judge_that_cannot_be_asked_stops_the_run():
    def broken(request, answers, rng):
        raise GenerationError("the server is gone")

    with pytest.raises(GenerationError, match="gone"):
        Guarded(JudgeReward(asking(broken))).score([answered("Red.", "Blue.")])
