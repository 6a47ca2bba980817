"""Training a small reward model on preferences (Bradley and Terry 1952; arXiv:2203.02155, eq. 1).

    loss = -log sigmoid(r(x, chosen) - r(x, rejected))

The head alone is a convex problem on frozen features and is solved exactly; all weights can then
be trained from there (first the head, then the rest: arXiv:2202.10054).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import torch
from torch import nn
from torch.nn.functional import softplus

from eva.errors import DataError
from eva.rewards.classifier import Classifier, head_of, load_model, make_classifier, row_batches
from eva.rewards.conversation import Row
from eva.rng import Streams
from eva.types import Message

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


class PreferencePair(Protocol):
    """A prompt and two answers to it; `eva.data.preferences.Preference` is one."""

    @property
    def messages(self) -> tuple[Message, ...]:
        """The prompt; its last turn is a user's."""
        ...

    @property
    def chosen(self) -> str:
        """The better answer."""
        ...

    @property
    def rejected(self) -> str:
        """The worse answer."""
        ...


@dataclass(frozen=True, slots=True)
class RewardTraining:
    """How a reward model is trained."""

    train: Literal["head", "all"] = "head"
    """Only the head, or all weights after it."""
    folds: int = 5
    """Parts of the prompts for the accuracy: a head is judged on every part by one trained on the
    others, and then trained on all; where all weights are trained, the first part is held out."""
    max_length: int = 512
    """Tokens of the longest conversation."""
    cut: bool = False
    """Whether longer conversations are cut; if not, their pairs are left out."""
    ridge: float = 1.0
    """Penalty of the head: ridge / 2 times its squared norm, for features of unit variance."""
    epochs: int = 1
    """Passes over the pairs, where all weights are trained."""
    learning_rate: float = 1e-5
    """Of AdamW, where all weights are trained."""
    batch_pairs: int = 8
    """Pairs per update, where all weights are trained."""
    batch_tokens: int = 8192
    """Tokens that are read at once, padding included."""
    seed: int = 0
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class RewardFit:
    """What came of training."""

    accuracy: float
    """Share of the held-out pairs whose chosen answer has the higher reward; ties count half."""
    low: float
    """Lower end of its 95 % interval (Wilson), over pairs."""
    high: float
    """Upper end of its 95 % interval."""
    held_out: int
    """Pairs that the accuracy rests on, each judged by weights that never saw its prompt."""
    trained: int
    """Pairs that the written weights were trained on."""
    cut: int
    """Pairs of which a conversation was cut."""
    left_out: int
    """Pairs that were too long."""


Pair: TypeAlias = tuple[Row, Row]


@dataclass(frozen=True, slots=True)
class _Data:
    """The pairs that are short enough, and the fold of each."""

    pairs: list[Pair]
    folds: list[int]
    cut: int


def train_reward_model(
    pairs: Sequence[PreferencePair],
    base: Path | str,
    out: Path,
    *,
    settings: RewardTraining | None = None,
) -> RewardFit:
    """Train a reward model and write it to `out`, as a folder that `ClassifierReward` loads.

    The base is an encoder or a causal model; its body keeps its weights unless all are trained.
    Pairs of one prompt are of one fold. Equal seeds give equal weights on the same machine.

    Raises:
        ConfigError: there is no such base.
        DataError: the pairs that are short enough leave a fold empty.
    """
    settings = settings or RewardTraining()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = load_model(base, dtype=torch.float32, new_head=True, num_labels=1)
    pass_first_state(model)
    classifier = make_classifier(nn.Module.to(model, settings.device), base)
    data = _data(pairs, classifier, settings)
    if settings.folds < 2 or len(set(data.folds)) < settings.folds:
        raise DataError(
            f"preferences: {len(data.pairs)} of {len(pairs)} pairs are short enough, for"
            f" {settings.folds} folds; expected 2 folds or more and a prompt for each: give more"
            " pairs, or allow a greater max_length"
        )
    fit = _fit_head if settings.train == "head" else _fit_all
    margins = fit(classifier, data, settings)
    wins = sum(0.5 if margin == 0 else float(margin > 0) for margin in margins)
    model.save_pretrained(out)
    classifier.conversations.tokenizer.save_pretrained(out)
    held, left = len(margins), len(pairs) - len(data.pairs)
    trained = len(data.pairs) - (held if settings.train == "all" else 0)
    low, high = wilson_interval(wins, held)
    return RewardFit(wins / held, low, high, held, trained, data.cut, left)


def _fit_head(classifier: Classifier, data: _Data, settings: RewardTraining) -> list[float]:
    """Train the head on all pairs; return r(chosen) - r(rejected) of each when it was held out."""
    features, folds = _features(classifier, data.pairs, settings), torch.tensor(data.folds)
    margins = features.new_zeros(len(folds))
    for fold in range(settings.folds):
        inside = folds == fold
        weight = head_weight(features[~inside], ridge=settings.ridge)
        margins[inside] = (features[inside, 0] - features[inside, 1]) @ weight
    _set_head(classifier, features, settings)
    held: list[float] = margins.tolist()
    return held


