from __future__ import annotations

import pytest

from eva.creator.gates.length_band import LengthBand
from eva.types import Prompt


def words(n):
    return Prompt.of("word " * n)


@pytest.mark.parametrize(
    ("child", "parent", "refused"),
    [
        (25, 5, False),  # 20 words more than a short parent
        (40, 5, False),
        (41, 5, True),
        (50, 100, False),
        (49, 100, True),
        (230, 100, False),
        (231, 100, True),
        (2, 3, True),
        (3, 3, False),
        (601, 600, True),
        (600, 600, False),
    ],
)
def test_band(child, parent, refused):
    assert (LengthBand()(words(child), [words(1), words(parent)]) is not None) == refused


def test_reason_gives_length_and_band():
    gate = LengthBand(min_ratio=0.5, max_ratio=1.0, slack=1, shortest=1, longest=9)
    assert gate(words(7), [words(5)]) == "7 words, expected 2.5 to 6"


def test_without_a_lineage_only_the_absolute_band_holds():
    assert LengthBand()(words(599), []) is None
    assert LengthBand()(words(1), []) == "1 words, expected 3 to 600"
