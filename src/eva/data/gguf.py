"""From a GGUF file of the Llama family to a folder that `from_pretrained` loads.

transformers reads GGUF itself, but leaves a quantisation marker that forbids saving, and drops the
splitting of digits that the file names (`tokenizer.ggml.pre = smollm`), which changes the tokens of
every number. Here the weights are opened to float32 once and the tokeniser is built from the file.

Weights stay float32 on disk: a 4-bit weight opened (scale x integer + minimum, scale and minimum in
half precision) needs more bits than float16 or bfloat16 have, and training keeps float32 anyway.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eva.errors import DataError

if TYPE_CHECKING:
    from gguf import GGUFReader
    from tokenizers import Tokenizer

RECIPE = 1
"""Counts changes of this conversion; what an older one made is made anew."""

_CONTROL = 3
"""The token type of a special token (llama.cpp, `LLAMA_TOKEN_TYPE_CONTROL`)."""

_SUPPORTED = {
    "general.architecture": "llama",
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "smollm",
}

_NEEDED = (
    "llama.vocab_size",
    "llama.embedding_length",
    "llama.feed_forward_length",
    "llama.block_count",
    "llama.attention.head_count",
    "llama.attention.head_count_kv",
    "llama.attention.layer_norm_rms_epsilon",
    "llama.context_length",
    "llama.rope.freq_base",
    "tokenizer.ggml.tokens",
    "tokenizer.ggml.token_type",
    "tokenizer.ggml.merges",
    "tokenizer.ggml.bos_token_id",
    "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.padding_token_id",
    "tokenizer.ggml.unknown_token_id",
    "tokenizer.chat_template",
)

_PLACES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""Where a tensor of GGUF lives in `LlamaForCausalLM`."""


def convert(
    file: Path, folder: Path, *, advance: Callable[[int], None] = lambda done: None
) -> None:
    """Write model, tokeniser, chat template and generation config of a GGUF file to `folder`.

    Args:
        file: a GGUF file of architecture `llama` with a byte-level BPE tokeniser (`smollm`).
        folder: an existing folder.
        advance: called with the number of tensors that are done.

    Raises:
        DataError: the file cannot be read, or is of another architecture or tokeniser.
    """
    reader = _opened(file)
    facts = {name: field.contents() for name, field in reader.fields.items()}
    for key, wanted in _SUPPORTED.items():
        if facts.get(key) != wanted:
            raise DataError(f"{file}: {key} is {facts.get(key)!r}, expected {wanted!r}")
    if missing := [key for key in _NEEDED if key not in facts]:
        raise DataError(f"{file}: lacks {', '.join(missing)}")
    _save_weights(reader, facts, folder, advance=advance)
    _save_config(reader, facts, folder)
    _save_tokenizer(facts, folder)


def count_tensors(file: Path) -> int:
    """Return how many tensors a GGUF file holds.

    Raises:
        DataError: the file cannot be read.
    """
    return len(_opened(file).tensors)


def _opened(file: Path) -> GGUFReader:
    from gguf import GGUFReader

    try:
        return GGUFReader(file)
    except (OSError, ValueError, IndexError) as error:
        raise DataError(f"{file}: not a readable GGUF file: {error}") from error


def _save_weights(
    reader: GGUFReader, facts: dict[str, Any], folder: Path, *, advance: Callable[[int], None]
) -> None:
    from gguf.quants import dequantize
    from safetensors.numpy import save_file

    heads = {
        "attn_q": facts["llama.attention.head_count"],
        "attn_k": facts["llama.attention.head_count_kv"],
    }
    weights: dict[str, NDArray[np.float32]] = {}
    for done, tensor in enumerate(reader.tensors, start=1):
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
        kind = tensor.name.removesuffix(".weight").rpartition(".")[2]
        if kind in heads:
            values = rotary_halves(values, heads[kind])
        weights[parameter_name(tensor.name)] = np.ascontiguousarray(values)
        advance(done)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def rotary_halves(weight: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Reorder the rows of a query or key projection, (heads * d, in), for `LlamaForCausalLM`.

    GGUF keeps the two coordinates that a rotation mixes side by side; transformers keeps the first
    of every pair in the first half of a head and the second in the second half.

    >>> rotary_halves(np.float32([[0], [1], [2], [3]]), heads=1).ravel().tolist()
    [0.0, 2.0, 1.0, 3.0]
    """
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, -1)


def parameter_name(tensor: str) -> str:
    """Return the name that `LlamaForCausalLM` gives to a tensor of GGUF.

    >>> parameter_name("blk.3.attn_q.weight")
    'model.layers.3.self_attn.q_proj.weight'

    Raises:
        DataError: the tensor has no place there.
    """
    match = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)\.weight", tensor)
    if match is None or match[2] not in _PLACES:
        raise DataError(f"GGUF tensor {tensor!r} has no place in a Llama model")
    place = _PLACES[match[2]]
    return f"model.layers.{match[1]}.{place}.weight" if match[1] else f"{place}.weight"


def _save_config(reader: GGUFReader, facts: dict[str, Any], folder: Path) -> None:
    from transformers import GenerationConfig, LlamaConfig

    ends = {
        "bos_token_id": facts["tokenizer.ggml.bos_token_id"],
        "eos_token_id": facts["tokenizer.ggml.eos_token_id"],
        "pad_token_id": facts["tokenizer.ggml.padding_token_id"],
    }
    LlamaConfig(
        architectures=["LlamaForCausalLM"],
        vocab_size=facts["llama.vocab_size"],
        hidden_size=facts["llama.embedding_length"],
        intermediate_size=facts["llama.feed_forward_length"],
        num_hidden_layers=facts["llama.block_count"],
        num_attention_heads=facts["llama.attention.head_count"],
        num_key_value_heads=facts["llama.attention.head_count_kv"],
        max_position_embeddings=facts["llama.context_length"],
        rms_norm_eps=float(str(np.float32(facts["llama.attention.layer_norm_rms_epsilon"]))),
        rope_parameters={"rope_type": "default", "rope_theta": facts["llama.rope.freq_base"]},
        tie_word_embeddings=all(tensor.name != "output.weight" for tensor in reader.tensors),
        dtype="float32",
        **ends,
    ).save_pretrained(folder)
    GenerationConfig(**ends).save_pretrained(folder)  # type: ignore[no-untyped-call]


def _save_tokenizer(facts: dict[str, Any], folder: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    tokens = facts["tokenizer.ggml.tokens"]
    kinds = facts["tokenizer.ggml.token_type"]
    special = [token for token, kind in zip(tokens, kinds, strict=True) if kind == _CONTROL]
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=byte_bpe(tokens, facts["tokenizer.ggml.merges"], special),
        bos_token=tokens[facts["tokenizer.ggml.bos_token_id"]],
        eos_token=tokens[facts["tokenizer.ggml.eos_token_id"]],
        pad_token=tokens[facts["tokenizer.ggml.padding_token_id"]],
        unk_token=tokens[facts["tokenizer.ggml.unknown_token_id"]],
        model_max_length=facts["llama.context_length"],
        clean_up_tokenization_spaces=False,
        chat_template=facts["tokenizer.chat_template"],
    ).save_pretrained(folder)


def byte_bpe(tokens: list[str], merges: list[str], special: list[str]) -> Tokenizer:
    """Build a byte-level BPE tokeniser that splits every digit off, as SmolLM's does."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {token: number for number, token in enumerate(tokens)}
    pairs = [(left, right) for left, _, right in (merge.partition(" ") for merge in merges)]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in special]
    )
    return tokenizer
