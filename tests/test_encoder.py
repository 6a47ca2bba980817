from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from eva.data.assets import resolve
from eva.encoder import Encoder
from eva.errors import ConfigError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "sea", "sky", "blue", "wave"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer BERT over eight words, saved as a folder."""
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=32,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(folder)
    return folder


def test_embed_is_the_normalised_mean_of_the_token_states(tiny: Path) -> None:
    encoder = Encoder.load(tiny)
    with torch.inference_mode():
        states = encoder.model(torch.tensor([[2, 4, 6, 3]])).last_hidden_state[0]
    expected = (states.mean(0) / states.mean(0).norm()).numpy()
    assert encoder.embed(["sea blue"])[0] == pytest.approx(expected, abs=1e-6)


def test_padding_and_batches_do_not_enter_a_vector(tiny: Path) -> None:
    texts = ["sea", "sky blue wave sea sky", "wave wave", "blue sky sea"]
    together = Encoder.load(tiny, batch_size=4).embed(texts)
    alone = np.concatenate([Encoder.load(tiny).embed([text]) for text in texts])
    in_pairs = Encoder.load(tiny, batch_size=2).embed(texts)
    assert together == pytest.approx(alone, abs=1e-6)
    assert in_pairs == pytest.approx(alone, abs=1e-6)


def test_only_the_first_tokens_are_read(tiny: Path) -> None:
    encoder = Encoder.load(tiny, max_tokens=5)  # three words and two special tokens
    assert encoder.similarity(["sea sky blue"], ["sea sky blue wave wave"]) == pytest.approx(1.0)


def test_similarity_is_by_pairs_symmetric_and_0_for_blanks(tiny: Path) -> None:
    encoder = Encoder.load(tiny)
    a, b = ["sea", "sky blue", "wave", ""], ["sea", "wave", " \n", "sea"]
    got = encoder.similarity(a, b)
    assert got[0] == pytest.approx(1.0)
    assert list(got[2:]) == [0.0, 0.0]
    assert got == pytest.approx(encoder.similarity(b, a))
    assert encoder.similarity([], []).shape == (0,)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no config\.json"):
        Encoder.load(tmp_path)


def test_importing_it_does_not_import_torch() -> None:
    code = "import sys, eva.encoder; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.model
def test_minilm_tells_its_own_answer_from_another() -> None:
    encoder = Encoder.load(resolve("packaged:minilm-l6-v2"))
    questions = ["What is the capital of France?", "Give three tips for staying healthy."]
    answers = ["It is Paris, a city on the Seine.", "Eat fruit, sleep enough, and walk each day."]
    own = encoder.similarity(questions, answers)
    other = encoder.similarity(questions, answers[::-1])
    assert own.min() > 0.4
    assert other.max() < 0.2
