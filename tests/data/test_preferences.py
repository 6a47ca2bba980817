from __future__ import annotations

import json

import pytest

from eva.data.preferences import Preference, load_preferences
from eva.errors import DataError
from eva.rng import Streams
from eva.types import Message

U, A = (lambda said, role=role: Message(role, said) for role in ("user", "assistant"))
WANTED = Preference((U("q"),), "good", "bad")


def said(role, content):
    return {"role": role, "content": content}


@pytest.fixture
def jsonl(tmp_path):
    def write(*rows):
        path = tmp_path / "a.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return str(path)

    return write


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "chosen": "good", "rejected": "bad"},
        {
            "prompt": [said("user", "q")],
            "chosen": [said("assistant", "good")],
            "rejected": [said("assistant", "bad")],
        },
        {
            "chosen": [said("user", "q"), said("assistant", "good")],
            "rejected": [said("user", "q"), said("assistant", "bad")],
        },
        {
            "prompt": "q",
            "chosen": [said("user", "q"), said("assistant", "good")],
            "rejected": [said("user", "q"), said("assistant", "bad")],
        },
        {
            "conversations": [{"from": "human", "value": "q"}],
            "chosen": {"from": "gpt", "value": "good"},
            "rejected": {"from": "gpt", "value": "bad"},
        },
    ],
    ids=["text", "chat", "prompt inside", "both", "from and value"],
)
def test_every_form_is_the_same_preference(jsonl, row):
    assert load_preferences(jsonl(row)).pairs == (WANTED,)


def test_earlier_turns_belong_to_the_prompt(jsonl):
    before = [said("user", "a"), said("assistant", "b"), said("user", "c")]
    chosen, rejected = [*before, said("assistant", "good")], [*before, said("assistant", "bad")]
    (pair,) = load_preferences(jsonl({"chosen": chosen, "rejected": rejected})).pairs
    assert pair == Preference((U("a"), A("b"), U("c")), "good", "bad")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"chosen": "a", "rejected": "a"}, "the chosen and the rejected answer are the same"),
        ({"chosen": "", "rejected": "b"}, "chosen answer: empty"),
        ({"chosen": "a"}, "rejected answer: got nothing, expected text"),
        ({"chosen": "a", "rejected": [said("user", "u")]}, "rejected answer ends with a turn of"),
        ({"prompt": None, "chosen": "a", "rejected": "b"}, "got nothing, expected text"),
        ({"chosen": "a", "rejected": []}, "rejected answer: no turns"),
    ],
)
def test_bad_rows_are_set_aside(jsonl, row, reason):
    good = {"prompt": "q", "chosen": "good", "rejected": "bad"}
    loaded = load_preferences(jsonl(good, {"prompt": "p"} | row))
    assert loaded.pairs == (WANTED,)
    assert [row.place for row in loaded.set_aside] == ["line 2"]
    assert loaded.set_aside[0].reason.startswith(reason)
    assert sum(loaded.reasons.values()) == 1


def test_answers_to_different_prompts_are_no_preference(jsonl):
    rows = {
        "chosen": [said("user", "q"), said("assistant", "good")],
        "rejected": [said("user", "other"), said("assistant", "bad")],
    }
    with pytest.raises(DataError, match=r"no preference left of 1 rows; the first: line 1: no pro"):
        load_preferences(jsonl(rows))


def test_a_missing_column(jsonl):
    with pytest.raises(DataError, match="unknown column 'rejected': did you mean 'reject'"):
        load_preferences(jsonl({"prompt": "q", "chosen": "a", "reject": "b"}))


def test_limit_and_shuffle(jsonl):
    rows = [{"prompt": str(n), "chosen": "good", "rejected": "bad"} for n in range(30)]
    source, streams = jsonl(*rows), Streams(0, 0, "preferences")
    shuffled = load_preferences(source, shuffle=streams).pairs
    assert shuffled != load_preferences(source).pairs
    assert set(shuffled) == set(load_preferences(source).pairs)
    assert load_preferences(source, shuffle=streams, limit=7).pairs == shuffled[:7]


@pytest.mark.model
def test_the_packaged_preferences():
    loaded = load_preferences("packaged:preferences")
    assert len(loaded.pairs) == 300
    assert loaded.set_aside == ()
    assert max(len(pair.messages) for pair in loaded.pairs) == 13
