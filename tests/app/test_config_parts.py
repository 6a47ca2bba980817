from typing import get_args

import pytest
from pydantic import TypeAdapter

from eva.app.config_parts import Evolver, InstructEvolver
from eva.creator.operators import operator_set

ASKING = get_args(InstructEvolver.model_fields["name"].annotation)


@pytest.mark.parametrize("name", ASKING)
def test_every_asking_evolver_is_a_set_of_operators(name):
    assert operator_set(name)


@pytest.mark.parametrize("name", ["rules", "none", *ASKING])
def test_every_evolver_needs_but_its_name(name):
    assert TypeAdapter(Evolver).validate_python({"name": name}).name == name
