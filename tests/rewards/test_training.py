from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch.nn.functional import logsigmoid

from eva.data.assets import resolve
from eva.data.preferences import load_preferences
from eva.engines.tiny import build_tiny
from eva.errors import DataError
from eva.rewards.classifier import ClassifierReward, load_model
from eva.rewards.training import RewardTraining, solve, train_reward_model, wilson_interval
from eva.types import Group, Message, Prompt, Response


@dataclass(frozen=True)
class Pair:
    messages: tuple[Message, ...]
    chosen: str
    rejected: str


def easy_pairs(n=40):
    """Answers of the letter a are better than those of the letter z, on prompts of their own."""
    return [
        Pair((Message("user", f"Question {i}?"),), "a" * (3 + i % 5), "z" * (3 + i % 4))
        for i in range(n)
    ]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return build_tiny(tmp_path_factory.mktemp("base"))


def rewards(folder, pair):
    answers = Response(pair.chosen, ()), Response(pair.rejected, ())
    (one,) = ClassifierReward.load(folder).score([Group(Prompt(pair.messages), (), answers, "p")])
    return one.rewards


def test_a_head_learns_an_easy_preference_and_the_folder_scores_with_it(base, tmp_path):
    pairs = easy_pairs()
    fit = train_reward_model(pairs, base, tmp_path, settings=RewardTraining(ridge=0.01))
    assert (fit.trained, fit.held_out, fit.left_out, fit.cut) == (40, 40, 0, 0)
    assert fit.accuracy == 1.0
    assert (fit.low, fit.high) == (pytest.approx(40 / (40 + 1.959964**2)), pytest.approx(1.0))
    unseen = Pair((Message("user", "Another one?"),), "aaaa", "zzzz")
    better, worse = rewards(tmp_path, unseen)
    assert better > worse
    trained, start = (
        load_model(tmp_path, dtype=torch.float32),
        load_model(base, dtype=torch.float32, new_head=True, num_labels=1),
    )
    for name, weight in start.base_model.state_dict().items():
        assert torch.equal(trained.base_model.state_dict()[name], weight), name


def test_equal_seeds_give_equal_weights(base, tmp_path):
    heads = []
    for name in ("one", "two"):
        train_reward_model(easy_pairs(12), base, tmp_path / name)
        heads.append(load_model(tmp_path / name, dtype=torch.float32).score.weight)
    assert torch.equal(*heads)


def test_a_model_without_pad_token_is_saved_without_one(tmp_path):
    build_tiny(tmp_path / "base", pad_token=False)
    train_reward_model(easy_pairs(10), tmp_path / "base", tmp_path / "out")
    assert load_model(tmp_path / "out", dtype=torch.float32).config.pad_token_id is None


def test_training_all_weights_goes_on_from_the_head(base, tmp_path):
    pairs = easy_pairs(24)
    head = RewardTraining(ridge=10.0)
    train_reward_model(pairs, base, tmp_path / "head", settings=head)
    more = RewardTraining(train="all", epochs=3, learning_rate=1e-4, ridge=10.0, folds=6)
    fit = train_reward_model(pairs, base, tmp_path / "all", settings=more)
    assert (fit.trained, fit.held_out, fit.accuracy) == (20, 4, 1.0)

    def loss(folder):
        margins = [better - worse for better, worse in (rewards(folder, p) for p in pairs)]
        return -logsigmoid(torch.tensor(margins)).mean().item()

    assert loss(tmp_path / "all") < loss(tmp_path / "head") < math.log(2)
    body = load_model(tmp_path / "all", dtype=torch.float32).base_model.state_dict()
    start = load_model(base, dtype=torch.float32, new_head=True, num_labels=1).base_model
    assert not torch.equal(body["embed_tokens.weight"], start.embed_tokens.weight)


