from __future__ import annotations

import pytest

from eva.data.turns import BadCell, prompt_turns, text, turns
from eva.types import Message

S, U, A = (lambda said, role=role: Message(role, said) for role in ("system", "user", "assistant"))


def role(name, content):
    return {"role": name, "content": content}


def test_the_good_forms():
    assert turns("hi") == (U("hi"),)
    assert turns(role("assistant", "hi")) == (A("hi"),)
    assert turns([role("system", "s"), role("user", "u")]) == (S("s"), U("u"))
    shared = [{"from": "human", "value": "u"}, {"from": "gpt", "value": "a"}]
    assert turns(shared) == (U("u"), A("a"))


def test_a_prompt_ends_with_its_last_user_turn():
    chat = [
        role("system", "s"),
        role("user", "one"),
        role("assistant", "a"),
        role("user", "two"),
        role("assistant", "b"),
        role("tool", "dropped unread"),
        role("assistant", None),
    ]
    assert prompt_turns(chat) == (S("s"), U("one"), A("a"), U("two"))
    assert prompt_turns("hi") == (U("hi"),)


@pytest.mark.parametrize("empty", ["", None])
def test_an_empty_system_turn_is_left_out(empty):
    assert prompt_turns([role("system", empty), role("user", "u")]) == (U("u"),)


@pytest.mark.parametrize(
    ("value", "reason", "wrong_type"),
    [
        ("  \n", "empty", False),
        (7, "got an integer, expected text or chat messages", True),
        ([], "no user turn", False),
        ([role("assistant", "a")], "no user turn", False),
        (role("assistant", "a"), "no user turn", False),
        ([role("user", " ")], "empty", False),
        (
            [role("tool", "t"), role("user", "u")],
            "role 'tool': expected one of system, user",
            False,
        ),
        ([role("user", [{"type": "image"}])], "got a list, expected text", True),
        (["hi"], "a turn is text, expected an object", True),
        ([{"speaker": "me"}], "a turn has speaker, expected role and content", True),
        ("half \ud83d of a pair", "half a surrogate pair", False),
    ],
)
def test_what_is_wrong_is_said(value, reason, wrong_type):
    with pytest.raises(BadCell) as bad:
        prompt_turns(value)
    assert str(bad.value).startswith(reason)
    assert bad.value.wrong_type is wrong_type


def test_a_missing_text_is_not_of_a_wrong_type():
    with pytest.raises(BadCell) as bad:
        text(None)
    assert bad.value.wrong_type is False
