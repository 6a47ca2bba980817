import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, T5Config

from eva.engines.policy import load_policy
from eva.engines.tiny import build_tiny
from eva.errors import ConfigError


@pytest.fixture
def folder(tmp_path):
    return build_tiny(tmp_path / "tiny")


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_loads_in_evaluation_mode_and_in_the_dtype(folder):
    policy = load_policy(folder)
    assert not policy.model.training
    assert policy.model.dtype == torch.float32
    assert policy.source == str(folder)
    assert policy.context == 2048
    assert load_policy(str(folder), dtype="bfloat16").model.dtype == torch.bfloat16


def test_dropout_is_off_even_in_training_mode(folder):
    edit(folder / "config.json", attention_dropout=0.5)
    model = load_policy(folder).model.train()
    ids = torch.arange(1, 40)[None]
    with torch.inference_mode():
        assert torch.equal(model(ids).logits, model(ids).logits)


def test_end_tokens_of_config_tokenizer_and_template(folder):
    ids = AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids
    assert load_policy(folder).end_ids == {ids("<|eos|>"), ids("<|im_end|>")}
    edit(folder / "generation_config.json", eos_token_id=[ids("<|eos|>"), 7])
    assert load_policy(folder).end_ids == {ids("<|eos|>"), ids("<|im_end|>"), 7}


def test_pad_is_the_tokenizers_or_an_existing_token(tmp_path):
    with_pad = load_policy(build_tiny(tmp_path / "a"))
    assert with_pad.pad_id == with_pad.tokenizer.pad_token_id
    without = load_policy(build_tiny(tmp_path / "b", pad_token=False))
    assert without.pad_id in without.end_ids
    assert without.model.get_input_embeddings().num_embeddings == len(without.tokenizer)


def test_a_pad_token_beyond_the_embeddings_is_not_used(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"pad_token": "<|later|>"})
    tokenizer.save_pretrained(folder)
    policy = load_policy(folder)
    assert policy.tokenizer.pad_token_id == 261
    assert policy.pad_id < 261


@pytest.mark.parametrize("source", ["/no/such/folder", "no-such/model"])
def test_a_missing_source_is_named(source):
    with pytest.raises(ConfigError, match=source):
        load_policy(source)


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"config\.json"):
        load_policy(tmp_path)


def test_pickled_weights_are_never_read(folder):
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="no safetensors weights"):
        load_policy(folder)


def test_an_encoder_decoder_is_refused(tmp_path):
    T5Config(num_layers=1).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="encoder-decoder"):
        load_policy(tmp_path)


def test_weights_without_an_output_layer_are_refused(folder):
    path = folder / "model.safetensors"
    weights = load_file(path)
    del weights["lm_head.weight"]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"no weights for lm_head\.weight"):
        load_policy(folder)


def test_a_classifier_is_refused(folder, tmp_path):
    config = BertConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=9
    )
    BertForSequenceClassification(config).save_pretrained(tmp_path / "bert")
    with pytest.raises(ConfigError, match="expected a causal language model, got type 'bert'"):
        load_policy(tmp_path / "bert")


def test_a_model_without_chat_template_is_refused(folder):
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ConfigError, match="no chat template"):
        load_policy(folder)


def test_a_model_that_cannot_end_is_refused(folder):
    edit(folder / "generation_config.json", eos_token_id=None)
    edit(folder / "tokenizer_config.json", eos_token=None)
    edit(folder / "config.json", eos_token_id=None)
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m.content }}\n{% endfor %}"
    )
    with pytest.raises(ConfigError, match="token that ends an answer"):
        load_policy(folder)
