import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eva.comparisons import Comparisons
from eva.errors import DataError
from eva.runs import parquet
from eva.types import (
    Check,
    Evolution,
    Example,
    Group,
    Message,
    Prompt,
    Refusal,
    Response,
    Score,
    ScoredGroup,
    Step,
)

text = st.text(max_size=12)
number = st.floats(allow_nan=False)
count = st.integers(-(2**63), 2**63 - 1)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | number | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=4,
)
rows_of_json = st.dictionaries(text, json_values, max_size=3)
checks = st.builds(Check, text, rows_of_json)
roles = st.sampled_from(["system", "user", "assistant"])
messages = st.builds(
    lambda before, last: (*before, Message("user", last)),
    st.lists(st.builds(Message, roles, text), max_size=2),
    text,
)
prompts = st.builds(
    Prompt,
    messages,
    checks=st.lists(checks, max_size=2).map(tuple),
    topic=text,
    parents=st.lists(text, max_size=2).map(tuple),
    operator=text,
    born=count,
    columns=rows_of_json,
)
ids = st.lists(count, max_size=4).map(tuple)
responses = st.builds(
    Response,
    text,
    ids,
    # What float32 models give must come back to the bit.
    st.lists(st.floats(width=32, allow_nan=False) | number, max_size=4).map(tuple),
    st.sampled_from(["stop", "length"]),
)
groups = st.builds(Group, prompts, ids, st.lists(responses, max_size=3).map(tuple), text)
scores = st.builds(
    Score,
    st.none() | number,
    text,
    text,
    st.dictionaries(text, number, max_size=2),
    st.lists(number, max_size=3).map(tuple),
)


def comparisons(size):
    row = st.tuples(*[st.none() | number for _ in range(size)])
    failures = st.dictionaries(text, st.integers(0, 2**40), max_size=2)
    return st.builds(Comparisons, st.tuples(*[row for _ in range(size)]), failures)


scored_groups = groups.flatmap(
    lambda group: st.builds(
        ScoredGroup,
        st.just(group),
        st.tuples(*[scores for _ in group.responses]),
        st.none() | comparisons(len(group.responses)),
    )
)
evolutions = st.builds(
    Evolution,
    text,
    st.lists(prompts, max_size=2).map(tuple),
    st.lists(st.builds(Refusal, text, text, text, text, text, count), max_size=2).map(tuple),
    count,
    st.dictionaries(text, st.integers(0, 2**40), max_size=2),
    st.dictionaries(text, number, max_size=2),
)
examples = st.builds(
    Example,
    text,
    ids,
    st.lists(ids, max_size=2).map(tuple),
    st.dictionaries(text, number, max_size=2),
    st.none() | st.lists(st.lists(number, max_size=3).map(tuple), max_size=2).map(tuple),
)

maybe = st.lists(st.none() | number, max_size=3).map(tuple)
steps = st.builds(
    Step,
    count,
    phase=text,
    draws=ids,
    replayed=count,
    recycled=count,
    dropped_tokens=count,
    scored=st.lists(scored_groups, max_size=2).map(tuple),
    info=maybe,
    errors=maybe,
    seeds=ids,
    evolutions=st.lists(evolutions, max_size=2).map(tuple),
    worth=st.lists(number, max_size=3).map(tuple),
    delays=ids,
    figures=st.dictionaries(text, number, max_size=2),
)


@pytest.mark.parametrize(
    ("kind", "strategy"),
    [
        (Group, groups),
        (ScoredGroup, scored_groups),
        (Evolution, evolutions),
        (Example, examples),
        (Step, steps),
        (dict, rows_of_json),
    ],
    ids=["Group", "ScoredGroup", "Evolution", "Example", "Step", "Mapping"],
)
def test_rows_come_back_as_they_were(kind, strategy):
    @given(st.lists(strategy, max_size=3))
    @settings(max_examples=60, deadline=None)
    def comes_back(rows):
        data = parquet.to_bytes(parquet.encode(rows, kind))
        back = parquet.decode(parquet.from_bytes(data), kind)
        assert back == rows
        assert repr(back) == repr(rows)  # -0.0 is not 0.0, and 1 is not 1.0

    comes_back()


def scored(reward, detail=""):
    group = Group(Prompt.of("q"), (1,), (Response("", ()),), "v")
    return ScoredGroup(group, (Score(reward, detail=detail),))


def test_a_missing_reward_is_not_nan_and_nan_is_not_missing():
    rows = [scored(None), scored(math.nan), scored(0.0)]
    read = parquet.decode(parquet.encode(rows, ScoredGroup), ScoredGroup)
    back = [row.rewards[0] for row in read]
    assert back[0] is None
    assert math.isnan(back[1])
    assert back[2] == 0.0


def test_numbers_of_numpy_come_back_as_plain_ones_of_the_same_value():
    logprobs = tuple(np.float32([-0.1, -1e-30]))
    group = Group(Prompt.of("q"), tuple(np.int32([7])), (Response("a", (3,), logprobs),), "v")
    (back,) = parquet.decode(parquet.encode([group], Group), Group)
    assert back.responses[0].logprobs == logprobs
    assert type(back.responses[0].logprobs[0]) is float
    assert type(back.prompt_ids[0]) is int


