from eva.rng import Streams
from eva.solver.response_rewriting import AnswerRewriter
from eva.types import Group, Message, Prompt, Response, SamplingParams, Score, ScoredGroup

STREAMS = Streams(0, 2, "solver/rewrite/answer")


class Echo:
    """Answers with the end of the request, and remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def sample(self, prompts, params, streams):
        self.asked += prompts
        return [
            Group(p, (9,), (Response(p.text[-3:], (7, 8), (-1.0, -2.0)),) * params.n, "v1")
            for p in prompts
        ]


def scored(*rewards, prompt=None):
    answers = tuple(Response(f"answer {i}", (i,)) for i in range(len(rewards)))
    group = Group(prompt or Prompt.of("q {answer} q"), (1, 2), answers, "v0")
    return ScoredGroup(group, tuple(Score(r, "" if r is not None else "nan") for r in rewards))


def rewrite(*groups, policy=None):
    policy = policy or Echo()
    return AnswerRewriter(SamplingParams(n=1)).rewrite(groups, policy, STREAMS), policy


def test_the_best_answer_is_put_before_the_policy_as_it_is():
    _, policy = rewrite(scored(0.1, None, 0.9, 0.9), scored(0.5))
    assert [p.text.split("Answer:\n")[1] for p in policy.asked] == ["answer 2", "answer 0"]
    # what looks like a placeholder in a prompt is text
    assert all("Request:\nq {answer} q\n" in p.text for p in policy.asked)


def test_a_rewrite_belongs_to_its_prompt_and_carries_no_log_probs():
    (group,), _ = rewrite(scored(0.1, 0.2))
    assert group.prompt.text == "q {answer} q"
    assert group.prompt_ids == (1, 2)
    (response,) = group.responses
    assert (response.token_ids, response.logprobs) == ((7, 8), ())


def test_what_has_no_scored_answer_is_not_rewritten_and_keeps_its_place():
    groups, policy = rewrite(scored(None, None), scored(1.0), scored())
    assert [len(group.responses) for group in groups] == [0, 1, 0]
    assert len(policy.asked) == 1


def test_nobody_is_asked_for_nothing():
    class Deaf:
        def sample(self, *_):
            raise AssertionError("asked")

    groups, _ = rewrite(scored(None), policy=Deaf())
    assert groups[0].responses == ()


def test_earlier_turns_stay_before_the_request():
    turns = (Message("system", "s"), Message("user", "a"), Message("assistant", "b"))
    _, policy = rewrite(scored(1.0, prompt=Prompt((*turns, Message("user", "c")))))
    assert policy.asked[0].messages[:-1] == turns
    assert "Request:\nc\n" in policy.asked[0].text
