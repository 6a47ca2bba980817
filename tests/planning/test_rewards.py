import pytest

from eva.app.load import parse_config
from eva.errors import ConfigError
from eva.planning.rewards import columns_missed, reward_models


def models(reward):
    game = {
        "policy": {"model": "random:tiny"},
        "prompts": {"source": "p.jsonl"},
        "reward": reward,
        "solver": {"objective": "dpo"},
    }
    return [(found.role, found.name, found.state) for found in reward_models(parse_config(game))]


def test_local_judges_are_looked_for():
    judge = {"name": "judge", "model": "random:tiny"}
    assert models(judge) == [("reward judge", "random:tiny", "here")]
    server = {"url": "http://h/v1", "model": "m"}
    pairwise = {"name": "pairwise", "server": server}
    both = {"name": "combined", "weights": [1, 1], "parts": [judge, pairwise]}
    assert models(both) == models(judge)


def test_a_judge_has_to_be_a_language_model():
    with pytest.raises(ConfigError, match=r"reward pairwise: .*encoder"):
        models({"name": "pairwise", "model": "packaged:minilm-l6-v2"})


def test_a_preference_model_is_looked_for():
    found = models({"name": "preference", "model": "some/where"})
    assert [(role, name) for role, name, _ in found] == [("reward preference", "some/where")]


def test_an_encoder_has_to_be_one():
    found = models({"name": "relevance"})
    assert [(role, name) for role, name, _ in found] == [
        ("reward relevance", "packaged:minilm-l6-v2")
    ]


@pytest.mark.parametrize(
    ("reward", "keep", "evolver", "said"),
    [
        ({"name": "math"}, [], {"name": "none"}, ["prompts.keep"]),
        ({"name": "math"}, ["answer"], {"name": "none"}, []),
        ({"name": "math"}, ["answer"], {"name": "evol_quality"}, ["keep_columns"]),
        (
            {"name": "math"},
            ["answer"],
            {"name": "evol_quality", "keep_columns": ["answer"]},
            [],
        ),
        ({"name": "pattern", "pattern": "a"}, [], {"name": "evol_quality"}, []),
        ({"name": "json_schema", "column": "s"}, [], {"name": "evol_quality"}, ["prompts.keep"]),
    ],
)
def test_columns_that_verifiers_would_miss_are_said(reward, keep, evolver, said):
    game = {
        "policy": {"model": "random:tiny"},
        "prompts": {"source": "p.jsonl", "keep": keep},
        "reward": {
            "name": "combined",
            "weights": [1, 1],
            "parts": [reward, {"name": "length", "limit": 9}],
        },
        "creator": {"evolver": evolver, "source": "human"},
        "solver": {"objective": "dpo"},
    }
    notes = list(columns_missed(parse_config(game)))
    assert len(notes) == len(said)
    assert all(part in note for part, note in zip(said, notes, strict=True))
