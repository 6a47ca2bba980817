import pytest
from pydantic import TypeAdapter

from eva.app.config_parts import Evolver


@pytest.mark.parametrize("name", ["rules", "none", "evol_instruct", "evol_complexity"])
def test_every_evolver_needs_but_its_name(name):
    assert TypeAdapter(Evolver).validate_python({"name": name}).name == name
