"""A policy: a causal language model, its chat tokenizer, and what ends its turn.

Loaded from a hub id or a Hugging Face folder, safetensors only: nothing is unpickled.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from eva.engines.chat import check_template, end_of_turn
from eva.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


@dataclass
class Policy:
    """A language model that can chat.

    The model is in evaluation mode and its config's dropouts are 0, so that `train()` (which
    gradient checkpointing needs) changes no number. `model.config.use_cache` is left as it came:
    every forward says itself whether it wants a cache.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    end_ids: frozenset[int]
    """Tokens that end an answer: the model's, the tokenizer's and the chat template's."""
    pad_id: int
    """A token of the vocabulary to fill rows with; always masked, so it may be a real one."""
    source: str
    """The hub id or folder it was loaded from."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    @property
    def context(self) -> int | None:
        """Tokens of prompt and answer together that the model takes; None if it sets no limit."""
        config = self.model.config.get_text_config(decoder=True)
        limit: int | None = getattr(config, "max_position_embeddings", None)
        return limit


def load_policy(
    source: str | Path,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    trust_remote_code: bool = False,
) -> Policy:
    """Load a policy; `dtype` is that of its (master) weights.

    Raises:
        ConfigError: the source is missing, has no safetensors weights of a causal language model,
            no tokenizer, no chat template, or no token that ends an answer.
    """
    name = str(source)
    config = _config(name, trust_remote_code)
    for key, value in vars(config).items():
        if "drop" in key and isinstance(value, float):
            setattr(config, key, 0.0)
    model = _model(name, config, dtype=dtype, trust_remote_code=trust_remote_code)
    torch.nn.Module.to(model, device)
    return make_policy(model, _tokenizer(name, trust_remote_code), source=name)


def make_policy(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, source: str
) -> Policy:
    """Make a policy of a loaded model and tokenizer; the model goes into evaluation mode.

    Raises:
        ConfigError: there is no chat template, or no token that ends an answer.
    """
    check_template(tokenizer, source=source)
    rows = cast("torch.nn.Embedding", model.get_input_embeddings()).num_embeddings
    ends = frozenset(i for i in _end_ids(model, tokenizer) if i < rows)
    if not ends:
        raise ConfigError(
            f"model {source!r}: neither generation_config.json, tokenizer nor chat template names "
            "a token that ends an answer; set eos_token_id in its generation_config.json"
        )
    pad = tokenizer.pad_token_id
    pad_id = pad if pad is not None and pad < rows else min(ends)
    model.train(False)
    return Policy(model, tokenizer, end_ids=ends, pad_id=pad_id, source=source)


def _end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    config = model.generation_config
    own = config.eos_token_id if config is not None else None
    listed = own if isinstance(own, list) else [own]
    found = (*listed, tokenizer.eos_token_id, end_of_turn(tokenizer))
    return {int(i) for i in found if i is not None}


def _config(name: str, trust_remote_code: bool) -> PretrainedConfig:
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(
            name, trust_remote_code=trust_remote_code
        )
        return config
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"model {name!r}: found neither as a folder with a config.json nor as a hub id; give "
            f"the path of a Hugging Face folder or a reachable hub id ({_first_line(error)})"
        ) from error


def _model(
    name: str, config: PretrainedConfig, *, dtype: str, trust_remote_code: bool
) -> PreTrainedModel:
    if config.is_encoder_decoder:
        raise ConfigError(_no_causal_lm(name, config, "it is an encoder-decoder"))
    try:
        # With loading info a pair comes back, which the library's annotations do not say.
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            name,
            config=config,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
        )
    except ValueError as error:
        raise ConfigError(_no_causal_lm(name, config, _first_line(error))) from error
    except OSError as error:
        raise ConfigError(
            f"model {name!r}: no safetensors weights found; pickled ones are never loaded, "
            f"convert them with save_pretrained ({_first_line(error)})"
        ) from error
    model, info = cast("tuple[PreTrainedModel, dict[str, Any]]", loaded)
    if info["missing_keys"]:
        lacking = ", ".join(sorted(info["missing_keys"])[:3])
        raise ConfigError(_no_causal_lm(name, config, f"it has no weights for {lacking}"))
    return model


def _tokenizer(name: str, trust_remote_code: bool) -> PreTrainedTokenizerBase:
    try:
        return AutoTokenizer.from_pretrained(name, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"model {name!r}: its tokenizer cannot be loaded ({_first_line(error)})"
        ) from error


def _no_causal_lm(name: str, config: PretrainedConfig, why: str) -> str:
    return (
        f"model {name!r}: expected a causal language model, got type {config.model_type!r} "
        f"({why}); use a decoder-only chat model"
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
