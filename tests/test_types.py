import dataclasses

import pytest

from eva.types import Check, Group, Message, Prompt, Response, Score, ScoredGroup, content_id


def test_the_id_is_of_what_solver_and_reward_see():
    plain = Prompt.of("Name a colour.")
    assert plain.id == Prompt.of("Name a colour.", topic="x", born=3, operator="add").id
    assert plain.id != Prompt.of("Name a color.").id
    checked = Prompt.of("Name a colour.", checks=(Check("lowercase"),))
    assert plain.id != checked.id
    system = Prompt((Message("system", "Be brief."), Message("user", "Name a colour.")))
    assert plain.id != system.id


def test_the_id_ignores_the_order_of_checks():
    checks = (Check("max_words", {"n": 5}), Check("lowercase"))
    assert content_id((), checks) == content_id((), checks[::-1])


@pytest.mark.parametrize(
    "messages", [(), (Message("assistant", "hi"),), (Message("user", "a"), Message("system", "b"))]
)
def test_a_prompt_ends_with_a_user_turn(messages):
    with pytest.raises(ValueError, match="last of them a user's"):
        Prompt(messages)


def test_rewriting_keeps_earlier_turns_and_drops_checks():
    turns = (Message("system", "s"), Message("user", "old"))
    parent = Prompt(turns, checks=(Check("lowercase"),), topic="t", columns={"k": 1})
    child = parent.rewritten("new", operator="deepen", born=2)
    assert [m.content for m in child.messages] == ["s", "new"]
    assert (child.checks, child.topic, child.columns) == ((), "t", {"k": 1})
    assert (child.parents, child.operator, child.born) == ((parent.id,), "deepen", 2)
    assert child.evolved
    assert not parent.evolved


def test_data_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Prompt.of("x").topic = "y"


def test_scores_and_responses_must_match():
    group = Group(Prompt.of("x"), (1,), (Response("a", (1,)),), "p")
    assert ScoredGroup(group, (Score(None, "nan"),)).rewards == (None,)
    with pytest.raises(ValueError, match="0 scores for 1 responses"):
        ScoredGroup(group, ())


def test_joined_groups_keep_each_response_beside_its_score():
    prompt = Prompt.of("x")
    own = ScoredGroup(
        Group(prompt, (1,), (Response("a", (1,)), Response("b", (2,))), "p"),
        (Score(0.5), Score(None, "nan")),
    )
    rewrite = ScoredGroup(Group(prompt, (1,), (Response("c", (3,)),), "q"), (Score(0.9),))
    both = own.joined(rewrite)
    assert both.rewards == (0.5, None, 0.9)
    assert [r.text for r in both.group.responses] == ["a", "b", "c"]
    assert (both.prompt, both.group.policy) == (prompt, "p")
    assert len(own.group.responses) == 2
