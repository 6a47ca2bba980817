from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eva.creator.mixing import mix
from eva.types import Prompt


def rng(seed=0):
    return np.random.default_rng(seed)


def family(seed, n):
    return [Prompt.of(f"child {seed}.{i}", parents=(f"seed {seed}",)) for i in range(n)]


def humans(n):
    return [Prompt.of(f"human {i}") for i in range(n)]


sizes = st.lists(st.integers(0, 5), max_size=12)


@given(sizes, st.integers(0, 40), st.integers(0, 60), st.floats(0, 1), st.integers(0, 9))
def test_shares_and_counts(families, n_originals, size, share, seed):
    mixture = mix(
        [family(i, n) for i, n in enumerate(families)],
        humans(n_originals),
        size=size,
        share=share,
        rng=rng(seed),
    )
    n_children, wanted = sum(families), round(size * share)
    kinds = Counter(prompt.evolved for prompt in mixture.prompts)
    assert (kinds[True], kinds[False]) == (mixture.evolved, mixture.originals)
    assert len({prompt.id for prompt in mixture.prompts}) == len(mixture.prompts)
    assert len(mixture.prompts) == min(size, n_children + n_originals)
    assert mixture.wanted == wanted
    assert mixture.dropped == n_children - mixture.evolved
    if n_children >= wanted and n_originals >= size - wanted:
        assert mixture.evolved == wanted


@given(sizes, st.integers(0, 30), st.integers(0, 9))
def test_seeds_give_as_equally_many_as_they_can(families, wanted, seed):
    children = [family(i, n) for i, n in enumerate(families)]
    mixture = mix(children, [], size=wanted, share=1.0, rng=rng(seed))
    given_ = Counter(prompt.parents[0] for prompt in mixture.prompts)
    counts = [given_[f"seed {i}"] for i in range(len(families))]
    most = max(counts, default=0)
    # Whoever gives fewer than the most has, but for the last turn, nothing left to give.
    assert all(c >= most - 1 or c == n for c, n in zip(counts, families, strict=True))


def test_paper_sizes():
    # 10K prompts, 25 % seeds, 4 children each, 80/20, all divided by 100.
    mixture = mix([family(i, 4) for i in range(25)], humans(100), size=100, rng=rng())
    assert (mixture.evolved, mixture.originals, mixture.dropped) == (80, 20, 20)


def test_generations_are_dropped_alike():
    last = Counter()
    for seed in range(400):
        mixture = mix([family(0, 4)], [], size=2, share=1.0, rng=rng(seed))
        last.update(prompt.text[-1] for prompt in mixture.prompts)
    assert all(150 < last[str(i)] < 250 for i in range(4))


def test_originals_fill_what_gates_left_open():
    mixture = mix([family(0, 3)], humans(50), size=20, rng=rng())
    assert (mixture.evolved, mixture.originals, mixture.wanted) == (3, 17, 16)


def test_children_fill_when_originals_are_too_few():
    mixture = mix([family(i, 4) for i in range(5)], humans(1), size=20, rng=rng())
    assert (mixture.evolved, mixture.originals) == (19, 1)


def test_a_prompt_that_occurs_twice_is_taken_once():
    twins = [family(0, 2), family(0, 2)]
    mixture = mix(twins, [*family(0, 1), *humans(1), *humans(1)], size=10, rng=rng())
    assert (mixture.evolved, mixture.originals) == (2, 1)


def test_the_stream_decides_choice_and_order():
    def texts(seed):
        parts = [family(i, 4) for i in range(5)]
        return [p.text for p in mix(parts, humans(20), size=20, rng=rng(seed)).prompts]

    assert texts(0) == texts(0)
    assert set(texts(0)) != set(texts(1))
    evolved_first = sorted(texts(0), key=lambda text: not text.startswith("child"))
    assert texts(0) != evolved_first


def test_impossible_sizes():
    with pytest.raises(ValueError, match="size -1"):
        mix([], [], size=-1, rng=rng())
    with pytest.raises(ValueError, match="share 80"):
        mix([], [], size=1, share=80, rng=rng())
