from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eva.constraints import KINDS, both, choices, draws, level_of, nothing, share
from eva.types import Check


def test_a_level_outside_the_kind_is_refused():
    with pytest.raises(ValueError, match="levels 1 to 1, not 2"):
        KINDS["uppercase"].draw(2, np.random.default_rng(0), budget=40)


def test_a_check_without_a_level_is_of_the_first():
    assert level_of(Check("lowercase")) == 1
    assert level_of(Check("bullets", {"count": 5, "level": 4})) == 4


@given(st.integers(0, 999), st.integers(20, 400))
def test_draws_stay_in_their_ranges(seed, budget):
    rng = np.random.default_rng(seed)
    assert draws(count=(2, 4))(rng, budget)["count"] in {2, 3, 4}
    words = share("words", 0.5, 0.6)(rng, budget)["words"]
    assert words % 5 == 0
    assert 0.5 * budget - 2.5 <= words <= 0.6 * budget + 2.5
    several = choices("words", ("a", "b", "c"), count=2)(rng, budget)["words"]
    assert len(set(several)) == 2
    assert nothing(rng, budget) == {}
    assert both(choices("word", ("a",)), draws(n=(1, 1)))(rng, budget) == {"word": "a", "n": 1}


@given(st.sampled_from(sorted(KINDS)), st.integers(0, 999), st.text())
def test_every_checker_takes_any_text(name, seed, text):
    kind, rng = KINDS[name], np.random.default_rng(seed)
    level = int(rng.integers(1, len(kind.levels) + 1))
    check = kind.draw(level, rng, budget=40)
    assert isinstance(kind.check(text, check.args), bool)


@given(st.sampled_from(sorted(KINDS)), st.integers(0, 999))
def test_the_fewest_words_never_exceed_the_most_that_a_check_allows(name, seed):
    kind, rng = KINDS[name], np.random.default_rng(seed)
    level = int(rng.integers(1, len(kind.levels) + 1))
    args = kind.draw(level, rng, budget=40).args
    assert 0 <= kind.least_words(args) <= kind.most_words(args)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_the_first_level_fits_a_short_answer(name):
    kind = KINDS[name]
    needs = [
        kind.least_words(kind.draw(1, np.random.default_rng(i), budget=36).args) for i in range(30)
    ]
    assert max(needs) <= 36
