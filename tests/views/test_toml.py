import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eva.app.load import load_config
from eva.app.templates import folder, names
from eva.views import toml

SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**62), 2**62),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"])),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('ab-_ ."é'), inner),
    max_leaves=12,
)


@given(st.dictionaries(st.text('ab-_ ."é'), VALUES, max_size=4))
def test_what_is_written_is_read_back(data):
    assert tomllib.loads(toml.dumps(data)) == data


def test_none_is_left_out():
    assert tomllib.loads(toml.dumps({"a": None, "b": {"c": None, "d": 1}})) == {"b": {"d": 1}}


@pytest.mark.parametrize("name", sorted(names()))
def test_every_config_survives_it(name, tmp_path):
    game = load_config(folder() / f"{name}.toml")
    (tmp_path / "again.toml").write_text(toml.dumps(game.model_dump(mode="json")))
    assert load_config(tmp_path / "again.toml") == game
