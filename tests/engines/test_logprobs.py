"""Chunked log-probs against the model's own forward pass, values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    CohereConfig,
    Gemma2Config,
    GraniteConfig,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
)
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from eva.engines.batching import Layout, collate
from eva.engines.logprobs import Head, Scorer, check_head, head_of, token_logprobs
from eva.errors import ConfigError
from eva.types import Example

SIZES = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
}
CONFIGS = {
    "llama": LlamaConfig(**SIZES, tie_word_embeddings=True),
    "gemma2": Gemma2Config(**SIZES, head_dim=8, final_logit_softcapping=2.0),
    "qwen3": Qwen3Config(**SIZES, head_dim=8),
    "cohere": CohereConfig(**SIZES, logit_scale=0.25),
    "granite": GraniteConfig(**SIZES, logits_scaling=4.0),
}
EXAMPLES = [
    Example("a", (5, 6, 7), ((8, 9, 10, 11), (12, 13))),
    Example("b", (14, 15), ((16,), (17, 18, 19))),
]
CPU = torch.device("cpu")


def make(kind, dtype=torch.float64):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIGS[kind], dtype=dtype).eval()
    # Larger than the initialisation, so that caps and scales show.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
    return model


def oracle(model, examples):
    """Log-probs in the order of `Batch.targets`, a full forward pass for each sequence."""
    found = []
    for slot in range(2):
        for example in examples:
            ids = torch.tensor([[*example.prompt_ids, *example.completions[slot]]])
            logits = model(input_ids=ids, use_cache=False).logits[0].log_softmax(-1)
            start = len(example.prompt_ids)
            found.append(logits[start - 1 : -1].gather(1, ids[0, start:, None])[:, 0])
    return torch.cat(found)


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("kind", CONFIGS)
def test_values_and_gradients_are_those_of_a_full_forward(kind, frozen):
    model = make(kind)
    if frozen:
        model.get_output_embeddings().weight.requires_grad_(False)
    weights = torch.arange(1.0, 11.0, dtype=torch.float64)
    batch = collate(EXAMPLES, Layout(32, shareable=False), pad_id=0, device=CPU)
    got = Scorer(model, chunk=3).logprobs(batch)
    ours = gradients(model, (weights * got.exp()).sum())
    expected = oracle(model, EXAMPLES)
    theirs = gradients(model, (weights * expected.exp()).sum())
    assert torch.allclose(got, expected, atol=1e-6, rtol=0)
    assert ours.keys() == theirs.keys()
    assert ours
    for name, gradient in ours.items():
        scale = float(theirs[name].abs().max())
        assert torch.allclose(gradient, theirs[name], atol=2e-6 * scale, rtol=1e-5), name


@pytest.mark.parametrize("cap", [None, 1.5])
@pytest.mark.parametrize("trained", [False, True])
def test_written_out_gradient_passes_gradcheck(cap, trained):
    torch.manual_seed(0)
    linear = nn.Linear(4, 7, bias=True, dtype=torch.float64).requires_grad_(trained)
    hidden = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([0, 6, 3, 3, 1])

    def run(h, *_):
        return token_logprobs(h, targets, Head(linear, scale=0.7, cap=cap), chunk=2)

    inputs = (hidden, linear.weight, linear.bias) if trained else (hidden,)
    assert torch.autograd.gradcheck(run, inputs)


def test_hand_worked_value():
    linear = nn.Linear(1, 2, bias=False)
    linear.weight.data = torch.tensor([[1.0], [0.0]])
    hidden = torch.tensor([[2.0], [0.0]])
    got = token_logprobs(hidden, torch.tensor([0, 1]), Head(linear, scale=0.5), chunk=1)
    # logits (1, 0) and (0, 0): log sigmoid(1), log 1/2
    assert got.tolist() == pytest.approx([-0.31326169, -0.69314718])


class _Largest(TorchDispatchMode):
    """Notes the rows of the tallest tensor as wide as the vocabulary."""

    def __init__(self, vocabulary):
        super().__init__()
        self.vocabulary, self.rows = vocabulary, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(tensor, torch.Tensor) and tensor.shape[-1:] == (self.vocabulary,):
                self.rows = max(self.rows, tensor.numel() // self.vocabulary)
        return out


@pytest.mark.parametrize("trained", [False, True])
def test_a_batch_of_logits_is_never_whole_in_memory(trained):
    linear = nn.Linear(8, 1000, bias=False).requires_grad_(trained)
    hidden = torch.randn(50, 8, requires_grad=True)
    targets = torch.randint(0, 1000, (50,))
    with _Largest(1000) as largest:
        token_logprobs(hidden, targets, Head(linear), chunk=7).sum().backward()
    # 8 rows are the transposed weight.
    assert 7 <= largest.rows <= 8


def test_log_softmax_is_float32_whatever_the_weights():
    linear = nn.Linear(16, 300, bias=False, dtype=torch.bfloat16)
    hidden = torch.randn(6, 16, dtype=torch.bfloat16)
    targets = torch.arange(6)
    got = token_logprobs(hidden, targets, Head(linear), chunk=4)
    expected = linear(hidden).float().log_softmax(-1).gather(1, targets[:, None])[:, 0]
    assert got.dtype == torch.float32
    assert torch.allclose(got, expected, atol=1e-6, rtol=0)


def test_mixed_precision_keeps_float32_gradients():
    torch.manual_seed(0)
    linear, hidden = nn.Linear(16, 40, bias=False), torch.randn(9, 16, requires_grad=True)
    targets = torch.arange(9)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = token_logprobs(hidden, targets, Head(linear), chunk=4)
    got.sum().backward()
    exact = linear(hidden).log_softmax(-1).gather(1, targets[:, None])[:, 0]
    (weight,) = torch.autograd.grad(exact.sum(), linear.weight)
    assert linear.weight.grad.dtype == hidden.grad.dtype == torch.float32
    assert (
        functional.cosine_similarity(linear.weight.grad.flatten(), weight.flatten(), dim=0) > 0.99
    )
    assert (got - exact).abs().max() < 0.05


def test_head_reads_caps_and_scales_from_the_config():
    assert head_of(make("gemma2")).cap == 2.0
    assert head_of(make("cohere")).scale == 0.25
    assert head_of(make("granite")).scale == 0.25
    assert head_of(make("llama")).scale == 1.0


@pytest.mark.parametrize("kind", CONFIGS)
def test_known_models_pass_the_probe(kind):
    check_head(make(kind))
    check_head(make(kind, torch.bfloat16))


class _Odd(LlamaForCausalLM):
    """Does to its logits what no config says."""

    def forward(self, *args, **kwargs):
        out = super().forward(*args, **kwargs)
        out.logits = out.logits * 3.0
        return out


def test_a_model_with_unknown_logits_is_refused():
    torch.manual_seed(0)
    model = _Odd(LlamaConfig(**SIZES)).eval()
    model.lm_head.weight.data.mul_(20.0)
    with pytest.raises(ConfigError, match="its logits are not its output layer's"):
        check_head(model)


def test_an_output_layer_that_is_not_linear_is_refused():
    model = make("llama")
    model.lm_head = nn.Sequential(model.lm_head)
    with pytest.raises(ConfigError, match="needs a linear output layer, got Sequential"):
        head_of(model)
