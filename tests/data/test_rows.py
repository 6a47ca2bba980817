from __future__ import annotations

import json
import os

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eva.data.rows import Table, read, type_name
from eva.errors import DataError

ROWS = [{"prompt": "Grüße, 世界", "n": 1}, {"prompt": "a\nb \u2028 c", "n": 2}]


def taken(table: Table, *names: str):
    return [
        (row.place, {name: row.fields[name] for name in names}) for row in table.select([*names])
    ]


def jsonl(path):
    path.write_text("\n".join(json.dumps(r, ensure_ascii=False) for r in ROWS), encoding="utf-8")


def as_json(path):
    path.write_text(json.dumps(ROWS), encoding="utf-8")


def parquet(path):
    pq.write_table(pa.Table.from_pylist(ROWS), path)


def saved(path):
    datasets.Dataset.from_list(ROWS).save_to_disk(path)


@pytest.mark.parametrize(
    ("write", "name", "places"),
    [
        (jsonl, "a.jsonl", ("line 1", "line 2")),
        (as_json, "a.json", ("row 0", "row 1")),
        (parquet, "a.parquet", ("row 0", "row 1")),
        (saved, "saved", ("row 0", "row 1")),
    ],
)
def test_every_format_gives_the_same_rows(tmp_path, write, name, places):
    write(tmp_path / name)
    table = read(tmp_path / name)
    assert table.columns == ("prompt", "n")
    assert table.size == 2
    assert taken(table, "prompt", "n") == list(zip(places, ROWS, strict=True))


