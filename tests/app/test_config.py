from typing import get_args

import pytest
from pydantic import BaseModel

from eva.app import config, config_parts, config_rewards
from eva.creator.gates.duplicate import Duplicate
from eva.creator.gates.length_band import LengthBand
from eva.creator.sampling import SAMPLERS
from eva.solver.objectives import OBJECTIVES


def sections():
    for module in (config, config_parts, config_rewards):
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, BaseModel) and value is not BaseModel:
                yield value


@pytest.mark.parametrize(
    "section", sorted(set(sections()), key=lambda s: s.__name__), ids=lambda s: s.__name__
)
def test_sections_are_frozen_closed_and_documented(section):
    assert section.model_config["frozen"]
    assert section.model_config["extra"] == "forbid"
    assert section.__doc__


def names(model):
    return set(get_args(model.model_fields["name"].annotation))


def test_names_are_those_of_the_registries():
    assert names(config_parts.Sampler) == set(SAMPLERS)
    models = (
        config_parts.Dpo,
        config_parts.Ipo,
        config_parts.Sppo,
        config_parts.Simpo,
        config_parts.Orpo,
        config_parts.Rpo,
    )
    assert set().union(*map(names, models)) == set(OBJECTIVES)


def test_gate_defaults_are_the_gates_own():
    gate = config_parts.Gate(name="length_band")
    own = LengthBand()
    assert (gate.min_ratio, gate.max_ratio, gate.slack) == (
        own.min_ratio,
        own.max_ratio,
        own.slack,
    )
    assert gate.similarity == Duplicate().threshold
