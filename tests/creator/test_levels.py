from __future__ import annotations

import pytest

from eva.creator.levels import LevelEvolver
from eva.errors import ConfigError, DataError
from eva.rng import Streams
from eva.types import Prompt

STREAMS = Streams(0, 2, "test")


class Maker:
    """Puzzles of levels 0 to 2, of which level 2 can't be made where the task says so."""

    def top_level(self, task):
        return 2

    def puzzle(self, task, level, seed, **lineage):
        if task == "gap" and level == 2:
            raise DataError("none of level 2")
        return Prompt.of(
            f"{task} {level} {seed % 4}", columns={"task": task, "level": level}, **lineage
        )


def puzzle(level, task="sums"):
    return Maker().puzzle(task, level, 0)


def proposals(parent, **settings):
    evolver = LevelEvolver(Maker(), **settings)
    return [evolver.propose([parent], step, STREAMS)[0] for step in range(40)]


def test_operators_move_the_level_within_its_bounds():
    moved = {0: {"harder", "another"}, 1: {"harder", "easier", "another"}, 2: {"easier", "another"}}
    for level, names in moved.items():
        made = proposals(puzzle(level))
        assert {p.operator for p in made} == names
        for p in made:
            step = {"harder": 1, "easier": -1, "another": 0}[p.operator]
            assert p.child.columns["level"] == level + step
            assert (p.child.parents, p.child.operator) == ((p.parent.id,), p.operator)
            assert p.child.born == 2


def test_the_same_stream_gives_the_same_child():
    assert proposals(puzzle(1)) == proposals(puzzle(1))
    assert len({p.child.id for p in proposals(puzzle(1))}) > 3


def test_what_does_not_apply_is_told():
    (refused, *_) = proposals(puzzle(2), operators=("harder",))
    assert refused.child is None
    assert refused.reason == "harder: there is no level 3"
    (refused, *_) = proposals(puzzle(1, "gap"), operators=("harder",))
    assert refused.reason == "harder: none of level 2"
    (refused, *_) = proposals(Prompt.of("no puzzle"))
    assert "no task and level" in refused.reason


def test_held_out_puzzles_are_avoided():
    avoid = {Maker().puzzle("sums", 1, seed).id for seed in range(3)}
    made = proposals(puzzle(1), operators=("another",), avoid=avoid)
    assert {p.child.text for p in made if p.child} == {"sums 1 3"}
    assert any(p.reason == "another: a puzzle that is held out" for p in made)


def test_unknown_operators_are_refused():
    with pytest.raises(ConfigError, match="did you mean 'harder'"):
        LevelEvolver(Maker(), ("hardr",))
    with pytest.raises(ConfigError, match="no operators"):
        LevelEvolver(Maker(), ())