def test_csv_knows_the_line_where_a_row_begins(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('prompt,n\n"a\nb, c",1\n\nd,2\n', encoding="utf-8")
    table = read(path)
    assert taken(table, "prompt", "n") == [
        ("line 2", {"prompt": "a\nb, c", "n": "1"}),
        ("line 5", {"prompt": "d", "n": "2"}),
    ]


def test_a_text_file_has_a_prompt_a_line(tmp_path):
    (tmp_path / "a.txt").write_bytes("a\r\n\r\nb\u2028c\n".encode())
    assert taken(read(tmp_path / "a.txt"), "text") == [
        ("line 1", {"text": "a"}),
        ("line 3", {"text": "b\u2028c"}),
    ]


def test_columns_are_those_of_all_rows(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n\n{"b": 2, "a": 3}\n')
    table = read(tmp_path / "a.jsonl")
    assert table.columns == ("a", "b")
    assert [row.place for row in table.select(["a"])] == ["line 1", "line 3"]


def test_a_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfprompt\nhello\n")
    assert read(tmp_path / "a.csv").columns == ("prompt",)


def test_a_given_format_beats_the_ending(tmp_path):
    jsonl(tmp_path / "a.json")
    assert read(tmp_path / "a.json", format="jsonl").size == 2


@given(st.lists(st.dictionaries(st.text(), st.text() | st.integers() | st.none()), min_size=1))
def test_jsonl_round_trip(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "round.jsonl"
    path.write_bytes("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows).encode())
    assert [row.fields for row in read(path).select([])] == rows


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a": \xff}\n', r"a\.jsonl, line 2: not UTF-8 \(byte 0xff\)"),
        ("a.csv", "a\nWörter\n".encode("latin-1"), r"a\.csv, line 2: not UTF-8 \(byte 0xf6\)"),
        ("a.jsonl", b'{"a": 1}\n\n{"a": \n', r"a\.jsonl, line 3: not JSON: Expecting value"),
        ("a.jsonl", b'{"a": 1}\n["a"]\n', "line 2: got a list, expected an object"),
        ("a.jsonl", b"[" * 100_000, "line 1: not JSON"),
        ("a.json", b'{"a": 1}\n{"a": 2}\n', 'one object per line\\? then say format = "jsonl"'),
        ("a.json", b'{"a": 1}', "got an object, expected a list"),
        ("a.json", b'[{"a": 1}, 7]', "row 1: got an integer, expected an object"),
        ("a.json", b"[" * 100_000, "JSON is nested too deeply"),
        ("a.csv", b"a,b\n1,2\n1,2,3\n", "line 3: got 3 cells, expected 2"),
        ("a.csv", b"a,b,a\n1,2,3\n", "line 1: a column is named twice"),
        ("a.csv", b'a\n"open\n', "not CSV"),
        ("a.parquet", b"PAR1 not really", "not a readable Parquet file"),
        ("a.jsonl", b"\n\n", "no rows"),
        ("a.csv", b"a,b\n", "no rows"),
        ("a.tsv", b"a\tb", r"cannot tell the format from the ending '\.tsv'"),
    ],
)
def test_a_broken_file_says_where_and_what(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(tmp_path / name)


def test_a_parquet_file_cut_off_in_its_data(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"prompt": ["x" * 50, "y" * 70] * 500}), path)
    content = bytearray(path.read_bytes())
    content[4:40] = bytes(36)
    path.write_bytes(content)
    with pytest.raises(DataError, match="not a readable Parquet file"):
        list(read(path).select(["prompt"]))


def test_a_missing_file_suggests_its_neighbour(tmp_path):
    jsonl(tmp_path / "train.jsonl")
    with pytest.raises(DataError, match=r"no such file: .* did you mean 'train\.jsonl'"):
        read(tmp_path / "trian.jsonl")
    with pytest.raises(DataError, match="no such file or folder"):
        read(tmp_path / "prompts")
    with pytest.raises(DataError, match=r"the folder .* does not exist either"):
        read(tmp_path / "nowhere" / "a.jsonl")


def test_an_unknown_format_suggests_the_nearest(tmp_path):
    jsonl(tmp_path / "a.jsonl")
    with pytest.raises(DataError, match="did you mean 'jsonl'"):
        read(tmp_path / "a.jsonl", format="jsnl")


def test_a_missing_column_suggests_the_nearest(tmp_path):
    jsonl(tmp_path / "a.jsonl")
    with pytest.raises(DataError, match=r"a\.jsonl: unknown column 'promt': did you mean 'prompt'"):
        read(tmp_path / "a.jsonl").require("promt")


def test_splits_of_a_saved_folder(tmp_path):
    part = datasets.Dataset.from_list
    datasets.DatasetDict(train=part(ROWS), test=part(ROWS[:1])).save_to_disk(tmp_path / "both")
    datasets.DatasetDict(only=part(ROWS[1:])).save_to_disk(tmp_path / "one")
    assert read(tmp_path / "both").size == 2
    assert read(tmp_path / "both", split="test").size == 1
    assert read(tmp_path / "one").size == 1
    with pytest.raises(DataError, match="unknown split 'tset': did you mean 'test'"):
        read(tmp_path / "both", split="tset")


def test_a_file_has_no_splits(tmp_path):
    jsonl(tmp_path / "a.jsonl")
    with pytest.raises(DataError, match="split 'test' was given"):
        read(tmp_path / "a.jsonl", split="test")


def test_a_folder_of_files_is_loaded_by_the_datasets_library(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "ultra" / "data"
    folder.mkdir(parents=True)
    parquet(folder / "train-00000-of-00001.parquet")
    table = read(tmp_path / "ultra")
    assert table.label.endswith("(train)")
    assert [fields["n"] for _, fields in taken(table, "n")] == [1, 2]


def test_a_hub_that_cannot_be_reached(monkeypatch):
    def unreachable(source, split):
        raise ConnectionError(f"Couldn't reach {source}")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(DataError, match=r"someone/prompts: no file of that name.*Couldn't reach"):
        read("someone/prompts")


def test_type_names():
    assert [type_name(v) for v in (None, True, 1, 1.5, "a", [], {})] == [
        "nothing", "a boolean", "an integer", "a number", "text", "a list", "an object",
    ]  # fmt: skip


def test_of_many_files_the_nearest_are_named(tmp_path):
    for i in range(100):
        (tmp_path / f"part-{i:03d}.jsonl").touch()
    with pytest.raises(DataError, match=r"did you mean 'part-042\.jsonl'") as raised:
        read(tmp_path / "part-42.jsonl")
    assert str(raised.value).count("part-") < 20


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="pipe: a pipe or device, expected a file"):
        read(tmp_path / "pipe")