def test_the_words_of_an_error_may_hold_what_no_encoding_takes():
    (back,) = parquet.decode(parquet.encode([scored(None, "bad \udcff")], ScoredGroup), ScoredGroup)
    assert back.scores[0].detail == "bad ?"


def test_files_and_folders_of_files_are_read_in_order(tmp_path):
    folder = tmp_path / "rounds/001/solver/pairs"
    rows = [{"id": str(i), "n": i} for i in range(12)]
    for i in range(12):
        parquet.write(folder / f"{i:05d}.parquet", rows[i : i + 1], kind=dict)
    (folder / ".00012.parquet.tmp").write_text("half")
    assert parquet.read(folder, kind=dict) == rows
    assert parquet.read(folder / "00003.parquet", kind=dict) == rows[3:4]
    # As documented: one call of pyarrow reads the folder of a stage, in the same order.
    assert pq.read_table(folder)["id"].to_pylist() == [row["id"] for row in rows]


def test_a_scored_group_can_be_read_as_a_group(tmp_path):
    parquet.write(tmp_path / "f.parquet", [scored(0.5)], kind=ScoredGroup)
    assert parquet.read(tmp_path / "f.parquet", kind=Group) == [scored(0.5).group]


def foreign(tmp_path, **changes):
    row = {
        "prompt": {"messages": [{"role": "user", "content": "Hi"}]},
        "prompt_ids": [1],
        "responses": [{"text": "Ho", "token_ids": [2], "finish": "stop"}],
        "policy": "theirs",
    }
    pq.write_table(pa.Table.from_pylist([row | changes]), tmp_path / "f.parquet")
    return tmp_path / "f.parquet"


def test_rollouts_of_another_program_need_little(tmp_path):
    expected = Group(Prompt.of("Hi"), (1,), (Response("Ho", (2,)),), "theirs")
    assert parquet.read(foreign(tmp_path), kind=Group) == [expected]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"policy": 3}, "column policy: got int64, expected string"),
        ({"prompt": {"messages": "Hi"}}, "column prompt.messages: got string, expected list"),
        ({"prompt": {"messages": [{"role": "wizard", "content": ""}]}}, "row 0: got 'wizard'"),
        ({"prompt": {"messages": [{"role": "system", "content": ""}]}}, "row 0: a prompt needs"),
        (
            {"responses": [{"text": "", "token_ids": [1], "finish": "eos"}]},
            "row 0: got 'eos', expected one of stop, length",
        ),
        ({"responses": [{"text": "", "token_ids": [1]}]}, r"column responses\[\].finish: missing"),
        (
            {"prompt": {"messages": [{"role": "user", "content": ""}], "columns": "{"}},
            "row 0: Expecting property name",
        ),
    ],
)
def test_foreign_rollouts_that_do_not_fit_are_named(tmp_path, changes, says):
    with pytest.raises(DataError, match=rf"f\.parquet: {says}"):
        parquet.read(foreign(tmp_path, **changes), kind=Group)


def test_what_is_not_parquet_or_not_there_is_named(tmp_path):
    whole = foreign(tmp_path)
    whole.write_bytes(whole.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"f\.parquet: not a whole Parquet file"):
        parquet.read(whole, kind=Group)
    with pytest.raises(DataError, match=r"nothing\.parquet: no such file"):
        parquet.read(tmp_path / "nothing.parquet", kind=Group)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="without Parquet files"):
        parquet.read(tmp_path / "empty", kind=Group)


def test_a_file_of_a_later_version_is_refused():
    table = parquet.encode([{"id": "a"}], dict)
    later = table.replace_schema_metadata({"eva.schema": "99"})
    with pytest.raises(DataError, match="version 99 of the columns, this eva knows up to 1"):
        parquet.decode(later, dict)


def test_a_row_of_json_must_be_an_object():
    table = parquet.encode([{"id": "a"}], dict).set_column(1, "json", pa.array(["[1]"]))
    with pytest.raises(DataError, match="row 0: column json: got list, expected an object"):
        parquet.decode(table, dict)


def test_tokens_that_only_a_server_counted_come_back():
    some = (Response("a", (), counted=3), Response("b", (), counted=0), Response("c", (5,)))
    group = Group(Prompt.of("q"), (), some, "m")
    table = parquet.from_bytes(parquet.to_bytes(parquet.encode([group], Group)))
    assert parquet.decode(table, Group) == [group]
    assert group.generated_tokens == 4
    rows = table.to_pylist()
    for response in rows[0]["responses"]:
        del response["counted"]
    older = pa.Table.from_pylist(rows)
    assert [r.counted for r in parquet.decode(older, Group)[0].responses] == [None] * 3


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_reading_starts_no_thread_that_may_outlive_the_interpreter():
    program = """
import os
from eva.runs import parquet
data = parquet.to_bytes(parquet.encode([{"a": i} for i in range(100)], dict))
before = set(os.listdir("/proc/self/task"))
parquet.from_bytes(data)
assert set(os.listdir("/proc/self/task")) <= before, "threads were started"
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
