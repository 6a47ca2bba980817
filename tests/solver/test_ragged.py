from __future__ import annotations

import math
from decimal import Decimal, getcontext

import pytest
import torch

from eva.solver.ragged import log1mexp, log_sigmoid, means, sums
from eva.types import Ragged


def test_sums_and_means_by_hand():
    ragged = Ragged(torch.tensor([-1.0, -2.0, -4.0, -0.5, -0.5, -2.0]), (1, 2, 3))
    assert sums(ragged).tolist() == [-1.0, -6.0, -3.0]
    assert means(ragged).tolist() == [-1.0, -3.0, -1.0]


def test_an_empty_sequence_sums_to_nothing_and_has_no_mean():
    ragged = Ragged(torch.tensor([-1.0]), (0, 1))
    assert sums(ragged).tolist() == [0.0, -1.0]
    assert math.isnan(means(ragged)[0])


def test_a_sum_has_the_same_bits_in_any_batch():
    values = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    together = sums(Ragged(values, (137, 1, 299, 563)))
    alone = [sums(Ragged(p.clone(), (len(p),))) for p in values.split([137, 1, 299, 563])]
    assert torch.equal(together, torch.cat(alone))


@pytest.mark.parametrize("x", [-1e-9, -1e-4, -0.3, -math.log(2), -0.7, -5.0, -40.0, -700.0])
def test_log1mexp_against_many_digits(x):
    getcontext().prec = 400
    want = float((1 - Decimal(x).exp()).ln())
    slope = float(-Decimal(x).exp() / (1 - Decimal(x).exp()))
    at = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    value = log1mexp(at)
    value.backward()
    assert value.item() == pytest.approx(want, rel=1e-13, abs=0)
    assert at.grad.item() == pytest.approx(slope, rel=1e-13, abs=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log1mexp_is_finite_with_its_gradient_where_the_probability_rounds_to_one(dtype):
    x = torch.tensor([0.0, -1e-30, -200.0], dtype=dtype, requires_grad=True)
    value = log1mexp(x)
    value.sum().backward()
    assert value.isfinite().all()
    assert x.grad.isfinite().all()


def test_log_sigmoid_is_exact_in_both_tails():
    x = torch.tensor([-800.0, 0.0, 40.0], dtype=torch.float64)
    want = [-800.0, -math.log(2), -math.exp(-40)]
    assert log_sigmoid(x).tolist() == pytest.approx(want, rel=1e-12, abs=0)
