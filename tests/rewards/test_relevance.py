from __future__ import annotations

import numpy as np
import pytest

from eva.errors import ConfigError
from eva.rewards.relevance import RelevanceReward
from eva.types import Check, Group, Prompt, Response

ANGLES = {"north": 90.0, "north-east": 45.0, "east": 0.0, "south": -90.0}


class Compass:
    """An encoder of four words, as unit vectors in a plane; others have no meaning."""

    def embed(self, texts):
        vectors = np.zeros((len(texts), 2))
        for i, text in enumerate(texts):
            if text in ANGLES:
                angle = np.deg2rad(ANGLES[text])
                vectors[i] = np.cos(angle), np.sin(angle)
        return vectors


def group(prompt, *texts):
    return Group(prompt, (), tuple(Response(text, ()) for text in texts), "p")


def test_the_reward_is_the_cosine_of_question_and_answer():
    groups = [
        group(Prompt.of("north"), "north", "north-east", "east", "south", ""),
        group(Prompt.of("south")),
        group(Prompt.of("east"), "north-east"),
    ]
    first, none, last = RelevanceReward(Compass()).score(groups)
    assert first.rewards == pytest.approx((1.0, np.sqrt(0.5), 0.0, -1.0, 0.0))
    assert none.scores == ()
    assert last.rewards == pytest.approx((np.sqrt(0.5),))


def test_above_the_ceiling_nothing_more_is_earned():
    (one,) = RelevanceReward(Compass(), ceiling=0.5).score(
        [group(Prompt.of("north"), "north", "north-east", "east", "south")]
    )
    assert one.rewards == pytest.approx((1.0, 1.0, 0.0, -2.0))
    assert [s.parts["similarity"] for s in one.scores] == pytest.approx([1, 0.5**0.5, 0, -1])


def test_the_question_of_a_verifiable_prompt_is_its_topic():
    checks = (Check("no_comma"),)
    verifiable = Prompt.of("east, without commas", topic="east", checks=checks)
    labelled = Prompt.of("east", topic="directions")
    for prompt in (verifiable, labelled):
        (one,) = RelevanceReward(Compass()).score([group(prompt, "east")])
        assert one.rewards == pytest.approx((1.0,))


def test_no_groups_and_no_answers_are_fine():
    assert RelevanceReward(Compass()).score([]) == []
    (one,) = RelevanceReward(Compass()).score([group(Prompt.of("north"))])
    assert one.scores == ()


@pytest.mark.parametrize("ceiling", [0.0, -0.5, 1.5, float("nan")])
def test_an_impossible_ceiling_is_refused(ceiling):
    with pytest.raises(ConfigError, match="ceiling"):
        RelevanceReward(Compass(), ceiling=ceiling)
