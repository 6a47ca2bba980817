"""Hugging Face sequence-classification models as rewards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import torch
from jinja2.exceptions import TemplateError
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from eva.errors import ConfigError
from eva.rewards.armorm import ARCHITECTURE, ArmoRM
from eva.rewards.conversation import Conversations, Row
from eva.rewards.guard import as_score, raised
from eva.types import Group, Prompt, Score, ScoredGroup

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor
    from transformers import PreTrainedModel

Head: TypeAlias = tuple[str, nn.Linear]
_SENTENCE = "The sky is blue."


@dataclass(frozen=True)
class Classifier:
    """A sequence-classification model in evaluation mode, and how it reads conversations."""

    model: PreTrainedModel
    conversations: Conversations
    pad_id: int | None
    """The pad token of the model's config; None where it names none."""

    @property
    def context(self) -> int:
        """Tokens that the model can take."""
        config = self.model.config.get_text_config()
        limits = (getattr(config, "max_position_embeddings", None), self._tokenizer_limit)
        return min(limit for limit in limits if limit is not None)

    @property
    def _tokenizer_limit(self) -> int:
        return int(self.conversations.tokenizer.model_max_length)

    def outputs(self, rows: Sequence[Row]) -> Tensor:
        """Return what the head makes of one batch of rows, (B, labels).

        Rows are padded on the right and masked. A decoder's classification head finds the end of a
        row by the pad token; where the config names none, one is chosen that ends no row, so that
        the last token counts, as it does for a row alone.
        """
        filler = self.pad_id
        if filler is None:
            ends = {row.ids[-1] for row in rows}
            filler = next(i for i in range(len(ends) + 1) if i not in ends)
        width = max(len(row.ids) for row in rows)
        batch = {
            "input_ids": [[*row.ids, *[filler] * (width - len(row.ids))] for row in rows],
            "attention_mask": [[1] * len(r.ids) + [0] * (width - len(r.ids)) for r in rows],
        }
        if rows[0].types is not None:
            batch["token_type_ids"] = [
                [*(row.types or ()), *[0] * (width - len(row.ids))] for row in rows
            ]
        tensors = {k: torch.tensor(v, device=self.model.device) for k, v in batch.items()}
        config = self.model.config.get_text_config()
        config.pad_token_id = filler
        outputs: Tensor = self.model(**tensors).logits
        # It is the choice of this batch, not one to be saved with the model.
        config.pad_token_id = self.pad_id
        return outputs

    def rewards(self, rows: Sequence[Row]) -> Tensor:
        """Return the rewards of one batch of rows, (B,), float32.

        One label: its logit. Two: the log-odds of the second one, logit 1 - logit 0.
        """
        logits = self.outputs(rows).float()
        return logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]


class ClassifierReward:
    """The logit of a sequence-classification model for prompt and answer as a conversation.

    Equal conversations of a call are scored once, so equal answers get equal rewards. Nothing is
    remembered from call to call: the make-up of a batch can change the last bits of a reward, and
    a resumed run has to see those of the unbroken one.
    """

    def __init__(self, classifier: Classifier, *, batch_tokens: int, max_length: int) -> None:
        self.classifier = classifier
        self.batch_tokens = batch_tokens
        self.limit = min(max_length, classifier.context)

    @classmethod
    def load(
        cls,
        source: str | Path,
        *,
        device: str = "cpu",
        batch_tokens: int = 8192,
        max_length: int = 4096,
    ) -> ClassifierReward:
        """Load a reward model from a hub id or folder: safetensors only, no remote code.

        Args:
            source: hub id or folder of a model with one label, or two.
            device: where it runs; on a CPU in float32, elsewhere in the type of its weights, with
                the head in float32 in any case.
            batch_tokens: tokens scored at once, padding included.
            max_length: tokens of the longest conversation to score; a longer one, or one longer
                than the model takes, is unscored.

        Raises:
            ConfigError: there is no such model, its head is missing, or it has other labels.
        """
        model = load_model(source, dtype=torch.float32 if device == "cpu" else "auto")
        labels = 1 if isinstance(model, ArmoRM) else model.config.num_labels
        if labels not in (1, 2):
            raise ConfigError(
                f"reward model {str(source)!r}: {labels} labels; expected 1 (a reward) or 2 (bad,"
                " good); take another model, or write a reward function around it"
            )
        widen_head(model)
        classifier = make_classifier(nn.Module.to(model, device), source)
        return cls(classifier, batch_tokens=batch_tokens, max_length=max_length)

    def score(self, groups: Sequence[Group]) -> list[ScoredGroup]:
        """Return the groups, in order, each response with its score or why it has none."""
        read = [[self._row(group.prompt, r.text) for r in group.responses] for group in groups]
        rows = list(dict.fromkeys(row for found in read for row in found if isinstance(row, Row)))
        values = score_rows(rows, self.classifier.rewards, budget=self.batch_tokens)
        known = dict(zip(rows, values, strict=True))
        return [
            ScoredGroup(group, tuple(known[r] if isinstance(r, Row) else r for r in found))
            for group, found in zip(groups, read, strict=True)
        ]

    def _row(self, prompt: Prompt, answer: str) -> Row | Score:
        try:
            row = self.classifier.conversations.encode(prompt.messages, answer)
        except TemplateError as error:
            return raised(error)
        if len(row.ids) <= self.limit:
            return row
        detail = f"a conversation of {len(row.ids)} tokens; at most {self.limit} are scored"
        return Score(None, cause="too_long", detail=detail)


