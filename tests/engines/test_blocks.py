"""Blocks of models, and recomputation that leaves no trace."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from eva.engines.blocks import blocks, recomputing
from eva.errors import ConfigError


@pytest.fixture
def model():
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=31, num_hidden_layers=3, **sizes)
    return LlamaForCausalLM(config).eval()


def test_blocks_are_the_decoder_layers_in_order(model):
    assert blocks(model) == list(model.model.layers)


def test_a_model_that_names_no_blocks_is_refused(model):
    model._no_split_modules = set()
    with pytest.raises(ConfigError, match="does not name its blocks"):
        blocks(model)


def test_recomputing_gives_the_same_gradient_and_runs_blocks_twice(model):
    ids, runs = torch.tensor([[1, 2, 3, 4]]), []
    model.model.layers[1].mlp.register_forward_pre_hook(lambda *_: runs.append(1))

    def gradient():
        model.zero_grad()
        model(input_ids=ids, use_cache=False).logits.square().sum().backward()
        return [p.grad.clone() for p in model.parameters()]

    plain = gradient()
    assert len(runs) == 1
    with recomputing(blocks(model)):
        recomputed = gradient()
    assert len(runs) == 3
    assert all(torch.equal(a, b) for a, b in zip(plain, recomputed, strict=True))


def test_recomputing_leaves_no_trace(model):
    with recomputing(blocks(model)):
        assert all("forward" in vars(block) for block in blocks(model))
        with pytest.raises(IndexError):
            model(input_ids=torch.tensor([[99]]))
    assert all("forward" not in vars(block) for block in blocks(model))
    assert not model.training
    assert model.config.use_cache
