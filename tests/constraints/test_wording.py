from __future__ import annotations

import pytest

from eva.constraints import Kind, meets, wording
from eva.types import Check

CASES = [
    # kind, level, arguments, an answer that meets it, answers that do not
    ("keywords", 1, {"words": ["time"]}, "Time flies.", ["Sometimes it flies."]),
    ("keywords", 2, {"words": ["day", "home"]}, "A day at home.", ["A day out.", "At home."]),
    ("keywords", 3, {"words": ["velvet"]}, "Soft VELVET.", ["Velveteen."]),
    ("keywords", 4, {"words": ["copper", "ribbon"]}, "ribbon, copper", ["copper ribbons"]),
    ("keywords", 5, {"words": ["meadow", "anchor", "puzzle"]}, "puzzle anchor meadow", ["meadow"]),
    ("forbidden", 1, {"words": ["best"]}, "The better one.", ["The Best one."]),
    ("forbidden", 2, {"words": ["with"]}, "Without sugar.", ["Tea with sugar."]),
    ("forbidden", 3, {"words": ["is"]}, "This was it.", ["It is."]),
    ("forbidden", 4, {"words": ["of"]}, "Often.", ["A cup of tea."]),
    ("forbidden", 5, {"words": ["the"]}, "There they go.", ["There goes the sun."]),
    ("forbidden", 6, {"words": ["in", "a"]}, "An inn.", ["In an inn.", "Just a sip."]),
    ("repeat", 1, {"word": "day", "count": 2}, "Day by day.", ["One day."]),
    ("repeat", 2, {"word": "light", "count": 3}, "Light, light, light!", ["Light daylight light"]),
    ("repeat", 3, {"word": "work", "count": 4}, "work " * 4, ["work " * 3]),
    ("repeat", 4, {"word": "good", "count": 6}, "good " * 7, ["good " * 5]),
    ("starts_with", 1, {"word": "Sure"}, "**Sure**, why not?", ["Surely.", "Not sure."]),
    ("starts_with", 2, {"word": "Today"}, '"today it rains"', ["It rains today."]),
    ("starts_with", 3, {"word": "Listen"}, "Listen: rain.", ["Listening to rain."]),
    (
        "ends_with",
        1,
        {"phrase": "Take care!"},
        "Bye. Take care!\n",
        ["Take care! Bye.", "take care!"],
    ),
    (
        "ends_with",
        2,
        {"phrase": "I hope this helps you."},
        'Twist it. "I hope this helps you."',
        ["I hope this helps you"],
    ),
    (
        "ends_with",
        3,
        {"phrase": "Do you want to hear more about this?"},
        "Bees dance. Do you want to hear more about this?",
        ["Bees dance. Do you want to hear more?"],
    ),
    ("short_words", 1, {"letters": 12}, "An easily-understood one", ["misunderstanding"]),
    ("short_words", 2, {"letters": 10}, "everything 12345678901", ["everywhere's understanding"]),
    ("short_words", 3, {"letters": 9}, "something", ["Everything"]),
    ("short_words", 4, {"letters": 8}, "children’s", ["something"]),
    ("short_words", 5, {"letters": 6}, "It is all short", ["It is longest"]),
    ("numbers", 1, {"count": 1}, "Boil it for 8 minutes.", ["Boil it for eight minutes."]),
    ("numbers", 2, {"count": 2}, "From 9:30 to 10.", ["At 9:30.", "It is 1,000.50."]),
    ("numbers", 3, {"count": 3}, "1 2 3", ["1 2"]),
    ("numbers", 4, {"count": 5}, "1, 2, 3, 4 and 5", ["1,2,3,4 and 5"]),
]


@pytest.mark.parametrize(("kind", "level", "args", "good", "bad"), CASES)
def test_checkers(kind, level, args, good, bad):
    check = Check(kind, {"level": level, **args})
    assert meets(good, check)
    assert not any(meets(text, check) for text in bad)


def test_every_level_is_covered():
    kinds = [k for k in vars(wording).values() if isinstance(k, Kind)]
    assert {(k.name, i + 1) for k in kinds for i in range(len(k.levels))} == {
        (kind, level) for kind, level, *_ in CASES
    }


def test_forbidden_words_bar_the_texts_of_other_constraints():
    assert wording.FORBIDDEN.bars({"words": ["this"]}, "I hope this helps you.")
    assert not wording.FORBIDDEN.bars({"words": ["the"]}, "There it is.")
