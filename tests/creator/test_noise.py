from __future__ import annotations

import numpy as np
import pytest

from eva.creator.informativeness import METRICS, informativeness
from eva.creator.noise import POWERS, corrected, correction, signal_share
from eva.disagreement import spearman
from eva.errors import ConfigError


def test_the_share_is_what_of_the_variance_is_no_noise():
    rewards = [[0.0, 2.0], [0.0, 2.0], [0.0, 2.0], [1.0, 1.0], [1.0, None]]
    noise = np.array([0.0, 0.5, 9.0, 1.0, 1.0])
    assert signal_share(rewards, noise).tolist() == [1.0, 0.75, 0.0, 1.0, 1.0]


def test_the_variance_loses_the_noise_itself_and_a_range_the_root_of_it():
    rewards, noise = [[0.0, 2.0, 4.0]], [3.0]
    plain = METRICS["var"](rewards)
    assert correction("var")(plain, rewards, noise).values.tolist() == [1.0]
    found = correction("reward_gap")(METRICS["a_min"](rewards), rewards, noise)
    assert found.values.tolist() == [2.0]
    assert found.errors == pytest.approx(METRICS["a_min"](rewards).errors / 2)
    assert found.counts.tolist() == [3]


def test_every_metric_of_spread_scales_as_its_power_says():
    rewards = [[0.0, 1.0, 4.0, 9.0]]
    for name, power in POWERS.items():
        doubled = METRICS[name]([[2 * r for r in rewards[0]]]).values
        assert doubled == pytest.approx(METRICS[name](rewards).values * 2 ** (2 * power)), name


@pytest.mark.parametrize("name", ["avg", "learnability", "uniform", "inverse_a_min"])
def test_what_measures_no_spread_is_not_corrected(name):
    with pytest.raises(ConfigError, match="spread"):
        correction(name)


def test_without_noise_nothing_changes():
    rewards = [[0.0, 1.0], [2.0, 5.0]]
    plain = METRICS["a_min"](rewards)
    assert corrected(plain, rewards, (), power=0.5) is plain
    assert corrected(plain, rewards, [0.0, 0.0], power=0.5).values.tolist() == [1.0, 3.0]


def test_a_creator_with_the_correction_is_not_paid_for_noise():
    """Prompts differ in worth, and in how much four members disagree."""
    rng = np.random.default_rng(1)
    prompts, answers, members = 1000, 6, 4
    worth = 0.5 * np.exp(0.6 * rng.normal(size=prompts))
    unsure = 0.9 * np.exp(0.6 * rng.normal(size=prompts))
    given = worth[:, None, None] * rng.normal(size=(prompts, answers, 1))
    given = given + unsure[:, None, None] * rng.normal(size=(prompts, answers, members))
    rest = given - given.mean(2, keepdims=True) - given.mean(1, keepdims=True)
    rest = rest + given.mean((1, 2), keepdims=True)
    noise = (rest**2).sum((1, 2)) / ((answers - 1) * (members - 1)) / members
    rewards = given.mean(2).tolist()
    plain = informativeness("a_min")(rewards)
    clean = correction("a_min")(plain, rewards, noise.tolist())
    assert spearman(plain.values, unsure) > 0.25
    assert abs(spearman(clean.values, unsure)) < 0.12
    assert spearman(clean.values, worth) > spearman(plain.values, worth)
