"""The buffer: who is drawn, who leaves, who is evicted, and that its state is all of it."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eva.creator.buffer import DRAWS, Buffer, greedy, proportional, uniform
from eva.errors import ConfigError


def ids(*numbers):
    return [f"{number:016x}" for number in numbers]


def rng(seed=0):
    return np.random.default_rng(seed)


def filled(weights, **settings):
    buffer = Buffer(settings.pop("capacity", 100), **settings)
    buffer.add(ids(*range(len(weights))), weights, step=0)
    return buffer


def test_a_first_draw_is_in_proportion_to_the_weights():
    weights = np.array([1.0, 0.0, 3.0, 6.0])
    counts = Counter(int(proportional(weights, 1, rng(s))[0]) for s in range(4000))
    shares = [counts[i] / 4000 for i in range(4)]
    # three standard errors of a share of 0.6 at 4000 draws are 0.023
    assert shares == pytest.approx([0.1, 0.0, 0.3, 0.6], abs=0.025)


def test_a_second_draw_is_in_proportion_to_what_is_left():
    weights = np.array([1.0, 3.0, 6.0])
    pairs = Counter(tuple(proportional(weights, 2, rng(s)).tolist()) for s in range(6000))
    # P(2 first) = .6, then P(1) = 3/4: .45; P(0 first) = .1, then P(2) = 6/9: .067
    assert pairs[2, 1] / 6000 == pytest.approx(0.45, abs=0.02)
    assert pairs[0, 2] / 6000 == pytest.approx(0.0667, abs=0.012)


@given(
    st.lists(st.floats(0, 1e6, allow_subnormal=False), max_size=30),
    st.integers(0, 40),
    st.integers(0, 9),
)
def test_draws_are_distinct_and_of_positive_weight(weights, k, seed):
    drawn = proportional(np.array(weights), k, rng(seed)).tolist()
    positive = [i for i, weight in enumerate(weights) if weight > 0]
    assert len(drawn) == len(set(drawn)) == min(k, len(positive))
    assert set(drawn) <= set(positive)


def test_dead_places_change_no_draw():
    weights = rng(3).random(50)
    spread = np.zeros(120)
    places = np.sort(rng(4).choice(120, 50, replace=False))
    spread[places] = weights
    for seed in range(30):
        dense = proportional(weights, 5, rng(seed))
        assert places[dense].tolist() == proportional(spread, 5, rng(seed)).tolist()


def test_greedy_takes_the_largest_and_the_earlier_of_equals():
    assert greedy(np.array([1.0, 2.0, 2.0, 0.0]), 3, rng()).tolist() == [1, 2, 0]
    assert greedy(np.array([]), 3, rng()).tolist() == []


def test_uniform_does_not_look_at_weights():
    counts = Counter(int(uniform(np.array([0.0, 100.0]), 1, rng(s))[0]) for s in range(2000))
    assert counts[0] / 2000 == pytest.approx(0.5, abs=0.04)


def test_drawn_prompts_leave():
    buffer = filled([1.0] * 10)
    drawn = buffer.draw(4, rng(), step=1)
    assert len(set(drawn)) == 4
    assert len(buffer) == 6
    assert not set(buffer.draw(6, rng(), step=1)) & set(drawn)
    assert buffer.draw(3, rng(), step=1) == []


def test_the_oldest_are_evicted_in_order():
    buffer = Buffer(4)
    assert buffer.add(ids(1, 2, 3), [1, 1, 1], step=1) == []
    assert not buffer.full
    assert buffer.add(ids(4, 5, 6), [1, 1, 1], step=2) == ids(1, 2)
    assert buffer.full
    assert sorted(buffer.draw(9, rng(), step=2)) == ids(3, 4, 5, 6)


def test_more_than_the_capacity_at_once_keeps_the_newest():
    buffer = Buffer(2)
    assert buffer.add(ids(1, 2, 3, 4, 5), [1.0] * 5, step=1) == ids(1, 2, 3)


def test_without_a_positive_priority_the_draw_is_uniform():
    first = Counter(filled([0.0, 0.0]).draw(1, rng(s), step=1)[0] for s in range(2000))
    assert first[ids(0)[0]] / 2000 == pytest.approx(0.5, abs=0.04)
    # and those of priority 0 come only after all others
    drawn = filled([0.0, 2.0, 0.0]).draw(2, rng(), step=1)
    assert drawn[0] == ids(1)[0]


def test_stale_priorities_fade():
    def share_of_old(staleness):
        firsts = []
        for seed in range(2000):
            buffer = Buffer(10, staleness=staleness)
            buffer.add(ids(0), [1.0], step=0)
            buffer.add(ids(1), [1.0], step=10)
            firsts += buffer.draw(1, rng(seed), step=10)
        return firsts.count(ids(0)[0]) / 2000

    assert share_of_old(0.0) == pytest.approx(0.5, abs=0.04)
    # exp(-1) against 1
    assert share_of_old(0.1) == pytest.approx(0.269, abs=0.03)


def test_mean_and_age():
    buffer = Buffer(10)
    assert (buffer.mean, buffer.age(5)) == (0.0, 0.0)
    buffer.add(ids(1, 2), [1.0, 3.0], step=2)
    buffer.add(ids(3), [5.0], step=5)
    assert buffer.mean == pytest.approx(3.0)
    assert buffer.age(6) == pytest.approx((4 + 4 + 1) / 3)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.lists(st.floats(0, 5), max_size=12)), max_size=40),
    st.integers(1, 30),
    st.sampled_from(sorted(DRAWS)),
)
def test_a_restored_buffer_goes_on_like_the_first(moves, capacity, draw):
    first, number = Buffer(capacity, draw=draw, staleness=0.01), 0
    second = Buffer(capacity, draw=draw, staleness=0.01)
    inside = set()
    for step, (k, priorities) in enumerate(moves):
        new = ids(*range(number, number + len(priorities)))
        number += len(priorities)
        # a copy by way of the state, packed anew at every step, against one never packed by hand
        second.restore(first.state())
        drawn = first.draw(k, rng(step), step=step)
        assert drawn == second.draw(k, rng(step), step=step)
        assert set(drawn) <= inside
        inside -= set(drawn)
        evicted = first.add(new, priorities, step=step)
        assert evicted == second.add(new, priorities, step=step)
        assert (first.mean, first.age(step)) == (second.mean, second.age(step))
        inside = (inside | set(new)) - set(evicted)
        assert len(first) == len(inside) <= capacity


def test_it_grows_and_packs_without_losing_anyone():
    buffer, number = Buffer(3000), 0
    for step in range(400):
        buffer.draw(5, rng(step), step=step)
        buffer.add(ids(*range(number, number + 20)), [1.0] * 20, step=step)
        number += 20
    assert len(buffer) == 3000
    state = buffer.state()
    assert len(set(state["keys"].tolist())) == 3000
    # memory stays in proportion to what is inside
    assert len(buffer._keys) < 3000 * 2


def test_bad_input_says_what_was_expected():
    with pytest.raises(ConfigError, match="did you mean 'proportional'"):
        Buffer(10, draw="proportionl")
    with pytest.raises(ConfigError, match="at least 1"):
        Buffer(0)
    with pytest.raises(ValueError, match="finite numbers from 0"):
        Buffer(10).add(ids(1), [float("nan")], step=1)
    with pytest.raises(ValueError, match="16 hexadecimal"):
        Buffer(10).add(["abc"], [1.0], step=1)
