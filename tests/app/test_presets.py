import pytest

from eva.app import presets


def test_a_table_that_names_another_part_replaces_it():
    preset = {"sampler": {"name": "weighted", "bins": 3}, "keep": 1}
    assert presets.under(preset, {"sampler": {"name": "rank"}}) == {
        "sampler": {"name": "rank"},
        "keep": 1,
    }


def test_keys_of_both_are_kept():
    assert presets.under({"a": {"x": 1}}, {"a": {"y": 2}, "b": 3}) == {
        "a": {"x": 1, "y": 2},
        "b": 3,
    }


@pytest.mark.parametrize("objective", ["ipo", "rpo"])
def test_objectives_outside_the_paper_get_no_coefficient_of_another(objective):
    assert presets.paper(objective)["solver"]["objective"] == {}
