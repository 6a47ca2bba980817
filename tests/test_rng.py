import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from eva.rng import Streams

keys = st.lists(st.one_of(st.text(max_size=8), st.integers()), max_size=3)


@given(keys, keys)
def test_a_stream_depends_on_its_name_alone(one, other):
    streams = Streams(7, 2, "answer")
    first = streams.of(*one).random(4)
    streams.of(*other).random(100)
    assert np.array_equal(first, streams.of(*one).random(4))
    if one != other:
        assert not np.array_equal(first, streams.of(*other).random(4))


def test_seed_round_and_stage_separate_streams():
    draws = {
        streams.of("p", 0).random()
        for streams in (
            Streams(0, 1, "answer"),
            Streams(1, 1, "answer"),
            Streams(0, 2, "answer"),
            Streams(0, 1, "answer").at("score"),
        )
    }
    assert len(draws) == 4


def test_keys_do_not_run_together():
    streams = Streams(0, 0, "s")
    assert streams.of("a", "b").random() != streams.of("ab").random()
    assert streams.of("1").random() != streams.of(1).random()


def test_a_known_draw_never_changes():
    # a change here breaks the resume of every run made before it
    assert Streams(42, 1, "solver/answer").of("p", 0).integers(2**31) == 1116192417
