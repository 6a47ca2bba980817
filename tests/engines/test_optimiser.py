"""Optimiser steps by hand and against torch's plain loops; masters; state to files and back."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from eva.engines.distributed import fit
from eva.engines.optimiser import OPTIMISERS, Optimiser, OptimiserSettings
from eva.errors import ConfigError, RunError, SolverError


def one(value, gradient, name="adamw", **settings):
    parameter = nn.Parameter(torch.tensor(value))
    parameter.grad = torch.tensor(gradient)
    return parameter, Optimiser({"w": parameter}, OptimiserSettings(name, **settings))


def test_first_adamw_step_by_hand():
    parameter, optimiser = one([1.0, 1.0], [3.0, -4.0])
    assert optimiser.step(0.1, None) == pytest.approx(5.0)
    # The first step is lr x sign of the gradient.
    assert parameter.tolist() == pytest.approx([0.9, 1.1])
    assert parameter.grad is None


def test_first_rmsprop_step_by_hand():
    parameter, optimiser = one([1.0], [2.0], "rmsprop")
    optimiser.step(0.1, None)
    assert parameter.item() == pytest.approx(1.0 - 0.1 * 2.0 / math.sqrt(0.01 * 4.0), abs=1e-6)


def test_sgd_steps_by_hand():
    parameter, optimiser = one([1.0], [2.0], "sgd", momentum=0.5)
    optimiser.step(0.1, None)
    parameter.grad = torch.tensor([2.0])
    optimiser.step(0.1, None)
    assert parameter.item() == pytest.approx(1.0 - 0.2 - 0.1 * (2.0 + 0.5 * 2.0))


def test_clipping_scales_the_gradient_and_returns_the_norm_before():
    parameter, optimiser = one([0.0, 0.0], [3.0, -4.0], "sgd")
    assert optimiser.step(1.0, 1.0) == pytest.approx(5.0)
    assert parameter.tolist() == pytest.approx([-0.6, 0.8], rel=1e-5)
    parameter.grad = torch.tensor([3.0, -4.0])
    optimiser.step(1.0, 10.0)
    assert parameter.tolist() == pytest.approx([-3.6, 4.8], rel=1e-5)


def test_decay_is_of_matrices_alone():
    matrix, vector = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))
    settings = OptimiserSettings("sgd", weight_decay=0.5)
    optimiser = Optimiser({"m": matrix, "v": vector}, settings)
    matrix.grad, vector.grad = torch.zeros(2, 2), torch.zeros(2)
    optimiser.step(0.1, None)
    assert matrix.flatten().tolist() == pytest.approx([0.95] * 4)
    assert vector.tolist() == [1.0, 1.0]


def test_adamw_agrees_with_the_plain_loop_of_torch():
    torch.manual_seed(0)
    ours, theirs = nn.Parameter(torch.randn(7, 5)), None
    theirs = nn.Parameter(ours.detach().clone())
    optimiser = Optimiser({"w": ours}, OptimiserSettings(weight_decay=0.1))
    plain = torch.optim.AdamW([theirs], lr=0.0, weight_decay=0.1, foreach=False)
    for step in range(6):
        gradient = torch.randn(7, 5)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        plain.param_groups[0]["lr"] = 0.01 * (step + 1)
        optimiser.step(0.01 * (step + 1), None)
        plain.step()
    assert torch.allclose(ours, theirs, atol=1e-7)


def test_half_precision_weights_have_float32_masters():
    parameter = nn.Parameter(torch.ones(1, dtype=torch.bfloat16))
    optimiser = Optimiser({"w": parameter}, OptimiserSettings("sgd"))
    for _ in range(100):
        # Each alone is lost in bfloat16: 1 - 1e-3 rounds to 1.
        parameter.grad = torch.ones(1, dtype=torch.bfloat16)
        optimiser.step(1e-3, None)
    assert optimiser.masters["w"].item() == pytest.approx(0.9, abs=1e-5)
    assert parameter.item() == pytest.approx(0.9, abs=4e-3)
    assert parameter.dtype == torch.bfloat16


@pytest.mark.parametrize("name", OPTIMISERS)
def test_restored_state_continues_bit_for_bit(name):
    torch.manual_seed(0)
    gradients = [torch.randn(3, 4) for _ in range(4)]
    start = torch.randn(3, 4)

    def run(parameter, optimiser, some):
        for gradient in some:
            parameter.grad = gradient.clone()
            optimiser.step(0.05, 1.0)

    settings = OptimiserSettings(name, momentum=0.9 if name != "adamw" else 0.0)
    unbroken = nn.Parameter(start.clone())
    run(unbroken, Optimiser({"a.w": unbroken}, settings), gradients)
    first = nn.Parameter(start.clone())
    before = Optimiser({"a.w": first}, settings)
    run(first, before, gradients[:2])
    second = nn.Parameter(first.detach().clone())
    after = Optimiser({"a.w": second}, settings)
    after.restore({key: value.clone() for key, value in before.state().items()}, fit)
    run(second, after, gradients[2:])
    assert torch.equal(second, unbroken)
    run(fresh := nn.Parameter(first.detach().clone()), Optimiser({"w": fresh}, settings), gradients)
    assert not torch.equal(fresh, unbroken)


def test_state_of_other_parameters_is_refused():
    _, optimiser = one([1.0], [1.0])
    with pytest.raises(RunError, match=r"parameter 'b\.w', which is not trained here"):
        optimiser.restore({"exp_avg.b.w": torch.zeros(1)}, fit)


def test_a_step_needs_a_finite_gradient():
    parameter, optimiser = one([1.0], [math.nan])
    with pytest.raises(SolverError, match="norm is nan"):
        optimiser.step(0.1, None)
    assert parameter.tolist() == [1.0]
    with pytest.raises(SolverError, match="call forward_backward before it"):
        optimiser.step(0.1, None)


def test_unknown_names_get_a_suggestion():
    with pytest.raises(ConfigError, match="did you mean 'adamw'"):
        OptimiserSettings("adamv")


def test_the_restored_step_count_lies_where_the_kernel_wants_it(monkeypatch):
    # The meta device stands for one that is not the CPU, where saved state comes from.
    for name, device in (("adamw", "meta"), ("rmsprop", "cpu")):
        parameter = nn.Parameter(torch.zeros(3, device="meta"))
        if name == "adamw":
            made = torch.optim.AdamW([parameter])
            made.defaults["fused"] = True
            monkeypatch.setitem(OPTIMISERS, name, lambda masters, settings, made=made: made)
        optimiser = Optimiser({"w": parameter}, OptimiserSettings(name))
        saved = torch.tensor(2.0)
        optimiser.restore({"step.w": saved}, fit)
        step = optimiser.state()["step.w"]
        assert (step.device.type, step.shape) == (device, ())
        assert step is not saved
