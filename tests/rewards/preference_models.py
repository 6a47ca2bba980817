"""Tiny random preference models, with the files of the published ones."""

import json

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer, DebertaV2Config, PreTrainedTokenizerFast

from eva.engines.tiny import build_tiny
from eva.rewards.pairrm import ARCHITECTURE, MARKS, PairRM

WORDS = ["[PAD]", "[CLS]", "[SEP]", *MARKS, "[UNK]", "name", "a", "colour", "red", "blue", "dog"]

LLAMA_3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content }}<|eot_id|>{% endfor %}<|start_header_id|>assistant<|end_header_id|>\n\n"
)
"""Llama 3's first template: the assistant's turn is begun unasked."""


def pairrm_folder(path, *, tasks=1):
    """Write a PairRM of one layer with words for tokens."""
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )
    made.add_special_tokens({"additional_special_tokens": list(MARKS)})
    made.save_pretrained(path)
    config = DebertaV2Config(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        relative_attention=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        position_buckets=8,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        type_vocab_size=0,
        n_tasks=tasks,
    )
    torch.manual_seed(3)
    model = PairRM(config)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    model.save_pretrained(path)
    known = json.loads((path / "config.json").read_text()) | {"architectures": [ARCHITECTURE]}
    (path / "config.json").write_text(json.dumps(known))
    return path


def chat_folder(path):
    """Write a causal model with Llama 3's template."""
    build_tiny(path)
    tokenizer = AutoTokenizer.from_pretrained(path)
    tokenizer.chat_template = LLAMA_3
    tokenizer.save_pretrained(path)
    return path
