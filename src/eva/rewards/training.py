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
from typing import TYPE_CHECKING, Literal, Protocol

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
    max_length: int = 512
    """Tokens of the longest conversation."""
    cut: bool = False
    """Whether longer conversations are cut; if not, their pairs are left out."""
    held_out: float = 0.2
    """Share of the prompts that are kept for the accuracy."""
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
    """Pairs that the accuracy rests on."""
    trained: int
    """Pairs that were trained on."""
    cut: int
    """Pairs of which a conversation was cut."""
    left_out: int
    """Pairs that were too long."""


Pair = tuple[Row, Row]


def train_reward_model(
    pairs: Sequence[PreferencePair],
    base: Path | str,
    out: Path,
    *,
    settings: RewardTraining | None = None,
) -> RewardFit:
    """Train a reward model and write it to `out`, as a folder that `ClassifierReward` loads.

    The base is an encoder or a causal model; its body keeps its weights unless all are trained.
    Held-out pairs have prompts of their own. Equal seeds give equal weights on the same machine.

    Raises:
        ConfigError: there is no such base.
        DataError: fewer than two pairs to train on, or none to hold out.
    """
    settings = settings or RewardTraining()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = load_model(base, dtype=torch.float32, new_head=True, num_labels=1)
    pass_first_state(model)
    classifier = make_classifier(nn.Module.to(model, settings.device), base)
    train, held, cut = _rows(pairs, classifier, settings)
    if len(train) < 2 or not held:
        raise DataError(
            f"preferences: {len(train)} pairs to train on and {len(held)} held out, of"
            f" {len(pairs)}; expected at least 2 and 1: give more, or allow a greater max_length"
        )
    fit_head(classifier, train, settings)
    if settings.train == "all":
        fit_all(classifier, train, settings)
    margins = _margins(classifier, held, settings)
    wins = sum(0.5 if margin == 0 else float(margin > 0) for margin in margins)
    low, high = wilson_interval(wins, len(held))
    model.save_pretrained(out)
    classifier.conversations.tokenizer.save_pretrained(out)
    left = len(pairs) - len(train) - len(held)
    return RewardFit(wins / len(held), low, high, len(held), len(train), cut, left)


def fit_head(classifier: Classifier, pairs: Sequence[Pair], settings: RewardTraining) -> None:
    """Set the head to the minimum of the mean loss plus the ridge penalty.

    A bias cancels in differences; it is set so that the rewards of the pairs have mean 0.
    """
    name, head = head_of(classifier.model)
    rows = [row for pair in pairs for row in pair]
    # Without its head the model returns what the head would read, already pooled.
    classifier.model.set_submodule(name, nn.Identity())
    with torch.no_grad():
        features = _read(classifier, rows, settings).double()
    classifier.model.set_submodule(name, head)
    scale = features.std(0) + 1e-6
    differences = (features[0::2] - features[1::2]) / scale
    weight = solve(differences, ridge=settings.ridge) / scale
    with torch.no_grad():
        head.weight.copy_(weight[None])
        if head.bias is not None:
            head.bias.fill_(-float(features.mean(0) @ weight))


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


def fit_all(classifier: Classifier, pairs: Sequence[Pair], settings: RewardTraining) -> None:
    """Train all weights with AdamW, without dropout; pairs come in an order drawn from the seed."""
    optimiser = torch.optim.AdamW(classifier.model.parameters(), lr=settings.learning_rate)
    for epoch in range(settings.epochs):
        order = Streams(settings.seed, epoch, "reward/train").of("order").permutation(len(pairs))
        for start in range(0, len(pairs), settings.batch_pairs):
            batch = [pairs[i] for i in order[start : start + settings.batch_pairs]]
            for pair in batch:
                chosen, rejected = classifier.rewards(pair)
                (softplus(rejected - chosen) / len(batch)).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            optimiser.zero_grad()


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
    return max(0.0, centre - half), min(1.0, centre + half)


def _rows(
    pairs: Sequence[PreferencePair], classifier: Classifier, settings: RewardTraining
) -> tuple[list[Pair], list[Pair], int]:
    """Return the pairs to train on and to hold out, and how many were cut."""
    prompts = list(dict.fromkeys(pair.messages for pair in pairs))
    order = Streams(settings.seed, 0, "reward/held-out").of("split").permutation(len(prompts))
    held = {prompts[i] for i in order[: round(settings.held_out * len(prompts))]}
    sides: tuple[list[Pair], list[Pair]] = [], []
    limit, cut = min(settings.max_length, classifier.context), 0
    write = classifier.conversations
    for pair in pairs:
        answers = pair.chosen, pair.rejected
        rows = [write.encode(pair.messages, answer) for answer in answers]
        if max(len(row.ids) for row in rows) > limit:
            short = [
                write.shortened(pair.messages, answer, limit) if settings.cut else None
                for answer in answers
            ]
            rows = [row for row in short if row is not None]
            cut += len(rows) == 2
        if len(rows) == 2:
            sides[pair.messages in held].append((rows[0], rows[1]))
    return *sides, cut


def _margins(
    classifier: Classifier, pairs: Sequence[Pair], settings: RewardTraining
) -> list[float]:
    """Return r(chosen) - r(rejected), (N,)."""
    with torch.no_grad():
        rewards = _read(classifier, [row for pair in pairs for row in pair], settings)[:, 0]
    margins: list[float] = (rewards[0::2] - rewards[1::2]).tolist()
    return margins


def _read(classifier: Classifier, rows: Sequence[Row], settings: RewardTraining) -> Tensor:
    """Return the model's outputs of all rows, (N, outputs), on the CPU."""
    batches = row_batches(rows, budget=settings.batch_tokens)
    read = [classifier.outputs([rows[i] for i in batch]).cpu() for batch in batches]
    order = torch.tensor([i for batch in batches for i in batch])
    return torch.cat(read)[order.argsort()]
