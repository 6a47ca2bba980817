import pytest
import torch
from torch import nn
from torch.nn import functional

from eva.engines import products
from eva.engines.policy import load_policy
from eva.engines.products import quick_head, wide_linear
from eva.engines.tiny import build_tiny


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return nn.Linear(24, 9000)


@pytest.mark.parametrize("shape", [(24,), (5, 24), (2, 3, 24), (0, 24)])
@pytest.mark.parametrize("biased", [True, False])
def test_it_is_the_linear_product(layer, shape, biased):
    inputs, bias = torch.randn(shape), layer.bias if biased else None
    with torch.no_grad():
        got = wide_linear(inputs, layer.weight, bias)
        wanted = functional.linear(inputs, layer.weight, bias)
    assert got.shape == wanted.shape
    assert torch.allclose(got, wanted, atol=1e-5)


def test_gradients_are_those_of_torch(layer):
    inputs = torch.randn(3, 24, requires_grad=True)
    (gradient,) = torch.autograd.grad(wide_linear(inputs, layer.weight).sum(), inputs)
    assert torch.allclose(gradient, layer.weight.sum(0).expand(3, -1), atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_stay_with_torch(layer, dtype):
    inputs, weight = torch.randn(3, 24, dtype=dtype), layer.weight.to(dtype)
    with torch.no_grad():
        got = wide_linear(inputs, weight)
    assert torch.equal(got, functional.linear(inputs, weight))


def test_without_onednn_it_is_torch(layer, monkeypatch):
    monkeypatch.setattr(products, "_ONEDNN", None)
    inputs = torch.randn(3, 24)
    with torch.no_grad():
        assert torch.equal(
            wide_linear(inputs, layer.weight), functional.linear(inputs, layer.weight)
        )


def test_a_head_is_quick_for_a_while(tmp_path, monkeypatch):
    monkeypatch.setattr(products, "_WIDE", 1)
    model = load_policy(build_tiny(tmp_path)).model
    head, ids = model.get_output_embeddings(), torch.tensor([[1, 2, 3]])
    with torch.inference_mode():
        wanted = model(ids, use_cache=False).logits
        with quick_head(model):
            assert "forward" in vars(head)
            # A head that somebody has replaced already is let alone.
            with quick_head(model):
                assert torch.allclose(model(ids, use_cache=False).logits, wanted, atol=1e-5)
            assert "forward" in vars(head)
    assert "forward" not in vars(head)
