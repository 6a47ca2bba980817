from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eva.data.assets import resolve
from eva.data.prompts import SetAside, as_row, load_prompts, write_prompts
from eva.errors import ConfigError, DataError
from eva.rng import Streams
from eva.types import Check, Message, Prompt


@pytest.fixture
def jsonl(tmp_path):
    def write(*rows):
        path = tmp_path / "a.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return str(path)

    return write


def texts(loaded):
    return [prompt.text for prompt in loaded.prompts]


def test_text_prompts(jsonl):
    loaded = load_prompts(jsonl({"prompt": "One.", "id": 1}, {"prompt": "Two.", "id": 2}))
    assert loaded.prompts == (Prompt.of("One."), Prompt.of("Two."))
    assert (loaded.column, loaded.set_aside) == ("prompt", ())


def test_chat_prompts_keep_what_stands_before_the_last_user_turn(jsonl):
    chat = [("system", "s"), ("user", "one"), ("assistant", "a"), ("user", "two")]
    rows = [{"role": role, "content": content} for role, content in chat]
    source = jsonl({"messages": [*rows, {"role": "assistant", "content": "dropped"}]})
    (prompt,) = load_prompts(source).prompts
    assert prompt.messages == tuple(Message(role, content) for role, content in chat)
    assert prompt.text == "two"


def test_an_alpaca_row_is_joined_unless_the_column_is_named(jsonl):
    rows = [{"instruction": "Translate.", "input": "Hello"}, {"instruction": "Sing.", "input": ""}]
    joined = load_prompts(jsonl(*rows))
    assert texts(joined) == ["Translate.\n\nHello", "Sing."]
    assert joined.column == "instruction + input"
    assert texts(load_prompts(jsonl(*rows), column="instruction")) == ["Translate.", "Sing."]


def test_bad_rows_are_set_aside_with_place_and_reason(jsonl):
    rows = ["Good.", " ", None, 7, "x" * 31, "Good.", "Also good."]
    loaded = load_prompts(jsonl(*({"prompt": row} for row in rows), {"other": 1}), max_chars=30)
    assert texts(loaded) == ["Good.", "Also good."]
    assert loaded.set_aside == (
        SetAside("line 2", "empty"),
        SetAside("line 3", "no prompt"),
        SetAside("line 4", "got an integer, expected text or chat messages"),
        SetAside("line 5", "too long: 31 characters, at most 30"),
        SetAside("line 6", "duplicate: the same as line 1"),
        SetAside("line 8", "no prompt"),
    )
    assert loaded.reasons["no prompt"] == 2
    assert loaded.reasons["too long"] == 1


def test_prompts_of_other_checks_are_not_duplicates(jsonl):
    check = {"kind": "max_words", "args": {"n": 5}}
    rows = [{"prompt": "a", "checks": [check]}, {"prompt": "a"}, {"prompt": "a", "checks": [check]}]
    loaded = load_prompts(jsonl(*rows))
    assert [len(prompt.checks) for prompt in loaded.prompts] == [1, 0]
    assert loaded.set_aside == (SetAside("line 3", "duplicate: the same as line 1"),)


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([{"promt": "a"}], {}, "no column of prompts; got promt, expected one of prompt, messages"),
        ([{"prompt": "a"}], {"column": "promt"}, "unknown column 'promt': did you mean 'prompt'"),
        ([{"prompt": "a", "answer": 1}], {"keep": ["anwser"]}, "did you mean 'answer'"),
        ([{"prompt": 1}, {"prompt": 2}], {}, r"'prompt': got an integer.*\(so in all 2 rows\)"),
        ([{"prompt": ["a"]}], {}, r"a turn is text, expected an object .*in all 1 rows"),
        ([{"prompt": ""}, {"prompt": 2}], {}, r"no prompt left of 2 rows \(1 x empty, .* line 1"),
        ([{"prompt": "abc"}], {"max_chars": 2}, "1 x too long.*3 characters, at most 2"),
    ],
)
def test_a_source_without_prompts_says_why(jsonl, rows, options, message):
    with pytest.raises(DataError, match=rf"a\.jsonl.*{message}"):
        load_prompts(jsonl(*rows), **options)


@pytest.mark.parametrize(
    ("checks", "reason"),
    [
        ("max_words", "checks: got text, expected a list"),
        (["max_words"], 'checks: expected {"kind": text'),
        ([{"kind": "max_words", "args": [1]}], 'checks: expected {"kind": text'),
        ([{"kind": "max_words", "args": "{"}], "checks: args is not JSON"),
        ([{"args": {}}], 'checks: expected {"kind": text'),
    ],
)
def test_a_row_with_a_bad_check_is_set_aside(jsonl, checks, reason):
    loaded = load_prompts(jsonl({"prompt": "a", "checks": checks}, {"prompt": "b"}))
    assert texts(loaded) == ["b"]
    assert loaded.set_aside[0].reason.startswith(reason)


def test_checks_in_parquet_hold_their_arguments_as_text(tmp_path):
    checks = [{"kind": "max_words", "args": '{"n": 5}'}]
    pq.write_table(
        pa.Table.from_pylist([{"prompt": "a", "checks": checks}]), tmp_path / "a.parquet"
    )
    (prompt,) = load_prompts(str(tmp_path / "a.parquet")).prompts
    assert prompt.checks == (Check("max_words", {"n": 5}),)


