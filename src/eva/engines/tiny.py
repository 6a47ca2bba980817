"""A tiny random chat model, made in code: what smoke configs and tests run on.

Its vocabulary is the 256 bytes and a few special tokens. The weights are random but lean towards
lower-case letters, and towards ending an answer after about 20 of them, so that rewards differ and
answers stop.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

Architecture: TypeAlias = Literal["llama", "qwen3", "gemma2"]

_CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Like Gemma's: begins with the first token of a text, and refuses a system turn.
_GEMMA = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "<|im_start|>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>model\n{% endif %}"
)
_SPECIAL = ("<|bos|>", "<|eos|>", "<|pad|>", "<|im_start|>", "<|im_end|>")
_LETTER = 6.0
"""Logit added to lower-case letters and the space."""
_END = 6.0
"""Logit added to the end of a turn."""


def build_tiny(
    folder: Path,
    *,
    seed: int = 0,
    architecture: Architecture = "llama",
    pad_token: bool = True,
    **overrides: Any,
) -> Path:
    """Write a tiny chat model as a Hugging Face folder, without a download, and return the folder.

    `llama` without a pad token is like Llama 3; `gemma2` caps its logits and takes no system turn;
    `overrides` go into the model's config. The global random state is left as it was.
    """
    tokenizer = _tokenizer(_GEMMA if architecture == "gemma2" else _CHATML, pad_token=pad_token)
    config = AutoConfig.for_model(architecture, **(_config(tokenizer, architecture) | overrides))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    _lean(model, tokenizer)
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id)  # type: ignore[no-untyped-call]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer(template: str, *, pad_token: bool) -> PreTrainedTokenizerFast:
    symbols = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *_SPECIAL]
    vocabulary = {symbol: i for i, symbol in enumerate(symbols)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(_SPECIAL))
    bos, eos, pad, *turns = _SPECIAL
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token=bos,
        eos_token=eos,
        pad_token=pad if pad_token else None,
        additional_special_tokens=turns,
        chat_template=template,
        clean_up_tokenization_spaces=False,
    )


def _config(tokenizer: PreTrainedTokenizerFast, architecture: Architecture) -> dict[str, Any]:
    capped = {"final_logit_softcapping": 8.0, "attn_logit_softcapping": 20.0}
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 2048,
        "initializer_range": 0.2,
        "tie_word_embeddings": False,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        **(capped if architecture == "gemma2" else {}),
    }


@torch.no_grad()
def _lean(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    """Make the first hidden unit nearly constant, and let it speak for the likelier tokens."""
    embedding = cast("nn.Embedding", model.get_input_embeddings())
    head = cast("nn.Linear", model.get_output_embeddings())  # type: ignore[no-untyped-call]
    embedding.weight[:, 0] = 4.0
    for name, parameter in model.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            parameter[0] = 0.0
    every_token = torch.arange(embedding.num_embeddings)[:, None]
    states = model.base_model(input_ids=every_token, use_cache=False).last_hidden_state
    letters = tokenizer.encode("abcdefghijklmnopqrstuvwxyz ", add_special_tokens=False)
    head.weight[:, 0] = 0.0
    head.weight[letters, 0] = _LETTER / states[..., 0].mean()
    head.weight[tokenizer.convert_tokens_to_ids("<|im_end|>"), 0] = _END / states[..., 0].mean()