def _fit_all(classifier: Classifier, data: _Data, settings: RewardTraining) -> list[float]:
    """Train the head, then all weights, on all folds but the first; return the first's margins.

    AdamW, without dropout, on pairs in an order drawn from the seed.
    """
    train, held = (
        [pair for pair, fold in zip(data.pairs, data.folds, strict=True) if (fold == 0) == first]
        for first in (False, True)
    )
    _set_head(classifier, _features(classifier, train, settings), settings)
    optimiser = torch.optim.AdamW(classifier.model.parameters(), lr=settings.learning_rate)
    for epoch in range(settings.epochs):
        order = Streams(settings.seed, epoch, "reward/train").of("order").permutation(len(train))
        for start in range(0, len(train), settings.batch_pairs):
            batch = [train[i] for i in order[start : start + settings.batch_pairs]]
            for pair in batch:
                chosen, rejected = classifier.rewards(pair)
                (softplus(rejected - chosen) / len(batch)).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            optimiser.zero_grad()
    rewards = _read(classifier, held, settings)
    margins: list[float] = (rewards[:, 0] - rewards[:, 1])[:, 0].tolist()
    return margins


def _set_head(classifier: Classifier, features: Tensor, settings: RewardTraining) -> None:
    """Give the head the best weights on features, (N, 2, D).

    A bias cancels in differences; it is set so that the rewards of the pairs have mean 0.
    """
    _, head = head_of(classifier.model)
    weight = head_weight(features, ridge=settings.ridge)
    with torch.no_grad():
        head.weight.copy_(weight[None])
        if head.bias is not None:
            head.bias.fill_(-float(features.mean((0, 1)) @ weight))


def head_weight(features: Tensor, *, ridge: float) -> Tensor:
    """Return the weight, (D,), with the least loss on features of chosen and rejected, (N, 2, D).

    The ridge penalty counts on features of unit variance.
    """
    scale = features.flatten(0, 1).std(0) + 1e-6
    return solve((features[:, 0] - features[:, 1]) / scale, ridge=ridge) / scale


def solve(differences: Tensor, *, ridge: float) -> Tensor:
    """Return w, (D,), that minimises mean softplus(-d w) + ridge / 2 |w|^2 over rows d, (N, D)."""
    w = differences.new_zeros(differences.shape[1], requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [w],
        max_iter=500,
        tolerance_grad=1e-9,
        tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        value: Tensor = softplus(-differences @ w).mean() + ridge / 2 * (w @ w)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return w.detach()


def pass_first_state(model: PreTrainedModel) -> None:
    """Let a BERT-like pooler, tanh(W h + b), start as tanh(h) of the first token's state h.

    As it comes it was trained for another task, or not at all: sentence encoders average instead.
    """
    for name, layer in model.named_modules():
        if name.endswith("pooler.dense") and isinstance(layer, nn.Linear):
            nn.init.eye_(layer.weight)
            nn.init.zeros_(layer.bias)


def wilson_interval(wins: float, n: int, *, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of a share (Wilson 1927).

    >>> [round(end, 3) for end in wilson_interval(8, 10)]
    [0.49, 0.943]
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, shrink = wins / n, 1 + z * z / n
    centre = (share + z * z / (2 * n)) / shrink
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / shrink
    # Where an end is 0 or 1 by the formula, rounding must not say otherwise.
    return (centre - half if wins > 0 else 0.0), (centre + half if wins < n else 1.0)


def _data(
    pairs: Sequence[PreferencePair], classifier: Classifier, settings: RewardTraining
) -> _Data:
    prompts = list(dict.fromkeys(pair.messages for pair in pairs))
    order = Streams(settings.seed, 0, "reward/folds").of("split").permutation(len(prompts))
    fold = {prompts[i]: place % settings.folds for place, i in enumerate(order)}
    write, limit = classifier.conversations, min(settings.max_length, classifier.context)
    kept: list[Pair] = []
    folds: list[int] = []
    cut = 0
    for pair in pairs:
        whole = [write.encode(pair.messages, text) for text in (pair.chosen, pair.rejected)]
        rows: list[Row | None] = list(whole)
        if max(len(row.ids) for row in whole) > limit:
            rows = [
                write.shortened(pair.messages, text, limit) if settings.cut else None
                for text in (pair.chosen, pair.rejected)
            ]
        chosen, rejected = rows
        if chosen is not None and rejected is not None:
            kept.append((chosen, rejected))
            folds.append(fold[pair.messages])
            cut += rows != whole
    return _Data(kept, folds, cut)


def _features(classifier: Classifier, pairs: Sequence[Pair], settings: RewardTraining) -> Tensor:
    """Return what the head reads of every answer, (N, 2, D), in float64."""
    name, head = head_of(classifier.model)
    # Without its head the model returns what the head would read, already pooled.
    classifier.model.set_submodule(name, nn.Identity())
    try:
        return _read(classifier, pairs, settings).double()
    finally:
        classifier.model.set_submodule(name, head)


@torch.no_grad()
def _read(classifier: Classifier, pairs: Sequence[Pair], settings: RewardTraining) -> Tensor:
    """Return the model's outputs of all pairs, (N, 2, outputs), on the CPU."""
    rows = [row for pair in pairs for row in pair]
    batches = row_batches(rows, budget=settings.batch_tokens)
    read = [classifier.outputs([rows[i] for i in batch]).cpu() for batch in batches]
    order = torch.tensor([i for batch in batches for i in batch])
    outputs = torch.cat(read)[order.argsort()]
    return outputs.reshape(len(pairs), 2, -1)
