import json

import pytest

from eva.app.load import parse_config
from eva.app.prompts import prompt_sets
from eva.constraints import KINDS
from eva.data.prompts import write_prompts
from eva.errors import ConfigError, DataError


def config(tmp_path, n=30, **changes):
    path = tmp_path / "prompts.jsonl"
    rows = [{"prompt": f"Describe thing number {i} in your own words."} for i in range(n)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    base = {
        "policy": {"model": "random:tiny"},
        "prompts": {"source": str(path), "per_round": 8, "constraints": {"count": [1, 2]}},
        "reward": {"name": "rules"},
        "creator": {"evolver": {"name": "rules"}},
        "solver": {"objective": "dpo"},
        "evaluation": {"heldout": {"prompts": 5, "counts": [1, 2]}},
    }
    return parse_config(base | changes)


def test_training_and_held_out_prompts_share_no_request(tmp_path):
    sets = prompt_sets(config(tmp_path))
    assert len(sets.human) == 20
    assert not {p.topic for p in sets.human} & {p.topic for p in sets.held_out}


def test_held_out_has_every_count_and_kinds_never_trained_on(tmp_path):
    sets = prompt_sets(config(tmp_path))
    trained = set(sets.kinds.trained)
    assert len(sets.kinds.held_out) >= 2
    counts = [
        len(p.checks) for p in sets.held_out if all(check.kind in trained for check in p.checks)
    ]
    assert counts == [1] * 5 + [2] * 5
    unseen = [p for p in sets.held_out if not trained & {check.kind for check in p.checks}]
    assert len(unseen) == 5
    assert all(check.kind in trained for p in sets.human for check in p.checks)


def test_the_held_out_set_does_not_depend_on_the_training_size(tmp_path):
    one = prompt_sets(config(tmp_path))
    prompts = {"per_round": 3, "constraints": {"count": [1]}}
    base = config(tmp_path).model_dump(mode="json")
    other = prompt_sets(parse_config(base | {"prompts": base["prompts"] | prompts}))
    assert [p.id for p in one.held_out] == [p.id for p in other.held_out]


def test_seeds_shuffle_what_is_trained_on_and_nothing_else(tmp_path):
    one, other = (prompt_sets(config(tmp_path, seed=seed)) for seed in (1, 2))
    assert [p.topic for p in one.human] != [p.topic for p in other.human]
    assert {p.topic for p in one.human} == {p.topic for p in other.human}
    assert one.held_out == other.held_out


def test_held_out_kinds_can_be_named_and_misnamed(tmp_path):
    first, second, *_ = KINDS
    section = {"source": "", "per_round": 8, "constraints": {"held_out": [first, second]}}
    base = config(tmp_path).model_dump(mode="json")
    section["source"] = base["prompts"]["source"]
    sets = prompt_sets(parse_config(base | {"prompts": section}))
    assert sets.kinds.held_out == (first, second)
    section["constraints"]["held_out"] = ["no_such_kind"]
    with pytest.raises(ConfigError, match="no_such_kind"):
        prompt_sets(parse_config(base | {"prompts": section}))


def test_too_few_prompts_are_an_error_with_the_numbers(tmp_path):
    with pytest.raises(DataError, match="10 usable prompts, 0 after the held-out"):
        prompt_sets(config(tmp_path, n=10))
    with pytest.raises(DataError, match="expected 24"):
        prompt_sets(config(tmp_path, rounds=3, creator={"name": "new_human"}))


def test_prompts_with_constraints_of_their_own_keep_them(tmp_path):
    sets = prompt_sets(config(tmp_path))
    source = tmp_path / "evolved.jsonl"
    write_prompts(source, sets.human)
    base = config(tmp_path).model_dump(mode="json")
    again = prompt_sets(parse_config(base | {"prompts": base["prompts"] | {"source": str(source)}}))
    assert {p.id for p in again.human} < {p.id for p in sets.human}
    assert all(p.topic and p.checks for p in again.held_out)


def test_open_prompts_are_held_out_once(tmp_path):
    base = config(tmp_path).model_dump(mode="json")
    base["prompts"]["constraints"] = None
    base |= {"creator": {"evolver": {"name": "evol_instruct"}}}
    base |= {"reward": {"name": "python", "function": "m:f"}}
    sets = prompt_sets(parse_config(base))
    assert (len(sets.held_out), len(sets.human)) == (5, 25)


def test_unknown_checks_are_found_before_anything_is_answered(tmp_path):
    game = config(tmp_path)
    with open(game.prompts.source, "a") as file:
        row = {"prompt": "Name a tree.", "checks": [{"kind": "max_wrods", "args": {"words": 5}}]}
        file.write(json.dumps(row))
    says = r"prompts.jsonl: checks of the prompt 'Name a tree.': .*did you mean 'max_words'"
    with pytest.raises(DataError, match=says):
        prompt_sets(game)
    # a reward of one's own may have checks of its own
    own = {"reward": {"name": "python", "function": "m:f"}, "creator": {"name": "static"}}
    own["prompts"] = {"source": game.prompts.source}
    found = prompt_sets(parse_config(game.model_dump(mode="json") | own))
    assert any(prompt.checks for prompt in (*found.human, *found.held_out))
