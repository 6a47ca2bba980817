"""Models that were trained to say which of two answers to a prompt is better."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from jinja2.exceptions import TemplateError
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from eva.errors import ConfigError
from eva.rewards.classifier import score_rows
from eva.rewards.conversation import Row, without_system
from eva.rewards.guard import raised
from eva.rewards.pairrm import ARCHITECTURE, LIMIT, MARKS, PairRM
from eva.rewards.pairwise import Pair
from eva.types import Score

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

LETTERS = ("A", "B")
"""What a chat model answers: which of the answers is better."""

_NAMES = ("[CONTEXT]", "[RESPONSE A]", "[RESPONSE B]")


@dataclass(frozen=True)
class Reader(ABC):
    """A preference model in evaluation mode, and how it reads two answers."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    @property
    def marks(self) -> tuple[str, ...]:
        """What structures the model's input; a text that spells it could pass for another one."""
        added = self.tokenizer.added_tokens_decoder.values()
        return tuple(str(token) for token in added if token.special)

    @property
    @abstractmethod
    def context(self) -> int:
        """Tokens that the model can take."""

    @abstractmethod
    def encode(self, pair: Pair) -> Row:
        """Return what the model reads, however long.

        Raises:
            ValueError: the model was not trained on such a prompt.
            jinja2.TemplateError: the chat template refuses it.
        """

    @abstractmethod
    def log_odds(self, rows: Sequence[Row]) -> Tensor:
        """Return the log-odds that the first answer is the better one, (B,), float32."""

    def padded(self, rows: Sequence[Row]) -> dict[str, Tensor]:
        """Return ids and mask of rows, padded on the right, (B, T)."""
        width = max(len(row.ids) for row in rows)
        batch = {
            "input_ids": [[*row.ids, *[0] * (width - len(row.ids))] for row in rows],
            "attention_mask": [[1] * len(r.ids) + [0] * (width - len(r.ids)) for r in rows],
        }
        return {k: torch.tensor(v, device=self.model.device) for k, v in batch.items()}


class PairRMReader(Reader):
    """PairRM: request, first and second answer as segments, each behind a mark of its own."""

    @property
    def context(self) -> int:
        """Tokens that the model can take."""
        return LIMIT

    def encode(self, pair: Pair) -> Row:
        """Return the three segments; `types` counts them."""
        if len(pair.prompt.messages) > 1:
            raise ValueError("PairRM reads a request, no conversation")
        texts = (pair.prompt.text, pair.first, pair.second)
        segments = [
            self.tokenizer(mark + text, verbose=False)["input_ids"]
            for mark, text in zip(MARKS, texts, strict=True)
        ]
        types = [i for i, segment in enumerate(segments) for _ in segment]
        return Row(tuple(token for segment in segments for token in segment), tuple(types))

    def log_odds(self, rows: Sequence[Row]) -> Tensor:
        """Return the difference of the answers' scores."""
        # a segment begins with [CLS]; its mark comes next
        places = [[(row.types or ()).index(i) + 1 for i in range(len(MARKS))] for row in rows]
        marks = torch.tensor(places, device=self.model.device)
        odds: Tensor = self.model(**self.padded(rows), marks=marks)
        return odds


class ChatReader(Reader):
    """A causal language model that says A or B, as RLHFlow's (arXiv:2405.07863) were trained.

    Context and answers are one turn of the user; the model's logits of the two letters, where its
    own turn begins, are those of the verdict.
    """

    @property
    def marks(self) -> tuple[str, ...]:
        """What structures the model's input: names of the parts, too, are plain text in it."""
        return (*super().marks, *_NAMES)

    @property
    def context(self) -> int:
        """Tokens that the model can take."""
        config = self.model.config.get_text_config()
        return int(min(config.max_position_embeddings, self.tokenizer.model_max_length))

    def encode(self, pair: Pair) -> Row:
        """Return the comparison in the model's chat template."""
        turns = "".join(
            f"\n<turn> {message.role}\n {message.content}"
            for message in without_system(pair.prompt.messages)
        )
        context, first, second = _NAMES
        asked = f"{context} \n{turns}\n {first} {pair.first} {second} {pair.second} \n"
        written = cast(
            "str",
            self.tokenizer.apply_chat_template(
                [{"role": "user", "content": asked}], tokenize=False
            ),
        )
        # as its authors do: no token for the beginning, which the template would write
        bare = written.replace(str(self.tokenizer.bos_token or ""), "")
        ids = self.tokenizer(bare, add_special_tokens=False, verbose=False)["input_ids"]
        return Row(tuple(ids))

    def log_odds(self, rows: Sequence[Row]) -> Tensor:
        """Return the difference of the letters' logits after each row."""
        batch = self.padded(rows)
        logits: Tensor = self.model(**batch).logits
        last = batch["attention_mask"].sum(-1) - 1
        letters = logits[torch.arange(len(rows), device=last.device), last].float()
        return letters[:, 0] - letters[:, 1]


