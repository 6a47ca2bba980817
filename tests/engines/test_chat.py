import pytest

from eva.engines.chat import (
    check_template,
    decode_text,
    encode_chat,
    encode_prompt,
    end_of_turn,
    takes_system,
    tokenised,
)
from eva.engines.policy import load_policy
from eva.engines.tiny import build_tiny
from eva.errors import ConfigError, DataError
from eva.types import Group, Message, Prompt, Response


@pytest.fixture(scope="module")
def chatml(tmp_path_factory):
    return load_policy(build_tiny(tmp_path_factory.mktemp("chatml")))


@pytest.fixture(scope="module")
def gemma(tmp_path_factory):
    return load_policy(build_tiny(tmp_path_factory.mktemp("gemma"), architecture="gemma2"))


def shown(policy, ids):
    return policy.tokenizer.decode(ids)


def test_a_prompt_ends_with_the_header_of_the_answer(chatml):
    ids = encode_prompt(chatml, Prompt.of("Name a colour."))
    assert shown(chatml, ids) == (
        "<|im_start|>user\nName a colour.<|im_end|>\n<|im_start|>assistant\n"
    )


def test_earlier_turns_are_kept(chatml):
    turns = Message("system", "Be brief."), Message("user", "Hi"), Message("assistant", "Hello")
    text = shown(chatml, encode_chat(chatml, (*turns, Message("user", "Bye"))))
    assert text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_a_system_message_moves_into_the_user_turn_where_it_must(gemma):
    turns = Message("system", "Be brief."), Message("user", "Hi")
    assert "<|im_start|>user\nBe brief.\n\nHi<|im_end|>" in shown(gemma, encode_chat(gemma, turns))


def test_a_template_that_drops_the_system_message_counts_as_without(chatml):
    kept = chatml.tokenizer.chat_template
    assert takes_system(chatml.tokenizer)
    chatml.tokenizer.chat_template = kept.replace(
        "{% for m in messages %}", "{% for m in messages if m.role != 'system' %}"
    )
    try:
        assert not takes_system(chatml.tokenizer)
        turns = Message("system", "Be brief."), Message("user", "Hi")
        assert "Be brief.\n\nHi" in shown(chatml, encode_chat(chatml, turns))
    finally:
        chatml.tokenizer.chat_template = kept


def test_the_first_token_of_a_text_comes_once(gemma):
    ids = encode_prompt(gemma, Prompt.of("Hi"))
    assert ids.count(gemma.tokenizer.bos_token_id) == 1
    assert ids[0] == gemma.tokenizer.bos_token_id


def test_text_leaves_special_tokens_out_and_spaces_in(chatml):
    ids = chatml.tokenizer.encode(" Is it , so ?<|im_end|>")
    assert decode_text(chatml, ids) == " Is it , so ?"


def test_turns_that_the_template_refuses_name_the_prompt(chatml):
    kept = chatml.tokenizer.chat_template
    prompt = Prompt((Message("user", "a"), Message("user", "b")))
    chatml.tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    try:
        with pytest.raises(DataError, match=f"{prompt.id}.*roles must alternate"):
            encode_prompt(chatml, prompt)
    finally:
        chatml.tokenizer.chat_template = kept


def test_the_end_of_a_turn_is_read_off_the_template(chatml):
    tokenizer, kept = chatml.tokenizer, chatml.tokenizer.chat_template
    try:
        assert end_of_turn(tokenizer) == tokenizer.convert_tokens_to_ids("<|im_end|>")
        tokenizer.chat_template = kept.replace("<|im_end|>", " <|bos|>")
        assert end_of_turn(tokenizer) == tokenizer.convert_tokens_to_ids("<|bos|>")
        tokenizer.chat_template = kept.replace("<|im_end|>", "###")
        assert end_of_turn(tokenizer) is None
    finally:
        tokenizer.chat_template = kept


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        (None, "no chat template"),
        ("{{ raise_exception('never') }}", "never"),
        ("{{ messages[0].content }}", "lacks the user's or the assistant's words"),
    ],
)
def test_a_broken_template_is_refused(chatml, template, complaint):
    kept = chatml.tokenizer.chat_template
    chatml.tokenizer.chat_template = template
    try:
        with pytest.raises(ConfigError, match=complaint):
            check_template(chatml.tokenizer, source="here")
    finally:
        chatml.tokenizer.chat_template = kept


def test_text_is_tokenised_as_the_policy_would_have_sampled_it(chatml):
    responses = (Response("red", ()), Response("blu", (), finish="length"), Response("x", (9,)))
    found = tokenised(chatml, Group(Prompt.of("A colour?"), (), responses, "elsewhere"))
    assert shown(chatml, found.prompt_ids).endswith("A colour?<|im_end|>\n<|im_start|>assistant\n")
    assert [shown(chatml, r.token_ids) for r in found.responses[:2]] == ["red<|im_end|>", "blu"]
    assert found.responses[0].token_ids[-1] in chatml.end_ids
    assert found.responses[2].token_ids == (9,)
    assert tokenised(chatml, found) == found
