from __future__ import annotations

import pytest

from eva.constraints import Kind, division, meets
from eva.types import Check


def sections(*numbers):
    return "Here.\n" + "".join(f"\n**Section {n}**: about\nIt rains.\n" for n in numbers)


def answers(*texts):
    return "\n******\n".join(texts)


CASES = [
    # kind, count, an answer that meets it, answers that do not
    ("sections", 2, sections(1, 2), [sections(1), sections(1, 3), sections(1, 2, 3)]),
    ("sections", 3, "SECTION 1\na\nsection 2: b\n## Section 3\nc", [sections(3, 2, 1)]),
    ("sections", 4, sections(1, 2, 3, 4), [sections(1, 2, 3), "Section 1, 2, 3 and 4"]),
    ("sections", 5, sections(1, 2, 3, 4, 5), [sections(1, 2, 3, 4) + "Section 5"]),
    ("answers", 2, answers("Rain.", "Snow."), ["Rain. Snow.", answers("a", "b", "c")]),
    ("answers", 3, answers("a", "b", "*c*"), [answers("a", "b", ""), answers("a", "b", "A!")]),
    ("answers", 4, "a ****** b ****** c ****** d", ["a *** b *** c *** d", "a ******* b"]),
]


@pytest.mark.parametrize(("kind", "count", "good", "bad"), CASES)
def test_checkers(kind, count, good, bad):
    check = Check(kind, {"count": count})
    assert meets(good, check)
    assert not any(meets(text, check) for text in bad)


def test_every_level_is_covered():
    kinds = [kind for kind in vars(division).values() if isinstance(kind, Kind)]
    assert sum(len(kind.levels) for kind in kinds) == len(CASES)
    assert {kind.name for kind in kinds} == {kind for kind, *_ in CASES}
