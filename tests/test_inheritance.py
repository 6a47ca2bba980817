"""What a prompt inherits and what it turns out to be worth are paired in the order of time."""

import pytest
from scipy.stats import spearmanr

from eva import inheritance
from eva.types import Evolution, Group, Prompt, ScoredGroup, Step


def step(number, drawn=(), evolved=()):
    """Return a step: informativeness by drawn prompt, and (parent, worth, children)."""
    scored = [ScoredGroup(Group(p, (), (), "p"), ()) for p, _ in drawn]
    return Step(
        number, phase="mix-up", draws=(len(scored),), replayed=0, recycled=0, dropped_tokens=0,
        scored=tuple(scored), info=tuple(v for _, v in drawn), errors=tuple(None for _ in drawn),
        seeds=(), evolutions=tuple(Evolution(p.id, tuple(c), ()) for p, _, c in evolved),
        worth=tuple(w for _, w, _ in evolved), delays=tuple(0 for _ in evolved),
    )  # fmt: skip


A, B = Prompt.of("a"), Prompt.of("b")
CHILDREN = [A.rewritten(f"a {i}", operator="add", born=1) for i in range(2)]
CHILDREN += [B.rewritten(f"b {i}", operator="add", born=1) for i in range(2)]


def test_children_are_drawn_with_what_their_parents_were_worth():
    steps = [
        step(1, [(A, 0.9), (B, 0.1)], [(A, 0.9, CHILDREN[:2]), (B, 0.1, CHILDREN[2:])]),
        step(2, [(CHILDREN[0], 0.5), (CHILDREN[2], 0.7), (CHILDREN[3], None)]),
        step(3, [(CHILDREN[1], 0.8)]),
    ]
    assert inheritance.figures(steps) == {
        "info_carried": pytest.approx(spearmanr([0.9, 0.1, 0.9], [0.5, 0.7, 0.8]).statistic),
        "info_carried_over": 3,
    }


def test_a_prompt_that_comes_back_as_it_is_is_held_against_its_last_time():
    steps = [
        step(1, [(A, 0.2), (B, 0.4)], [(A, 0.2, [A]), (B, 0.4, [B])]),
        step(2, [(A, 0.1), (B, 0.3)], [(A, 0.1, [A]), (B, 0.3, [B])]),
        step(3, [(A, 0.4), (B, 0.2)]),
    ]
    # what is drawn before it was ever kept has inherited nothing
    assert inheritance.figures(steps)["info_carried_over"] == 4
    first = inheritance.figures(steps[:2])
    assert first == {"info_carried": pytest.approx(1.0), "info_carried_over": 2}


def test_nothing_drawn_from_the_buffer_says_nothing():
    assert inheritance.figures([step(1, [(A, 0.9)], [(A, 0.9, CHILDREN[:2])])]) == {}
    alike = [step(1, [(A, 0.5)], [(A, 0.5, CHILDREN[:2])]), step(2, [(CHILDREN[0], 0.1)])]
    assert inheritance.figures(alike) == {"info_carried": None, "info_carried_over": 1}
