import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from eva.engines.tiny import build_tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_tiny(tmp_path_factory.mktemp("tiny"))


def test_any_text_survives_its_tokenizer(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = "  Tabs\tand\n\nlines, naïve 東京 🙂 .  "
    ids = tokenizer.encode(text)
    assert len(ids) == len(text.encode())
    assert tokenizer.decode(ids) == text


def test_special_tokens_are_single(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer.encode("<|im_start|>a<|im_end|>")
    assert len(ids) == 3
    assert max(ids) < AutoModelForCausalLM.from_pretrained(folder).config.vocab_size


def test_the_seed_alone_decides_the_weights(folder, tmp_path):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    again, other = build_tiny(tmp_path / "a"), build_tiny(tmp_path / "b", seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    name = "model.safetensors"
    assert (again / name).read_bytes() == (folder / name).read_bytes()
    assert (other / name).read_bytes() != (folder / name).read_bytes()


def test_it_leans_to_letters_and_to_ending(folder):
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder),
    )
    ids = tokenizer.encode("<|im_start|>assistant\nsome words", return_tensors="pt")
    with torch.inference_mode():
        p = model(ids).logits[0].softmax(-1).mean(0)
    letters = tokenizer.encode("abcdefghijklmnopqrstuvwxyz ")
    assert p[letters].sum() > 0.6
    assert 0.01 < p[tokenizer.convert_tokens_to_ids("<|im_end|>")] < 0.2


def test_the_gemma_like_one_caps_and_refuses_system(tmp_path):
    folder = build_tiny(tmp_path, architecture="gemma2")
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder),
    )
    with torch.inference_mode():
        assert model(torch.arange(50)[None]).logits.abs().max() <= 8.0
    with pytest.raises(Exception, match="System role not supported"):
        tokenizer.apply_chat_template([{"role": "system", "content": "x"}])


def test_without_a_pad_token(tmp_path):
    assert AutoTokenizer.from_pretrained(build_tiny(tmp_path, pad_token=False)).pad_token is None
