from __future__ import annotations

import gguf as reference
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from eva.data.assets import resolve
from eva.data.gguf import byte_bpe, convert, count_tensors, parameter_name
from eva.errors import DataError

HIDDEN, HEADS, KV_HEADS, INNER, LAYERS = 64, 4, 2, 96, 2
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}"
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
TOKENS = [*SPECIAL, *BYTES, "12", "ab"]


def write(path, *, tied=True, **changed):
    """Write a tiny random Llama as GGUF."""
    rng = np.random.default_rng(0)
    facts = {"general.architecture": "llama", "tokenizer.ggml.pre": "smollm"} | changed
    writer = reference.GGUFWriter(path, facts["general.architecture"])
    writer.add_vocab_size(len(TOKENS))
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INNER)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(5000.0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(facts["tokenizer.ggml.pre"])
    writer.add_token_list(TOKENS)
    writer.add_token_types([3] * 3 + [1] * (len(TOKENS) - 3))
    writer.add_token_merges(["1 2", "a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_unk_token_id(0)
    if "without" not in changed:
        writer.add_chat_template(TEMPLATE)

    def add(name, *shape, kind=reference.GGMLQuantizationType.Q8_0):
        values = rng.standard_normal(shape).astype(np.float32) / 8
        if len(shape) == 1:
            writer.add_tensor(f"{name}.weight", values)
        else:
            writer.add_tensor(f"{name}.weight", reference.quantize(values, kind), raw_dtype=kind)

    add("token_embd", len(TOKENS), HIDDEN)
    add("output_norm", HIDDEN)
    if not tied:
        add("output", len(TOKENS), HIDDEN)
    for block in range(LAYERS):
        add(f"blk.{block}.attn_norm", HIDDEN)
        add(f"blk.{block}.ffn_norm", HIDDEN)
        add(f"blk.{block}.attn_q", HIDDEN, HIDDEN, kind=reference.GGMLQuantizationType.Q4_1)
        add(f"blk.{block}.attn_k", HIDDEN * KV_HEADS // HEADS, HIDDEN)
        add(f"blk.{block}.attn_v", HIDDEN * KV_HEADS // HEADS, HIDDEN)
        add(f"blk.{block}.attn_output", HIDDEN, HIDDEN)
        add(f"blk.{block}.ffn_gate", INNER, HIDDEN)
        add(f"blk.{block}.ffn_up", INNER, HIDDEN)
        add(f"blk.{block}.ffn_down", HIDDEN, INNER)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("tied", [True, False])
def test_the_weights_are_those_that_transformers_reads(tmp_path, tied):
    import torch
    from transformers import AutoModelForCausalLM

    write(tmp_path / "tiny.gguf", tied=tied)
    folder = tmp_path / "model"
    folder.mkdir()
    done: list[int] = []
    convert(tmp_path / "tiny.gguf", folder, advance=done.append)
    ours = AutoModelForCausalLM.from_pretrained(folder)
    theirs = AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file="tiny.gguf", dtype=torch.float32
    )
    assert ours.dtype == torch.float32
    assert ours.config.tie_word_embeddings is tied
    ids = torch.arange(24).reshape(2, 12)
    with torch.no_grad():
        torch.testing.assert_close(ours(ids).logits, theirs(ids).logits, rtol=0, atol=1e-6)
    assert done == list(range(1, count_tensors(tmp_path / "tiny.gguf") + 1))


def test_the_folder_says_how_to_chat_and_when_to_stop(tmp_path):
    from transformers import AutoTokenizer, GenerationConfig

    convert(write(tmp_path / "tiny.gguf"), tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "ab"}], tokenize=False)
    assert chat == "<|im_start|>ab<|im_end|>"
    assert tokenizer.tokenize(chat) == ["<|im_start|>", "ab", "<|im_end|>"]
    assert tokenizer.eos_token_id == tokenizer.pad_token_id == 2
    assert GenerationConfig.from_pretrained(tmp_path).eos_token_id == 2


def test_digits_stand_alone_even_where_a_merge_would_join_them():
    tokenizer = byte_bpe(TOKENS, ["1 2", "a b"], SPECIAL)
    assert tokenizer.encode("ab12").tokens == ["ab", "1", "2"]


@given(st.text())
def test_any_text_survives_the_tokens(text):
    tokenizer = byte_bpe(TOKENS, ["1 2", "a b"], SPECIAL)
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_an_unknown_tensor_has_no_place():
    with pytest.raises(DataError, match=r"'blk\.0\.ssm_a\.weight' has no place"):
        parameter_name("blk.0.ssm_a.weight")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"general.architecture": "mamba"}, "general.architecture is 'mamba', expected 'llama'"),
        ({"tokenizer.ggml.pre": "qwen2"}, "tokenizer.ggml.pre is 'qwen2', expected 'smollm'"),
        ({"without": "template"}, r"lacks tokenizer\.chat_template"),
    ],
)
def test_what_it_cannot_convert_it_refuses(tmp_path, changed, message):
    write(tmp_path / "tiny.gguf", **changed)
    with pytest.raises(DataError, match=message):
        convert(tmp_path / "tiny.gguf", tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a GGUF file at all", b"GGUF\x03\x00\x00\x00"])
def test_a_file_that_is_no_gguf(tmp_path, content):
    (tmp_path / "bad.gguf").write_bytes(content)
    with pytest.raises(DataError, match="not a readable GGUF file"):
        convert(tmp_path / "bad.gguf", tmp_path)


@pytest.fixture(scope="module")
def smollm2():
    return resolve("packaged:smollm2-135m-instruct")


@pytest.mark.model
def test_smollm2_chats_counts_digits_and_can_be_saved(smollm2, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    assert tokenizer.tokenize("In 1234:\n\n1.") == [
        "In", "Ġ", "1", "2", "3", "4", ":", "ĊĊ", "1", ".",
    ]  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(smollm2)
    question = [{"role": "user", "content": "What is the capital of France?"}]
    chat = tokenizer.apply_chat_template(
        question, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.no_grad():
        (answer,) = model.generate(**chat, do_sample=False, max_new_tokens=24)
    said = tokenizer.decode(answer[chat["input_ids"].shape[1] :])
    assert said == "The capital of France is Paris.<|im_end|>"
    model.half().save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_size > 250e6