def score_rows(
    rows: Sequence[Row], values: Callable[[Sequence[Row]], Tensor], *, budget: int
) -> list[Score]:
    """Return what a model makes of rows, in order, in batches of at most `budget` tokens.

    `values` maps one batch of rows to numbers, (B,).
    """
    found = [float("nan")] * len(rows)
    with torch.inference_mode():
        for batch in row_batches(rows, budget=budget):
            for i, value in zip(batch, values([rows[i] for i in batch]).tolist(), strict=True):
                found[i] = value
    return [as_score(value) for value in found]


def row_batches(rows: Sequence[Row], *, budget: int) -> list[list[int]]:
    """Group indices of rows into batches of at most `budget` tokens, padding included.

    Longest first; a row longer than the budget is a batch of its own.

    >>> row_batches([Row((1,)), Row((1, 2, 3)), Row((1, 2))], budget=6)
    [[1, 2], [0]]
    """
    batches: list[list[int]] = []
    for i in sorted(range(len(rows)), key=lambda i: -len(rows[i].ids)):
        if batches and (len(batches[-1]) + 1) * len(rows[batches[-1][0]].ids) <= budget:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches


def load_model(
    source: str | Path, *, dtype: torch.dtype | str, new_head: bool = False, **config: Any
) -> PreTrainedModel:
    """Load a sequence-classification model in evaluation mode.

    Args:
        source: hub id or folder.
        dtype: type of its weights; `auto` is that of the file.
        new_head: whether weights that the source lacks may be made anew, at random.
        **config: what to set in its config, such as `num_labels`.

    Raises:
        ConfigError: there is no such model, or it lacks weights.
    """
    try:
        known = AutoConfig.from_pretrained(source).architectures or []
        kind: Any = ArmoRM if ARCHITECTURE in known else AutoModelForSequenceClassification
        # With loading info a pair comes back, which the library's annotations do not say.
        loaded: Any = kind.from_pretrained(
            source, dtype=dtype, use_safetensors=True, output_loading_info=True, **config
        )
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"reward model {str(source)!r}: no sequence-classification model with safetensors"
            f" weights ({str(error).splitlines()[0]}); give a folder or a reachable hub id"
        ) from error
    model, info = loaded
    if info["missing_keys"] and not new_head:
        raise ConfigError(
            f"reward model {str(source)!r}: lacks the weights {sorted(info['missing_keys'])}; it"
            " was never trained as a reward: eva.rewards.training can do that"
        )
    return cast("PreTrainedModel", model.train(False))


def make_classifier(model: PreTrainedModel, source: str | Path) -> Classifier:
    """Join a model with the tokenizer of its source.

    Raises:
        ConfigError: there is no tokenizer.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise ConfigError(f"reward model {str(source)!r}: no tokenizer ({error})") from error
    # Where its files are missing, transformers 5 makes one without a vocabulary and says nothing.
    if set(tokenizer(_SENTENCE)["input_ids"]) <= set(tokenizer.all_special_ids):
        raise ConfigError(
            f"reward model {str(source)!r}: its tokenizer knows no word of {_SENTENCE!r}; its files"
            " are missing or damaged"
        )
    if isinstance(model, ArmoRM):
        model.reads(tokenizer)
    # A cache of keys and values is for generating.
    model.config.use_cache = False
    pad_id = model.config.get_text_config().pad_token_id
    return Classifier(model, Conversations.of(tokenizer), pad_id)


def head_of(model: PreTrainedModel) -> Head:
    """Return the name and layer of the head: the last linear layer with an output per label."""
    *_, head = (
        (name, layer)
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear) and layer.out_features == model.config.num_labels
    )
    return head


def widen_head(model: PreTrainedModel) -> None:
    """Let the head compute in float32: in bfloat16 a reward near 10 has steps of 1/16, and ties."""
    if isinstance(model, ArmoRM):
        model.widen_head()
        return
    _, head = head_of(model)
    if head.weight.dtype == torch.float32:
        return
    head.float()
    head.register_forward_pre_hook(lambda _, states: (states[0].float(),))