def test_columns_in_parquet_are_an_object_as_text(tmp_path):
    rows = [{"prompt": "a", "columns": '{"answer": [1, 2]}'}, {"prompt": "b", "columns": None}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    loaded = load_prompts(str(tmp_path / "a.parquet"))
    assert [prompt.columns for prompt in loaded.prompts] == [{"answer": [1, 2]}, {}]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ("{", "columns is not JSON"),
        ("[1]", "columns: got a list, expected an object"),
        (["a"], "columns: got a list, expected an object"),
    ],
)
def test_a_row_with_bad_columns_is_set_aside(jsonl, columns, reason):
    loaded = load_prompts(jsonl({"prompt": "a", "columns": columns}, {"prompt": "b"}))
    assert texts(loaded) == ["b"]
    assert loaded.set_aside[0].reason.startswith(reason)


def test_kept_columns(jsonl):
    source = jsonl({"prompt": "a", "answer": [1, 2], "other": 3}, {"prompt": "b"})
    loaded = load_prompts(source, keep=["answer"])
    assert [prompt.columns for prompt in loaded.prompts] == [{"answer": [1, 2]}, {"answer": None}]
    assert load_prompts(source).prompts[0].columns == {}


def test_topics_are_labels_of_a_column(jsonl):
    rows = [
        {"prompt": "a", "topic": "x", "kind": "k"},
        {"prompt": "b", "topic": ["y"], "kind": None},
        {"prompt": "c", "topic": 7, "kind": True},
    ]
    source = jsonl(*rows)
    assert [p.topic for p in load_prompts(source).prompts] == ["x", "", "7"]
    assert [p.topic for p in load_prompts(source, topic="kind").prompts] == ["k", "", ""]
    with pytest.raises(DataError, match="king"):
        load_prompts(source, topic="king")


def test_limit_and_shuffle(jsonl):
    source = jsonl({"prompt": ""}, *({"prompt": str(number)} for number in range(50)))
    streams = Streams(0, 0, "prompts")
    first = load_prompts(source, limit=5)
    assert texts(first) == ["0", "1", "2", "3", "4"]
    assert len(first.set_aside) == 1
    shuffled = texts(load_prompts(source, shuffle=streams))
    assert shuffled != sorted(shuffled, key=int)
    assert sorted(shuffled, key=int) == [str(number) for number in range(50)]
    assert texts(load_prompts(source, shuffle=streams, limit=5)) == shuffled[:5]
    assert texts(load_prompts(source, shuffle=Streams(1, 0, "prompts"))) != shuffled


def test_a_model_is_no_prompt_set():
    with pytest.raises(ConfigError, match="packaged as a model; expected prompts"):
        load_prompts("packaged:smollm2-135m-instruct")


words = st.text(min_size=1).filter(str.strip)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
objects = st.dictionaries(st.text(), values, max_size=3)
turn = st.builds(Message, st.sampled_from(["system", "user", "assistant"]), words)


@st.composite
def some_prompt(draw):
    before = draw(st.lists(turn, max_size=3))
    return Prompt(
        (*before, Message("user", draw(words))),
        checks=tuple(draw(st.lists(st.builds(Check, words, objects), max_size=2))),
        topic=draw(st.text()),
        columns=draw(objects),
    )


@given(st.lists(some_prompt(), min_size=1, max_size=5, unique_by=lambda prompt: prompt.id))
def test_what_is_written_is_read(tmp_path_factory, prompts):
    path = tmp_path_factory.getbasetemp() / "prompts.jsonl"
    write_prompts(path, prompts)
    assert load_prompts(str(path)).prompts == tuple(prompts)


def test_a_written_row_tells_lineage_and_a_read_one_begins_anew(tmp_path):
    parent = Prompt.of("Name a colour.")
    child = parent.rewritten("Name a rare colour.", operator="deepen", born=2)
    row = as_row(child)
    assert (row["parents"], row["operator"], row["born"]) == ([parent.id], "deepen", 2)
    write_prompts(tmp_path / "a.jsonl", [child])
    (read,) = load_prompts(str(tmp_path / "a.jsonl")).prompts
    assert (read.id, read.parents, read.operator, read.born) == (child.id, (), "human", 0)


@pytest.fixture(scope="module")
def sets():
    names = ("alpaca", "ifeval", "alpaca-eval", "arena-hard")
    return {name: resolve(f"packaged:{name}") for name in names}


@pytest.mark.model
def test_the_packaged_sets(sets):
    loaded = {name: load_prompts(f"packaged:{name}") for name in sets}
    counts = {name: len(one.prompts) for name, one in loaded.items()}
    assert counts == {"alpaca": 985, "ifeval": 541, "alpaca-eval": 805, "arena-hard": 750}
    assert loaded["alpaca"].reasons == {"duplicate": 14}
    first = loaded["ifeval"].prompts[0].columns
    assert first["key"] == 1000
    assert len(first["instruction_id_list"]) == len(first["kwargs"]) == 3
