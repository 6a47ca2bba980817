from __future__ import annotations

import pytest

from eva.constraints import Kind, length, meets
from eva.types import Check


def words(n: int) -> str:
    return " ".join(["word"] * n)


def sentences(n: int) -> str:
    return " ".join(["This one ends."] * n)


def paragraphs(n: int) -> str:
    return "\n\n".join(["Some text."] * n)


def questions(n: int) -> str:
    return " ".join([*["Is it so?"] * n, "It is."])


COUNTED = [
    # kind, arguments of each level, an answer of n, n that meet it, n that do not
    ("min_words", [{"words": n} for n in (15, 20, 25, 30, 40)], words, (0, 1, 9), (-1, -9)),
    ("max_words", [{"words": n} for n in (35, 25, 20, 15, 10)], words, (0, -1, -9), (1, 9)),
    ("sentences", [{"count": n} for n in (1, 2, 3, 4, 6)], sentences, (0,), (-1, 1)),
    ("paragraphs", [{"count": n} for n in (2, 3, 4, 5)], paragraphs, (0,), (-1, 1)),
    ("questions", [{"count": n} for n in (1, 2, 3, 5)], questions, (0, 1), (-1,)),
]


@pytest.mark.parametrize(("kind", "levels", "answer", "good", "bad"), COUNTED)
def test_counts_are_met_exactly_at_the_bound(kind, levels, answer, good, bad):
    for args in levels:
        (n,) = args.values()
        check = Check(kind, args)
        assert all(meets(answer(n + d), check) for d in good)
        assert not any(meets(answer(n + d), check) for d in bad)


@pytest.mark.parametrize(("low", "high"), [(10, 30), (15, 30), (20, 30), (25, 30)])
def test_word_range_includes_both_ends(low, high):
    check = Check("word_range", {"low": low, "high": high})
    assert meets(words(low), check)
    assert meets(words(high), check)
    assert not meets(words(low - 1), check)
    assert not meets(words(high + 1), check)


def test_every_level_is_covered():
    kinds = {k.name: k for k in vars(length).values() if isinstance(k, Kind)}
    covered = {kind: len(levels) for kind, levels, *_ in COUNTED} | {"word_range": 4}
    assert covered == {name: len(kind.levels) for name, kind in kinds.items()}


def test_a_single_sentence_leaves_no_room_for_a_closing_sentence():
    bars = length.SENTENCES.bars
    assert bars({"count": 1}, "Good luck!")
    assert not bars({"count": 2}, "Good luck!")
    assert not bars({"count": 1}, "lantern")
