from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eva.constraints import KINDS, TOPICS, compose, fitting
from eva.constraints.phrasing import NUMBER_WORDS, shown
from eva.types import Check


def checks_of(seed: int, count: int) -> list[Check]:
    rng, made = np.random.default_rng(seed), []
    for _ in range(count):
        level = int(rng.integers(1, 5))
        check = fitting(made, sorted(KINDS), rng, level=level, budget=40)
        made += [check] if check else []
    return made


def mentions(text: str, value: object) -> bool:
    if isinstance(value, list):
        return all(mentions(text, item) for item in value)
    if isinstance(value, str):
        return f'"{value}"' in text or f"'{value}'" in text
    names = [str(value), *NUMBER_WORDS[value : value + 1]]
    return any(re.search(rf"\b{name}\b", text, re.IGNORECASE) for name in names)


@given(st.integers(0, 10**6), st.integers(1, 4), st.sampled_from(TOPICS))
def test_the_text_mentions_the_topic_and_every_argument(seed, count, topic):
    checks = checks_of(seed, count)
    text = compose(topic, checks, np.random.default_rng(seed))
    assert topic[1:-1] in text
    for check in checks:
        for name, value in shown(check.args).items():
            assert mentions(text, value), (name, value, text)


@given(st.integers(0, 10**6), st.sampled_from(TOPICS))
def test_the_text_is_clean(seed, topic):
    text = compose(topic, checks_of(seed, 3), np.random.default_rng(seed))
    assert not re.search(r"[{}]|  |\.\.|,,|\?\.", text)
    assert text == text.strip()
    assert text[0].isupper()
    # The plural ending follows the number.
    assert not re.search(r"\b(1|one) (sentences|questions|bullets|placeholders|commas)\b", text)


@pytest.mark.parametrize(
    "topic",
    [
        "Rewrite the sentence below.\n\nthe dog barks",
        "Python is slow. Explain why.",
        'Translate "Guten Tag" into English.',
        "Classify as fruit or not: apple",
        "Jupiter's moons",
    ],
)
def test_a_request_that_is_not_one_plain_sentence_is_left_as_it_is(topic):
    for seed in range(60):
        text = compose(topic, checks_of(seed, 2), np.random.default_rng(seed))
        assert topic in text
        # A line that has no end, or several lines, must not run on into the constraint.
        if "\n" in topic or not topic.endswith("."):
            assert text.endswith(topic) or text.startswith(f"{topic}\n\n")


def test_wording_depends_on_the_stream_alone():
    checks = checks_of(5, 2)
    texts = [compose(TOPICS[0], checks, np.random.default_rng(i)) for i in range(50)]
    again = [compose(TOPICS[0], checks, np.random.default_rng(i)) for i in range(50)]
    assert texts == again
    assert len(set(texts)) > 40


def test_constraints_stand_before_after_and_inside_the_request():
    topic = "Why is the sky blue?"
    check = Check("max_words", {"words": 30})
    texts = [compose(topic, [check], np.random.default_rng(i)) for i in range(200)]
    first = sum(text.startswith(topic) for text in texts)
    last = sum(text.endswith(topic) for text in texts)
    assert first + last == 200
    assert min(first, last) > 20
    inside = [compose("Explain tides.", [check], np.random.default_rng(i)) for i in range(200)]
    assert any(re.fullmatch(r"Explain tides in .* words( or less)?\.", t) for t in inside)
    assert any(re.fullmatch(r"In .* words( or less)?, explain tides\.", t) for t in inside)
    assert any(re.fullmatch(r"C.*ould you .*explain tides.* words.*\?", t) for t in inside)


def test_several_constraints_may_form_a_list():
    checks = checks_of(3, 3)
    texts = [compose("Explain tides.", checks, np.random.default_rng(i)) for i in range(200)]
    assert 4 < sum("\n- " in text for text in texts) < 60


def test_no_checks_no_constraints():
    texts = {compose("Explain tides.", [], np.random.default_rng(i)) for i in range(60)}
    assert "Explain tides." in texts
    assert all(text.lower().rstrip(".?").endswith("explain tides") for text in texts)
