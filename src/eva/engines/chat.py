"""Chats to token ids and back, through the tokenizer's own chat template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from jinja2.exceptions import TemplateError

from eva.errors import ConfigError, DataError
from eva.types import Group, Message, Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from eva.engines.policy import Policy

_ASKED = "eva marks a question"
_ANSWERED = "eva marks an answer"
_TOLD = "eva marks an instruction"


def encode_prompt(policy: Policy, prompt: Prompt) -> tuple[int, ...]:
    """Return the token ids after which the policy answers the prompt, (T,).

    Raises:
        DataError: the chat template refuses the prompt's turns.
    """
    try:
        return encode_chat(policy, prompt.messages)
    except TemplateError as error:
        roles = ", ".join(message.role for message in prompt.messages)
        raise DataError(
            f"prompt {prompt.id}: the chat template of {policy.source!r} refuses its turns "
            f"({roles}): {error}; bring them into an order that the model was trained on"
        ) from error


def encode_chat(policy: Policy, messages: Sequence[Message]) -> tuple[int, ...]:
    """Return the token ids of a chat and of the header of the answer to come, (T,).

    The template writes the tokens that begin a text, so none is added. A system message goes
    before the first user turn where the template has no place for it.
    """
    if messages[0].role == "system" and not takes_system(policy.tokenizer):
        messages = merge_system(messages)
    ids = policy.tokenizer.apply_chat_template(
        _turns(messages), tokenize=True, add_generation_prompt=True, return_dict=False
    )
    return tuple(cast("list[int]", ids))


def encode_answer(policy: Policy, answer: str, *, ended: bool) -> tuple[int, ...]:
    """Return the token ids of an answer, (T,), with the end of turn if it `ended`."""
    ids = policy.tokenizer.encode(answer, add_special_tokens=False)
    if not ended:
        return tuple(ids)
    end = end_of_turn(policy.tokenizer)
    return (*ids, min(policy.end_ids) if end is None else end)


def tokenised(policy: Policy, group: Group) -> Group:
    """Return a group with token ids for what has none; ids that are there are left as they are.

    A response that was not cut off gets the token that ends a turn.
    """
    responses = tuple(
        response
        if response.token_ids
        else replace(
            response, token_ids=encode_answer(policy, response.text, ended=not response.truncated)
        )
        for response in group.responses
    )
    ids = group.prompt_ids or encode_prompt(policy, group.prompt)
    return replace(group, prompt_ids=ids, responses=responses)


def decode_text(policy: Policy, token_ids: Sequence[int]) -> str:
    """Return the text of sampled tokens, special ones left out, spaces as the model wrote them."""
    text = policy.tokenizer.decode(
        list(token_ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return cast("str", text)


def merge_system(messages: Sequence[Message]) -> tuple[Message, ...]:
    r"""Put a leading system message, and an empty line, before the first user turn.

    >>> merge_system([Message("system", "Be brief."), Message("user", "Hello.")])
    (Message(role='user', content='Be brief.\n\nHello.'),)
    """
    system, user, *rest = messages
    return (Message("user", f"{system.content}\n\n{user.content}"), *rest)


def takes_system(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether the chat template shows a system message; Gemma's raises, others drop it."""
    try:
        return _TOLD in render(tokenizer, [Message("system", _TOLD), Message("user", _ASKED)])
    except TemplateError:
        return False


def check_template(tokenizer: PreTrainedTokenizerBase, *, source: str) -> None:
    """Check that the tokenizer can write a chat.

    Raises:
        ConfigError: there is no chat template, or it loses or refuses a user's or assistant's turn.
    """
    if not tokenizer.chat_template:
        raise ConfigError(
            f"model {source!r}: its tokenizer has no chat template; use an instruction-tuned "
            "model, or put a chat_template.jinja into its folder"
        )
    try:
        text = render(tokenizer, [Message("user", _ASKED), Message("assistant", _ANSWERED)])
    except TemplateError as error:
        raise ConfigError(
            f"model {source!r}: its chat template cannot write a question and an answer: {error}"
        ) from error
    if _ASKED not in text or _ANSWERED not in text:
        raise ConfigError(
            f"model {source!r}: its chat template wrote {text!r}, which lacks the user's or the "
            "assistant's words; repair its chat_template.jinja"
        )


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Return the special token that the chat template puts after an answer, or None.

    It need not be the tokenizer's end token: `<|eot_id|>` of Llama 3, `<end_of_turn>` of Gemma.
    """
    text = render(tokenizer, [Message("user", _ASKED), Message("assistant", _ANSWERED)])
    after = tokenizer.encode(text.rpartition(_ANSWERED)[2].strip(), add_special_tokens=False)
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    return after[0] if after and after[0] in special else None


def render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> str:
    """Return the chat as the template writes it, without a header for a further answer."""
    text = tokenizer.apply_chat_template(
        _turns(messages), tokenize=False, add_generation_prompt=False
    )
    return cast("str", text)


def _turns(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]