class PreferenceModel:
    """P(first beats second) of a model that was trained on such pairs; a `Comparer`.

    Equal pairs of a call are compared once. Nothing is remembered from call to call.
    """

    def __init__(self, reader: Reader, *, batch_tokens: int, max_length: int) -> None:
        self.reader = reader
        self.batch_tokens = batch_tokens
        self.limit = min(max_length, reader.context)
        self._marks = reader.marks

    @classmethod
    def load(
        cls,
        source: str | Path,
        *,
        device: str = "cpu",
        batch_tokens: int = 8192,
        max_length: int = 4096,
    ) -> PreferenceModel:
        """Load a preference model from a hub id or folder: safetensors only, no remote code.

        Args:
            source: hub id or folder of a PairRM in transformers' format, or of a causal language
                model that was trained as RLHFlow's.
            device: where it runs; on a CPU in float32, elsewhere in the type of its weights, with
                the head in float32 in any case.
            batch_tokens: tokens compared at once, padding included.
            max_length: tokens of the longest comparison; a longer one has no verdict.

        Raises:
            ConfigError: there is no such model, or it is of another kind.
        """
        reader = load_reader(source, dtype=torch.float32 if device == "cpu" else "auto")
        nn.Module.to(reader.model, device)
        return cls(reader, batch_tokens=batch_tokens, max_length=max_length)

    def compare(self, pairs: Sequence[Pair]) -> list[Score]:
        """Return P(first beats second) of each pair, or why there is none."""
        read = [self._row(pair) for pair in pairs]
        rows = list(dict.fromkeys(row for row in read if isinstance(row, Row)))
        known = dict(zip(rows, score_rows(rows, self._wins, budget=self.batch_tokens), strict=True))
        return [known[row] if isinstance(row, Row) else row for row in read]

    def _row(self, pair: Pair) -> Row | Score:
        texts = (*(message.content for message in pair.prompt.messages), pair.first, pair.second)
        spelled = [mark for mark in self._marks if any(mark in text for text in texts)]
        if spelled:
            detail = f"a text spells {spelled[0]}, which is part of the model's format"
            return Score(None, cause="marks", detail=detail)
        try:
            row = self.reader.encode(pair)
        except (TemplateError, ValueError) as error:
            return raised(error)
        if len(row.ids) <= self.limit:
            return row
        detail = f"a comparison of {len(row.ids)} tokens; at most {self.limit} are read"
        return Score(None, cause="too_long", detail=detail)

    def _wins(self, rows: Sequence[Row]) -> Tensor:
        return torch.sigmoid(self.reader.log_odds(rows).double())


def load_reader(source: str | Path, *, dtype: torch.dtype | str) -> Reader:
    """Load a preference model in evaluation mode, with its tokenizer.

    Raises:
        ConfigError: there is no such model, or it is of another kind.
    """
    try:
        known = AutoConfig.from_pretrained(source).architectures or []
        tokenizer = AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise _unfit(source, f"no config and tokenizer ({str(error).splitlines()[0]})") from error
    if ARCHITECTURE in known:
        if lacking := [mark for mark in MARKS if mark not in tokenizer.get_vocab()]:
            raise _unfit(source, f"its tokenizer lacks {', '.join(lacking)}")
        model = _loaded(PairRM, source, dtype=dtype)
        model.head_layer.float()
        return PairRMReader(model, tokenizer)
    if not any(name.endswith("ForCausalLM") for name in known):
        raise _unfit(source, f"its config says {', '.join(known) or 'no architecture'}")
    if not tokenizer.chat_template:
        raise _unfit(source, "its tokenizer has no chat template")
    letters = [tokenizer.encode(letter, add_special_tokens=False) for letter in LETTERS]
    if any(len(ids) != 1 for ids in letters):
        raise _unfit(source, "its tokenizer has no token for A and for B")
    model = _loaded(AutoModelForCausalLM, source, dtype=dtype)
    model.config.use_cache = False
    narrow_head(model, [ids[0] for ids in letters])
    return ChatReader(model, tokenizer)


def narrow_head(model: PreTrainedModel, tokens: Sequence[int]) -> None:
    """Let the head compute the logits of some tokens alone, in that order, in float32."""
    whole = cast("nn.Linear", model.get_output_embeddings())  # type: ignore[no-untyped-call]
    head = nn.Linear(whole.in_features, len(tokens), bias=whole.bias is not None)
    with torch.no_grad():
        head.weight.copy_(whole.weight[list(tokens)])
        if whole.bias is not None:
            head.bias.copy_(whole.bias[list(tokens)])
    head.register_forward_pre_hook(lambda _, states: (states[0].float(),))
    model.set_output_embeddings(head.train(False))  # type: ignore[no-untyped-call]


def _loaded(kind: Any, source: str | Path, *, dtype: torch.dtype | str) -> Any:
    try:
        model, info = kind.from_pretrained(
            source, dtype=dtype, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError) as error:
        raise _unfit(source, f"no weights ({str(error).splitlines()[0]})") from error
    if info["missing_keys"]:
        raise _unfit(source, f"lacks the weights {sorted(info['missing_keys'])}")
    return model.train(False)


def _unfit(source: str | Path, why: str) -> ConfigError:
    return ConfigError(
        f"preference model {str(source)!r}: {why}; expected a PairRM in transformers' format, such "
        "as llm-blender/PairRM-hf, or a causal language model that compares two answers, such as "
        "RLHFlow/pair-preference-model-LLaMA3-8B, with safetensors weights"
    )
