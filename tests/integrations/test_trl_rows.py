import json

import pytest

from eva.constraints import meets
from eva.errors import ConfigError, DataError
from eva.integrations.trl_rows import ID, SLOT, Constraints, Format, checks_of, read, said
from eva.rng import Streams
from eva.types import Check, Prompt


def kind_and_args(check):
    return {"kind": check.kind, "args": dict(check.args)}


@pytest.fixture
def check():
    return Constraints().dressed([Prompt.of("Write.")], Streams(0, 0, "t"))[0].checks[0]


def test_plain_rows_come_back_as_they_were():
    rows = [{"prompt": "Add 2 and 2.", "answer": 4, "tags": ["a"]}, {"prompt": "b", "answer": 1}]
    prompts, form = read([rows[0], {**rows[1], "tags": None}])
    assert [prompt.text for prompt in prompts] == ["Add 2 and 2.", "b"]
    assert prompts[0].columns == {"answer": 4, "tags": ["a"]}
    row = form.row(prompts[0], 7)
    assert row == {**rows[0], "checks": "[]", SLOT: 7, ID: prompts[0].id}


def test_chat_rows_keep_their_turns():
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    # a table adds keys that a turn does not have, as None
    prompts, form = read([{"prompt": [turn | {"name": None} for turn in turns]}])
    child = prompts[0].rewritten("Hi, you", operator="o", born=1)
    assert form.row(child, 0)["prompt"] == [turns[0], {"role": "user", "content": "Hi, you"}]


@pytest.mark.parametrize("form", ["list", "json"])
def test_checks_travel_in_the_form_of_the_data_set(check, form):
    listed = [kind_and_args(check)]
    value = listed if form == "list" else json.dumps(listed)
    prompts, layout = read([{"prompt": "p", "checks": value, "topic": "t"}])
    assert prompts[0].checks == (check,)
    assert prompts[0].topic == "t"
    row = layout.row(prompts[0], 0)
    assert row["topic"] == "t"
    assert isinstance(row["checks"], list) == (form == "list")
    assert checks_of(row["checks"]) == (check,)


def test_a_topic_without_checks_is_a_column_like_others():
    prompts, form = read([{"prompt": "p", "topic": 3}])
    assert prompts[0].topic == ""
    assert form.row(prompts[0], 0)["topic"] == 3


def test_arguments_that_a_table_added_are_left_out(check):
    value = kind_and_args(check)
    value["args"]["of_another_kind"] = None
    assert checks_of([value]) == (check,)


def test_what_a_child_does_not_have_is_none():
    prompts, form = read([{"prompt": "p", "answer": 4}])
    child = prompts[0].rewritten("q", operator="o", born=1, columns={"new": 1})
    row = form.row(child, 0)
    assert row["answer"] is None
    assert "new" not in row
    assert row.keys() == form.row(prompts[0], 1).keys()


def test_a_prompt_that_occurs_twice_is_one():
    prompts, _ = read([{"prompt": "p", "answer": 1}, {"prompt": "p", "answer": 2}])
    assert [prompt.columns["answer"] for prompt in prompts] == [1]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "p"}, r"columns \['question'\], expected one named 'prompt'"),
        ({"prompt": "p", "eva_slot": 1}, "'eva_slot' is eva's own name: rename it"),
        ({"prompt": "p", "image": object()}, "row 0, column 'image': .* not JSON serializable"),
        ({"prompt": 3}, "row 0, prompt: got 3, expected text or a list of messages"),
        ({"prompt": []}, "expected text or a list of messages"),
        ({"prompt": ["a"]}, "message 0: got 'a', expected an object with role and content"),
        ({"prompt": [{"role": "tool", "content": "a"}]}, "message 0: .* expected a role of system"),
        (
            {"prompt": [{"role": "user", "content": [{"type": "image"}]}]},
            "tool calls and images are not evolved",
        ),
        (
            {"prompt": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
            "ends with a turn of the assistant, expected the user's",
        ),
        ({"prompt": "p", "checks": "{"}, "row 0, checks: not JSON"),
        ({"prompt": "p", "checks": 3}, "rename a column of other meaning"),
        ({"prompt": "p", "checks": [{"kind": "x"}]}, "unknown kind of constraint 'x'"),
    ],
)
def test_what_is_no_prompt_is_refused_with_its_place(row, message):
    with pytest.raises(DataError, match=message):
        read([row])


def test_no_rows_are_refused():
    with pytest.raises(DataError, match="no rows; expected at least one"):
        read([])


def test_constraints_are_put_on_prompts_that_have_none(check):
    dressed = Prompt.of("a", checks=(check,), topic="a")
    streams = Streams(3, 0, "t")
    made = Constraints(count=(2,), max_words=60).dressed([Prompt.of("Tell me."), dressed], streams)
    assert made[1] is dressed
    assert len(made[0].checks) == 2
    assert made[0].topic == "Tell me."
    assert made == Constraints(count=(2,), max_words=60).dressed(
        [Prompt.of("Tell me."), dressed], streams
    )
    with pytest.raises(ConfigError, match="unknown kind"):
        Constraints(kinds=("nothing",)).dressed([Prompt.of("a")], streams)


def test_the_last_turn_is_what_is_said():
    assert said("a") == "a"
    assert said([{"role": "user", "content": "b"}]) == "b"
    assert said([]) == ""


def test_checks_are_those_that_are_met(check):
    (again,) = checks_of(json.dumps([kind_and_args(check)]))
    assert again == Check(check.kind, check.args)
    assert isinstance(meets("some words", again), bool)


def test_the_form_is_known_from_the_first_row():
    assert Format.of({"prompt": "p", "a": 1}) == Format(columns=("a",))
