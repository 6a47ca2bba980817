"""The ladder's model: a small Llama that reads letters, trained on the easy levels to begin with.

It is made once, with a fixed seed, and kept as a Hugging Face folder, so that the engine of eva
loads it as it loads any other.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from ladder_task import EASY, LETTERS, LEVELS, TASKS, instance
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    GenerationConfig,
    LlamaConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from eva.rng import Streams
from eva.types import Prompt

_SPECIAL = ("<pad>", "<ask>", "<answer>", "<end>")
_TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{{ m.content }}<end>"
    "{% else %}<ask>{{ m.content }}<answer>{% endif %}{% endfor %}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Warm:
    """The model, and how it is trained before the game begins."""

    width: int = 144
    layers: int = 4
    heads: int = 6
    updates: int = 200
    batch: int = 128
    lr: float = 2e-3
    beyond: float = 0.3
    """Share of examples of a level above the easy ones, each level half as often as the last."""
    seed: int = 0


def make(folder: Path, warm: Warm, *, without: Sequence[Prompt]) -> Path:
    """Return the folder of the model, made now unless it is there with the same settings.

    `without` are prompts that it is not shown: the held-out ones.
    """
    settings = folder / "warm.json"
    if settings.exists() and json.loads(settings.read_text()) == asdict(warm):
        return folder
    made = folder.with_name(f"{folder.name}.tmp")
    shutil.rmtree(made, ignore_errors=True)
    tokenizer = letters()
    model = fresh(tokenizer, warm)
    train(model, tokenizer, warm, without={prompt.text for prompt in without})
    model.save_pretrained(made)
    tokenizer.save_pretrained(made)
    (made / settings.name).write_text(json.dumps(asdict(warm)))
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(made, folder)
    return folder


def letters() -> PreTrainedTokenizerFast:
    """Return a tokenizer with a token for every letter and name of a task."""
    symbols = [*_SPECIAL, *TASKS, *LETTERS, " "]
    tokenizer = Tokenizer(
        models.WordLevel({symbol: i for i, symbol in enumerate(symbols)}, unk_token="<pad>")
    )
    pattern = Regex("|".join([*TASKS, "."]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(pattern, "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(list(_SPECIAL))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<end>",
        pad_token="<pad>",
        chat_template=_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def fresh(tokenizer: PreTrainedTokenizerFast, warm: Warm) -> PreTrainedModel:
    """Return the untrained model; the global random state is left as it was."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=warm.width,
        intermediate_size=3 * warm.width,
        num_hidden_layers=warm.layers,
        num_attention_heads=warm.heads,
        max_position_embeddings=64,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(warm.seed)
        model = AutoModelForCausalLM.from_config(config)
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id)
    return model


def train(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, warm: Warm, *, without: set[str]
) -> None:
    """Train on right answers; the loss is on the answers alone."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=warm.lr, weight_decay=0.01, fused=True)
    ramp = torch.optim.lr_scheduler.LinearLR(optimiser, 0.02, total_iters=50)
    source = examples(tokenizer, warm, without=without)
    for _ in range(warm.updates):
        ids, labels = padded([next(source) for _ in range(warm.batch)], tokenizer.pad_token_id)
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        ramp.step()


def examples(
    tokenizer: PreTrainedTokenizerFast, warm: Warm, *, without: set[str]
) -> Iterator[tuple[list[int], list[int]]]:
    """Yield tokens of prompts and of their answers, without end."""
    rng = Streams(warm.seed, 0, "ladder/warm").of()
    names = list(TASKS)
    above = [2.0**-k for k in range(LEVELS - EASY)]
    chances = [
        *((1 - warm.beyond) / EASY for _ in range(EASY)),
        *(warm.beyond * share / sum(above) for share in above),
    ]
    while True:
        level = 1 + int(rng.choice(LEVELS, p=chances))
        text, columns = instance(names[rng.integers(len(names))], level, rng)
        if text not in without:
            yield (
                tokenizer.encode(f"<ask>{text}<answer>", add_special_tokens=False),
                tokenizer.encode(f"{columns['answer']}<end>", add_special_tokens=False),
            )


def padded(
    pairs: Sequence[tuple[list[int], list[int]]], pad: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a batch, (B, T), and its labels, -100 on prompts and padding."""
    width = max(len(asked) + len(answer) for asked, answer in pairs)
    rests = [width - len(asked) - len(answer) for asked, answer in pairs]
    ids = [a + b + [pad] * rest for (a, b), rest in zip(pairs, rests, strict=True)]
    labels = [[-100] * len(a) + b + [-100] * n for (a, b), n in zip(pairs, rests, strict=True)]
    return torch.tensor(ids), torch.tensor(labels)