def test_the_head_is_the_minimum_of_the_penalised_loss():
    generator = torch.Generator().manual_seed(0)
    d = torch.randn(30, 4, generator=generator, dtype=torch.float64)
    w = solve(d, ridge=0.3)
    gradient = -(torch.sigmoid(-d @ w)[:, None] * d).mean(0) + 0.3 * w
    assert gradient.abs().max() < 1e-7
    assert w.abs().max() > 0.01


def test_pairs_of_one_prompt_are_of_one_fold(base, tmp_path):
    pairs = [
        Pair((Message("user", f"{i}?"),), "a" * n, "z" * n) for i in range(4) for n in (1, 2, 3)
    ]
    with pytest.raises(DataError, match="12 of 12 pairs are short enough, for 5 folds"):
        train_reward_model(pairs, base, tmp_path)
    fit = train_reward_model(pairs, base, tmp_path, settings=RewardTraining(folds=4))
    assert fit.held_out == 12


def test_the_accuracy_of_noise_is_that_of_chance(base, tmp_path):
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefgh"), 6)) for _ in range(160)]
    pairs = [
        Pair((Message("user", f"Question {i}?"),), words[2 * i], words[2 * i + 1])
        for i in range(80)
    ]
    fit = train_reward_model(pairs, base, tmp_path, settings=RewardTraining(ridge=1e-3))
    assert fit.low < 0.5 < fit.high
    # It remembers pairs that it was trained on: an accuracy on those would be no accuracy.
    groups = [
        Group(Prompt(p.messages), (), (Response(p.chosen, ()), Response(p.rejected, ())), "p")
        for p in pairs
    ]
    scored = [one.rewards for one in ClassifierReward.load(tmp_path).score(groups)]
    assert sum(better > worse for better, worse in scored) / len(pairs) > fit.high


def test_pairs_that_are_too_long_are_left_out_or_cut_and_counted(base, tmp_path):
    long = Pair((Message("user", "Long?"),), "a" * 200, "z")
    pairs = [*easy_pairs(20), long]
    left = train_reward_model(pairs, base, tmp_path, settings=RewardTraining(max_length=120))
    assert (left.left_out, left.cut, left.trained) == (1, 0, 20)
    cut = train_reward_model(
        pairs, base, tmp_path, settings=RewardTraining(max_length=120, cut=True)
    )
    assert (cut.left_out, cut.cut, cut.trained) == (0, 1, 21)


def test_too_few_pairs_are_refused(base, tmp_path):
    with pytest.raises(DataError, match="4 of 4 pairs are short enough, for 5 folds"):
        train_reward_model(easy_pairs(4), base, tmp_path)
    short = RewardTraining(max_length=10)
    with pytest.raises(DataError, match="0 of 9 pairs"):
        train_reward_model(easy_pairs(9), base, tmp_path, settings=short)


def test_the_interval_of_a_share_against_printed_values():
    # Newcombe 1998, table I, method 3 (score): 81 of 263, 15 of 148, 0 of 20
    for wins, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)):
        assert wilson_interval(wins, n) == (
            pytest.approx(low, abs=6e-5),
            pytest.approx(high, abs=6e-5),
        )
    assert wilson_interval(0, 20) == (0.0, pytest.approx(0.1611, abs=6e-5))


@pytest.mark.model
def test_a_real_encoder_learns_more_than_chance_from_real_preferences(tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        pairs = load_preferences("packaged:preferences").pairs
        fit = train_reward_model(
            pairs,
            resolve("packaged:minilm-l6-v2"),
            tmp_path,
            settings=RewardTraining(max_length=128, cut=True, batch_tokens=4096),
        )
        assert fit.held_out == fit.trained == 300 - fit.left_out
        assert fit.held_out > 150
        assert fit.accuracy > 0.5
        assert fit.high - fit.low < 0.15
        short = Pair((Message("user", "What is the capital of France?"),), "Paris.", "I see.")
        assert all(map(math.isfinite, rewards(tmp_path, short)))
    finally:
        torch.set_num_threads(threads)
