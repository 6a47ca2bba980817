from __future__ import annotations

from eva.constraints import TOPICS
from eva.constraints.frames import QUESTION_WORDS, VERBS


def test_topics_are_distinct_single_requests():
    assert len(set(TOPICS)) == len(TOPICS) >= 40
    for topic in TOPICS:
        assert topic[-1] in ".?"
        assert topic[:-1].count(".") == 0
        assert topic.split()[0].lower() in VERBS | QUESTION_WORDS
