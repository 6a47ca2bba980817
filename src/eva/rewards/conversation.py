"""Prompts and answers to token rows, in the form that a reward model was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from jinja2.exceptions import TemplateError

from eva.types import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Form: TypeAlias = Literal["chat", "pair", "text"]
"""`chat`: the chat template; `pair`: (prompt, answer) as two segments; `text`: one text."""

_TOLD = "eva marks an instruction"


@dataclass(frozen=True, slots=True)
class Row:
    """A conversation as the model takes it."""

    ids: tuple[int, ...]
    """(T,)"""
    types: tuple[int, ...] | None = None
    """Segment of each token, (T,), where the model distinguishes segments."""


@dataclass(frozen=True, slots=True)
class Conversations:
    """How a tokenizer writes conversations.

    The chat template if it has one, the answer as the assistant's closed turn; a system message
    goes before the first user turn where the template has no place for it. Without a template, a
    tokenizer that joins two texts with special tokens (BERT's, DeBERTa's) gets the prompt and the
    answer as a pair, any other the two with an empty line between; earlier turns stand before the
    prompt, with empty lines between and without their roles.
    """

    tokenizer: PreTrainedTokenizerBase
    form: Form
    takes_system: bool

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> Conversations:
        """Look at the tokenizer and choose the form."""
        if tokenizer.chat_template:
            return cls(tokenizer, "chat", _takes_system(tokenizer))
        single, pair = (tokenizer.num_special_tokens_to_add(pair=p) for p in (False, True))
        return cls(tokenizer, "pair" if pair > single else "text", False)

    def encode(self, messages: Sequence[Message], answer: str) -> Row:
        """Return the whole conversation, however long.

        Raises:
            jinja2.TemplateError: the chat template refuses the turns.
        """
        if self.form == "chat":
            return Row(self._chat(messages, answer))
        prompt = "\n\n".join(message.content for message in messages)
        texts = (prompt, answer) if self.form == "pair" else (f"{prompt}\n\n{answer}",)
        # The tokenizer's own warning about length: who asks checks it.
        encoding = self.tokenizer(*texts, verbose=False)
        types = encoding.get("token_type_ids")
        return Row(tuple(encoding["input_ids"]), None if types is None else tuple(types))

    def shortened(self, messages: Sequence[Message], answer: str, limit: int) -> Row | None:
        """Return the conversation in at most `limit` tokens, or None if it cannot be had.

        The last user turn and the answer lose their ends, the longer one first; earlier turns stay.
        """
        row = self.encode(messages, answer)
        over = len(row.ids) - limit
        if over <= 0:
            return row
        asked, said = self._ends(messages[-1].content), self._ends(answer)
        left = len(asked) + len(said) - over
        ask = min(len(asked), max(left - len(said), left // 2))
        if ask < 1 or left - ask < 1:
            return None
        question = Message("user", messages[-1].content[: asked[ask - 1]])
        row = self.encode((*messages[:-1], question), answer[: said[left - ask - 1]])
        return row if len(row.ids) <= limit else None

    def _chat(self, messages: Sequence[Message], answer: str) -> tuple[int, ...]:
        if not self.takes_system:
            messages = without_system(messages)
        turns = [{"role": m.role, "content": m.content} for m in messages]
        turns.append({"role": "assistant", "content": answer})
        ids = self.tokenizer.apply_chat_template(turns, tokenize=True, return_dict=False)
        return tuple(cast("list[int]", ids))

    def _ends(self, text: str) -> list[int]:
        """Return where in the text each of its tokens ends, in characters."""
        encoding = self.tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        return [end for _, end in encoding["offset_mapping"]]


def without_system(messages: Sequence[Message]) -> Sequence[Message]:
    """Return the turns with a system message moved to the head of the first user's."""
    if messages[0].role != "system":
        return messages
    system, user, *rest = messages
    return (Message("user", f"{system.content}\n\n{user.content}"), *rest)


def _takes_system(tokenizer: PreTrainedTokenizerBase) -> bool:
    turns = [{"role": "system", "content": _TOLD}, {"role": "user", "content": "?"}]
    try:
        return _TOLD in cast("str", tokenizer.apply_chat_template(turns, tokenize=False))
    except TemplateError:
        return False
