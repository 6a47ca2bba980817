from __future__ import annotations

import pytest
from jinja2.exceptions import TemplateError
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from eva.rewards.conversation import Conversations, Row
from eva.types import Message

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "c", "d", "sys", "U", "A", "/"]
CHAT = (
    "{% for m in messages %}{{ ' U ' if m.role == 'user' else ' A ' }}{{ m.content }} /{% endfor %}"
)
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"


def tokenizer(*, pair=False, template=None):
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    if pair:
        made.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
            special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        unk_token="[UNK]",
        chat_template=template,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"]
        if pair
        else ["input_ids", "attention_mask"],
    )


def shown(row):
    return " ".join(WORDS[i] for i in row.ids)


def user(text):
    return (Message("user", text),)


def test_the_chat_template_writes_the_whole_conversation():
    write = Conversations.of(tokenizer(template=CHAT))
    turns = (*user("a"), Message("assistant", "b"), *user("c"))
    assert write.form == "chat"
    assert shown(write.encode(turns, "d")) == "U a / A b / U c / A d /"


def test_a_system_message_goes_into_the_user_turn_where_the_template_has_no_place_for_it():
    turns = (Message("system", "sys"), *user("a"))
    refuses = Conversations.of(tokenizer(template=NO_SYSTEM + CHAT))
    assert shown(refuses.encode(turns, "b")) == "U sys a / A b /"
    drops = CHAT.replace("in messages", "in messages if m.role != 'system'")
    assert (
        shown(Conversations.of(tokenizer(template=drops)).encode(turns, "b")) == "U sys a / A b /"
    )
    takes = CHAT.replace("' A '", "' A ' if m.role == 'assistant' else ' '")
    assert (
        shown(Conversations.of(tokenizer(template=takes)).encode(turns, "b")) == "sys / U a / A b /"
    )


def test_turns_that_the_template_refuses_raise():
    strict = "{% if messages | length > 2 %}{{ raise_exception('one question') }}{% endif %}" + CHAT
    with pytest.raises(TemplateError, match="one question"):
        Conversations.of(tokenizer(template=strict)).encode(
            (*user("a"), Message("assistant", "b"), *user("c")), "d"
        )


def test_an_encoder_gets_prompt_and_answer_as_a_pair():
    write = Conversations.of(tokenizer(pair=True))
    assert write.form == "pair"
    turns = (Message("system", "sys"), *user("a"))
    row = write.encode(turns, "b c")
    assert shown(row) == "[CLS] sys a [SEP] b c [SEP]"
    assert row.types == (0, 0, 0, 0, 1, 1, 1)


def test_any_other_tokenizer_gets_one_text():
    write = Conversations.of(tokenizer())
    assert write.form == "text"
    assert write.encode(user("a"), "b") == Row((WORDS.index("a"), WORDS.index("b")))


@pytest.mark.parametrize(
    ("asked", "said", "limit", "want"),
    [
        ("a b c d", "a b c d", 11, "[CLS] a b c d [SEP] a b c d [SEP]"),
        ("a b c d", "a b c d", 8, "[CLS] a b [SEP] a b c [SEP]"),
        ("a b", "a b c d a b c d", 9, "[CLS] a b [SEP] a b c d [SEP]"),
        ("a b c d a b c d", "b", 7, "[CLS] a b c [SEP] b [SEP]"),
        ("a b c d", "a b c d", 5, "[CLS] a [SEP] a [SEP]"),
        ("a b c d", "a b c d", 4, None),
    ],
)
def test_shortening_takes_from_the_longer_one_first(asked, said, limit, want):
    row = Conversations.of(tokenizer(pair=True)).shortened(user(asked), said, limit)
    assert (row and shown(row)) == want


def test_a_shortened_chat_keeps_its_turns_closed():
    write = Conversations.of(tokenizer(template=CHAT))
    assert shown(write.shortened(user("a b c d"), "d c b a", 10)) == "U a b c / A d c b /"


def test_earlier_turns_stay_whole_or_nothing_is_left():
    write = Conversations.of(tokenizer(pair=True))
    turns = (*user("a a"), Message("assistant", "d d"), *user("b b"))
    assert shown(write.shortened(turns, "c c", 9)) == "[CLS] a a d d b [SEP] c [SEP]"
    assert write.shortened(turns, "c c", 8) is None
