from __future__ import annotations

import pytest

from eva.constraints import Kind, layout, meets
from eva.types import Check


def listed(n: int, mark: str) -> str:
    return "Here:\n" + "\n".join([f"{mark} item"] * n)


def spans(n: int, shape: str) -> str:
    return " and ".join([shape] * n) + "."


COUNTED = [
    # kind, count of each level, an answer of n, n that meet it, n that do not
    ("bullets", (2, 3, 4, 6), lambda n: listed(n, "-"), (0,), (-1, 1)),
    ("numbered", (3, 2, 4, 6), lambda n: listed(n, "1."), (0,), (-1, 1)),
    ("highlights", (1, 2, 3, 5), lambda n: spans(n, "*one thing*"), (0, 1), (-1,)),
    ("placeholders", (1, 2, 3, 5), lambda n: spans(n, "[your name]"), (0, 1), (-1,)),
]

CASES = [
    # kind, level, arguments, an answer that meets it, answers that do not
    ("title", 1, {}, "<<Rain>>\nIt falls.", ["<Rain>\nIt falls.", "<<>> It falls."]),
    ("title", 2, {"words": 3}, "<<All About Rain>> It falls.", ["<<Rain>> It falls."]),
    ("title", 3, {"words": 5}, "<<a b c d e>>", ["<<a b c d e f>>"]),
    ("quoted", 1, {}, '"All of it."', ['"All" of it.', "'All of it.'", '""']),
    ("postscript", 1, {}, "Bye.\nP.S. Call me.", ["Bye. P.S. Call me.", "Bye.\nP.S.", "Bye."]),
    ("postscript", 2, {"words": 5}, "Bye.\n\nP.S. Call me when you land.", ["Bye.\nP.S. Call me."]),
    ("postscript", 3, {"words": 8}, "Bye.\nP.S.: one two three four five six seven eight",
     ["Bye.\nP.S. one two three four five six seven"]),
    ("json", 1, {}, '```json\n{"a": 1}\n```', ["{a: 1}", "[1, 2]", "{}", 'So: {"a": 1}']),
    ("json", 2, {"keys": ["tip"]}, '{"tip": "Rest."}', ['{"tips": "Rest."}']),
    ("json", 3, {"keys": ["tip", "note"]}, '{"note": 1, "tip": 2, "x": 3}', ['{"tip": "note"}']),
    ("json", 4, {"keys": ["a", "b", "c"]}, '{"a": 1, "b": 2, "c": {}}', ['{"a": 1, "c": 2}']),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "levels", "answer", "good", "bad"), COUNTED)
def test_counts(kind, levels, answer, good, bad):
    for n in levels:
        check = Check(kind, {"count": n})
        assert all(meets(answer(n + d), check) for d in good)
        assert not any(meets(answer(n + d), check) for d in bad)


@pytest.mark.parametrize(("kind", "level", "args", "good", "bad"), CASES)
def test_checkers(kind, level, args, good, bad):
    check = Check(kind, {"level": level, **args})
    assert meets(good, check)
    assert not any(meets(text, check) for text in bad)


def test_every_level_is_covered():
    kinds = [k for k in vars(layout).values() if isinstance(k, Kind)]
    counted = {(kind, i + 1) for kind, levels, *_ in COUNTED for i in range(len(levels))}
    assert {(k.name, i + 1) for k in kinds for i in range(len(k.levels))} == counted | {
        (kind, level) for kind, level, *_ in CASES
    }


def test_deep_json_is_refused_and_not_a_crash():
    assert not meets("[" * 100_000, Check("json"))
