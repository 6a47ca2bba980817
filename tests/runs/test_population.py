import sqlite3

import pytest

from eva.errors import RunError
from eva.runs.population import Population
from eva.runs.tables import Commit, Logged
from eva.types import Evolution, Prompt, Refusal, Stage


@pytest.fixture
def population():
    made = Population()
    made.create()
    yield made
    made.close()


def test_prompts_keep_their_order_of_entry_and_are_not_overwritten(population):
    a, b = Prompt.of("a", columns={"first": True}), Prompt.of("b")
    with population.transaction():
        population.add_prompts([b, a])
        population.add_prompts([Prompt.of("a", columns={"first": False}), Prompt.of("c")])
    assert population.prompts() == [b, a, Prompt.of("c")]
    assert population.prompts([a.id, b.id, a.id]) == [a, b, a]
    with pytest.raises(RunError, match=r"has no prompt nowhere \(1 missing\)"):
        population.prompts([a.id, "nowhere"])


def test_a_family_can_be_followed(population):
    mother, father = Prompt.of("m"), Prompt.of("f")
    both = Prompt.of("mf", parents=(mother.id, father.id), operator="combine", born=1)
    refusal = Refusal(mother.id, "add", "length", "too long", "m m m", 1)
    with population.transaction():
        population.add_prompts([mother, father])
        population.add_rows(Stage(1, "creator/evolve"), [Evolution(mother.id, (both,), (refusal,))])
    assert population.children(mother.id) == population.children(father.id) == [both]
    assert population.children(both.id) == []
    (row,) = population.table("refusals", parent_id=mother.id)
    assert (row["gate"], row["reason"], row["text"], row["stage"]) == (
        "length",
        "too long",
        "m m m",
        "creator/evolve",
    )


def test_a_transaction_is_all_or_nothing(population):
    with pytest.raises(TypeError), population.transaction():
        population.add_prompts([Prompt.of("a"), Prompt.of("b", columns={"no JSON": object()})])
    assert population.prompts() == []


def test_a_unit_of_work_cannot_be_committed_twice(population):
    commit = Commit(1, "record", "once", 0, 0, "f", 1)
    with population.transaction():
        population.add_commit(commit, [], time=0.0)
    with pytest.raises(RunError, match="UNIQUE"), population.transaction():
        population.add_commit(commit, [Logged(1, "record", None, 0.0, {"x": 1.0})], time=1.0)
    assert population.metrics() == []


def test_commits_come_in_order_of_their_parts(population):
    made = [Commit(1, "s", "chunk", part, 2, f"{part}", 3, "d", {"x": part}) for part in (10, 9)]
    others = [Commit(1, "s", "once", 0, 0, "f", 1), Commit(2, "s", "chunk", 0, 0, "f", 1)]
    with population.transaction():
        for commit in made + others:
            population.add_commit(commit, [], time=0.0)
    found = population.commits(Stage(1, "s"), "chunk")
    assert [(c.part, c.result, c.seq) for c in found] == [(9, {"x": 9}, 2), (10, {"x": 10}, 1)]
    assert population.last() == "round 2, s, chunk 0"


def test_estimates_without_a_value_and_prompts_not_drawn_are_kept(population):
    estimates = {"ids": ["a", "b", "c"], "values": [None, 2.0, 3.0], "errors": [None, 0.5, 0.1]}
    with population.transaction():
        population.add_informativeness(4, estimates | {"drawn": [2, 1]})
    rows = [tuple(row.values())[1:] for row in population.table("informativeness")]
    assert rows == [("a", 4, None, None, None), ("b", 4, 2.0, 0.5, 1), ("c", 4, 3.0, 0.1, 0)]


def test_steps_are_counted_over_rounds(population):
    steps = [(1, None), (1, 3), (1, 7), (2, 2), (3, None)]
    logged = [Logged(t, "solver/train", step, 0.0, {"loss": 1.0}) for t, step in steps]
    with population.transaction():
        population.add_commit(Commit(1, "x", "once", 0, 0, "f", 1), logged, time=0.0)
    assert population.metrics() == logged
    assert [population.steps_before(t) for t in (1, 2, 3, 4)] == [0, 7, 9, 9]


def test_a_later_format_is_refused(tmp_path):
    path = tmp_path / "population.sqlite"
    path.touch()
    made = Population(path)
    made.create()
    made.check()
    made.close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    later = Population(path, readonly=True)
    with pytest.raises(RunError, match="format 99, expected at most 1: update eva"):
        later.check()
    later.close()


def test_a_database_is_not_made_where_one_was_expected(tmp_path):
    with pytest.raises(RunError, match="unable to open"):
        Population(tmp_path / "population.sqlite")
    assert list(tmp_path.iterdir()) == []


def test_what_came_after_a_position_can_be_taken_back(population):
    a, b, c = (Prompt.of(text) for text in "abc")
    refusal = Refusal(a.id, "add", "length", "too long", "a a", 1)
    stage = Stage(1, "creator/evolve")
    with population.transaction():
        population.add_prompts([a])
    position = population.position()
    assert position["prompts"] == 1
    assert position["refusals"] == 0
    with population.transaction():
        population.add_rows(stage, [Evolution(a.id, (b,), (refusal,))])
    with population.transaction():
        population.rewind(position)
    assert population.prompts() == [a]
    assert population.table("refusals") == []
    assert population.position() == position
    with population.transaction():
        population.add_prompts([c])
    assert population.table("prompts", entry=2)[0]["id"] == c.id
