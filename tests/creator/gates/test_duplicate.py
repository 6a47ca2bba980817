from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from eva.creator.gates.duplicate import Duplicate, jaccard
from eva.types import Check, Message, Prompt

STORY = (
    "Write a short story about an old lighthouse keeper who finds a letter in a bottle "
    "and decides to answer it before the winter storms begin"
)


def gate(*texts, **options):
    made = Duplicate(**options)
    for text in texts:
        made.remember(text if isinstance(text, Prompt) else Prompt.of(text))
    return made


def test_exact_but_for_case_and_punctuation():
    known = Prompt.of("Name a colour.")
    assert gate(known)(Prompt.of("name  a COLOUR"), []) == f"equals prompt {known.id}"
    assert gate(known)(Prompt.of("Name a colour you like."), []) is None


def test_near_copies_and_their_similarity():
    known = Prompt.of(STORY)
    # 26 words have 24 triples; one more word at the end adds one.
    reason = gate(known)(Prompt.of(STORY + " again"), [])
    assert reason == f"resembles prompt {known.id} (similarity 0.96)"


def test_similarity_decides_and_not_the_estimate():
    words = STORY.split()
    # The last word changed: 23 triples shared, 25 in all.
    child = Prompt.of(" ".join([*words[:-1], "end"]))
    assert gate(STORY, threshold=0.91)(child, []) is not None
    assert gate(STORY, threshold=0.93)(child, []) is None


def test_recall_at_high_similarity():
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{i}" for i in rng.integers(0, 500, 30)) for _ in range(400)]
    known = gate(*texts)
    assert all(known(Prompt.of(f"{text} more"), []) for text in texts)
    fresh = [" ".join(f"w{i}" for i in rng.integers(0, 500, 30)) for _ in range(400)]
    assert not any(known(Prompt.of(text), []) for text in fresh)


def test_a_child_may_resemble_its_ancestors_and_only_them():
    grandparent = Prompt.of(STORY)
    parent = grandparent.rewritten(STORY + " at last", operator="deepen", born=1)
    child = parent.rewritten(STORY + " at last today", operator="deepen", born=1)
    known = gate(grandparent, parent)
    assert known(child, [grandparent, parent]) is None
    assert known(child, []) == f"resembles prompt {grandparent.id} (similarity 0.89)"


def test_both_parents_of_a_combination_are_ancestors():
    one, two = Prompt.of(STORY), Prompt.of("Draw a map.")
    child = Prompt.of(STORY + " and draw", parents=(two.id, one.id))
    assert gate(one, two)(child, [two]) is None


def test_a_copy_of_an_ancestor_is_refused_even_if_not_remembered():
    parent = Prompt.of("Name a colour.")
    child = parent.rewritten("Name a colour!", operator="deepen", born=1)
    assert gate()(child, [parent]) == f"equals its ancestor {parent.id}"
    assert gate(parent)(child, [parent]) == f"equals its ancestor {parent.id}"


def test_the_nearest_is_named_and_the_smallest_id_among_equals():
    near = [Prompt.of(STORY + f" {end}") for end in ("now", "soon", "twice")]
    nearest = Prompt.of(STORY + " then and there")
    child = Prompt.of(STORY + " then and")
    assert f"prompt {nearest.id}" in gate(*near, nearest)(child, [])
    assert f"prompt {min(p.id for p in near)}" in gate(*near)(Prompt.of(STORY + " never"), [])


def test_the_same_turn_in_another_conversation_is_another_prompt():
    def after(start):
        turns = Message("user", start), Message("assistant", "Yes."), Message("user", STORY)
        return Prompt(turns)

    known = gate(after("Can you write?"))
    assert known(after("Do you read?"), []) is None
    assert known(Prompt.of(STORY), []) is None
    assert known(after("Can you write?"), []).startswith("equals prompt")


def verifiable(text, *kinds, topic="a poem"):
    return Prompt.of(text, topic=topic, checks=tuple(Check(kind) for kind in kinds))


def test_verifiable_prompts_are_compared_by_topic_and_checks():
    known = gate(verifiable(STORY, "no_comma", "lowercase"))
    other_words = verifiable("Quite another wording.", "lowercase", "no_comma")
    assert known(other_words, []).startswith("equals prompt")
    assert known(verifiable(STORY, "no_comma"), []) is None
    assert known(verifiable(STORY, "no_comma", "lowercase", topic="a song"), []) is None
    assert known(Prompt.of(STORY), []) is None


@pytest.mark.parametrize(("one", "other"), [("What is 2+2?", "What is 2-2?"), ("🙂", "🙁")])
def test_signs_that_matter_are_compared(one, other):
    assert gate(one)(Prompt.of(other), []) is None
    assert gate(one)(Prompt.of(one), []) is not None


def test_remembering_twice_changes_nothing():
    known = gate(STORY, STORY)
    assert known(Prompt.of(STORY + " again"), []) == gate(STORY)(Prompt.of(STORY + " again"), [])


def test_reasons_do_not_depend_on_the_hash_seed():
    code = (
        "from eva.creator.gates.duplicate import Duplicate; from eva.types import Prompt\n"
        f"gate, story = Duplicate(threshold=0.5), {STORY!r}\n"
        "for i in range(30): gate.remember(Prompt.of(f'{story} {i}'))\n"
        "print(gate(Prompt.of(story + ' never'), ()))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
    assert "resembles" in said.pop()


def test_jaccard():
    a, b = np.array([1, 2, 3, 4], np.uint32), np.array([4, 5], np.uint32)
    assert jaccard(a, b) == 1 / 5
    assert jaccard(a, a) == 1.0
