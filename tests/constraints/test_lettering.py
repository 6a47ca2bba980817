from __future__ import annotations

import pytest

from eva.constraints import Kind, lettering, meets
from eva.types import Check

CASES = [
    # kind, level, arguments, an answer that meets it, answers that do not
    ("lowercase", 1, {"most": 3}, "Tea. Then Rest.", ["Tea. Then REst.", "1"]),
    ("lowercase", 2, {"most": 1}, "Tea, then rest.", ["Tea. Then rest."]),
    ("lowercase", 3, {}, "all small, 3 of 3 été", ["One capital", "123", "É"]),
    ("uppercase", 1, {}, "ALL 3 LARGE É", ["ALMOST ALl", "123", "é"]),
    ("capitals", 1, {"count": 1}, "This is GREAT.", ["I am Anna."]),
    ("capitals", 2, {"count": 2}, "VERY GOOD work", ["A VERY good one"]),
    ("capitals", 3, {"count": 4}, "ONE TWO THREE FOUR", ["ONE TWO THREE four"]),
    ("capitals", 4, {"count": 6}, "AB CD EF GH IJ KL", ["AB CD EF GH IJ K L"]),
    ("commas", 1, {"most": 1}, "Tea, then rest.", ["Tea, milk, sugar."]),
    ("commas", 2, {}, "Tea and rest.", ["Tea, then rest."]),
    ("letter", 1, {"letter": "m", "count": 5}, "Mmm, mum", ["mmm, mu"]),
    ("letter", 2, {"letter": "w", "count": 4}, "wow, Wow", ["wow, how"]),
    ("letter", 3, {"letter": "k", "count": 3}, "Kick back", ["kick"]),
    ("letter", 4, {"letter": "z", "count": 2}, "Jazz", ["size"]),
    ("letter", 5, {"letter": "q", "count": 3}, "quiet Queens quit", ["quiet queens"]),
]


@pytest.mark.parametrize(("kind", "level", "args", "good", "bad"), CASES)
def test_checkers(kind, level, args, good, bad):
    check = Check(kind, {"level": level, **args})
    assert meets(good, check)
    assert not any(meets(text, check) for text in bad)


def test_every_level_is_covered():
    kinds = [k for k in vars(lettering).values() if isinstance(k, Kind)]
    assert {(k.name, i + 1) for k in kinds for i in range(len(k.levels))} == {
        (kind, level) for kind, level, *_ in CASES
    }
