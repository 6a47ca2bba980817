from __future__ import annotations

import numpy as np

from eva.creator.topics import Labelling, Topics
from eva.rng import Streams
from eva.types import Check, Prompt, Proposal

ASKED = []


def embed(texts):
    """Counts a, b and c: texts are near that share letters."""
    ASKED.append(list(texts))
    counts = np.array([[text.count(letter) for letter in "abc"] for text in texts], dtype=float)
    return counts / np.linalg.norm(counts, axis=1, keepdims=True)


TOPICS = Topics(("aa", "bbb", "c"), embed)


def test_open_prompts_without_a_topic_get_the_nearest():
    checked = Prompt.of("aab", checks=(Check("no_comma"),))
    labelled = Prompt.of("aab", topic="mine")
    prompts = [Prompt.of("abb"), checked, labelled, Prompt.of("cca")]
    made = TOPICS.label(prompts)
    assert [prompt.topic for prompt in made] == ["bbb", "", "mine", "c"]
    assert [prompt.id for prompt in made] == [prompt.id for prompt in prompts]


def test_where_all_have_a_topic_nothing_is_embedded():
    ASKED.clear()
    assert TOPICS.label([Prompt.of("a", topic="x")])[0].topic == "x"
    assert TOPICS.label([]) == []
    assert ASKED == []


class Scripted:
    chain = False

    def propose(self, parents, step, streams):
        moved = parents[0].rewritten("bab", operator="shift", born=1, topic="")
        kept = parents[0].rewritten("bbb", operator="add", born=1)
        failed = Proposal(parents[0], "add", None, "empty")
        return [Proposal(parents[0], "shift", moved), failed, Proposal(parents[0], "add", kept)]


def test_children_are_labelled_and_failures_passed_on():
    parent = Prompt.of("aa", topic="aa")
    evolver = Labelling(Scripted(), TOPICS)
    moved, failed, kept = evolver.propose([parent] * 3, 0, Streams(0, 1, "s"))
    assert (moved.child.topic, kept.child.topic) == ("bbb", "aa")
    assert (failed.child, failed.reason) == (None, "empty")
    assert evolver.chain is False
