from __future__ import annotations

import json

import jsonschema
import pytest
import referencing.exceptions
from hypothesis import given
from hypothesis import strategies as st

from eva.rewards.json_schema import fits, unfenced

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "people": {"type": "integer", "minimum": 0}},
    "required": ["city"],
    "additionalProperties": False,
}


def reward(response, schema=CITY):
    return fits(response, schema)["reward"]


def test_json_that_the_schema_allows_is_rewarded():
    assert reward('{"city": "Oslo", "people": 709037}') == 1.0
    assert reward('\n```json\n{"city": "Oslo"}\n```\n') == 1.0
    assert reward('{"city": "Oslo"}', json.dumps(CITY)) == 1.0


@pytest.mark.parametrize(
    ("text", "is_json"),
    [
        ('{"people": 3}', 1.0),
        ('{"city": "Oslo", "people": -1}', 1.0),
        ('{"city": "Oslo", "sea": true}', 1.0),
        ('{"city": "Oslo", "people": NaN}', 0.0),
        ('Here it is: {"city": "Oslo"}', 0.0),
        ('```json\n{"city": "Oslo"}\n```\nDone.', 0.0),
        ("{'city': 'Oslo'}", 0.0),
        ("[" * 100_000, 0.0),
        ("", 0.0),
    ],
)
def test_other_json_is_told_from_no_json(text, is_json):
    assert fits(text, CITY) == {"reward": 0.0, "json": is_json}


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)  # fmt: skip


@given(values, st.booleans())
def test_whatever_json_says_is_read_bare_or_fenced(value, fenced):
    text = json.dumps(value)
    assert json.loads(unfenced(f"```\n{text}\n```" if fenced else text)) == value
    assert reward(text, {"const": value}) == 1.0


def test_a_fence_is_read_in_time_that_does_not_grow_with_its_square():
    # with 10^12 steps the suite's own limit would end it
    blanks = "```json\n" + " " * 10**6
    assert unfenced(f"{blanks}x") == f"{blanks}x"
    assert unfenced(f"{blanks}1\n \t```") == " " * 10**6 + "1"


def test_a_schema_that_is_none_is_an_error():
    with pytest.raises(jsonschema.SchemaError):
        fits("1", {"type": "text"})


def test_no_other_document_is_fetched():
    with pytest.raises(referencing.exceptions.Unresolvable):
        fits("1", {"$ref": "http://127.0.0.1:9/schema.json"})


def test_older_drafts_are_known():
    draft4 = "http://json-schema.org/draft-04/schema#"
    assert reward("2", {"$schema": draft4, "minimum": 1, "exclusiveMinimum": True}) == 1.0
