from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eva.errors import ConfigError, SolverError
from eva.solver.policy_gradient import DEFAULTS, LEVELS, make_policy_gradient
from eva.types import Ragged


def ragged(*rows):
    values = torch.tensor([x for row in rows for x in row], dtype=torch.float64)
    return Ragged(values, tuple(len(row) for row in rows))


def column(*values):
    return torch.tensor(values, dtype=torch.float64)


def logs(*ratios):
    return [math.log(r) for r in ratios]


def of_ratios(*rows, advantages, **tokens):
    """A policy whose ratios to the old one are `rows`, and its columns."""
    policy = ragged(*(logs(*row) for row in rows))
    policy.values.requires_grad_()
    old = ragged(*([0.0] * len(row) for row in rows))
    return policy, {"advantage": column(*advantages), "old": old, **tokens}


# ── hand-worked numbers ──────────────────────────────────────────────────────────────────────


def test_tokens_are_clipped_one_by_one():
    """A = 2 and ratios 1/2, 1.1, 3: S = 1, 2.2 and, clipped at 1.3, 2.6."""
    policy, columns = of_ratios([0.5, 1.1, 3.0], advantages=[2.0])
    loss = make_policy_gradient(clip_high=0.3)((policy,), None, columns)
    assert loss.values.tolist() == pytest.approx([-5.8 / 3], rel=1e-12)
    assert loss.metrics["clipped"].tolist() == pytest.approx([1 / 3])
    assert loss.metrics["ratio"].tolist() == pytest.approx([4.6 / 3])
    loss.values.sum().backward()
    # dS/dlog pi = A r where it counts
    assert policy.values.grad.tolist() == pytest.approx([-1 / 3, -2.2 / 3, 0.0], rel=1e-12)


def test_a_bad_response_is_clipped_from_below():
    policy, columns = of_ratios([0.5, 1.1, 3.0], advantages=[-2.0])
    loss = make_policy_gradient(reduction="sum", clip_low=0.25)((policy,), None, columns)
    assert loss.values.tolist() == pytest.approx([2 * (0.75 + 1.1 + 3.0)], rel=1e-12)
    loss.values.sum().backward()
    assert policy.values.grad.tolist() == pytest.approx([0.0, 2.2, 6.0], rel=1e-12)


def test_rloo_clips_the_product_and_gspo_the_geometric_mean():
    """Ratios 2 and 8: their product is 16, their geometric mean 4; and 1/16, 1/4."""
    policy, columns = of_ratios([2.0, 8.0], [0.5, 0.125], advantages=[1.0, 3.0])
    found = {}
    for level, reduction in (("sequence_sum", "mean"), ("sequence", "mean"), ("sequence", "sum")):
        objective = make_policy_gradient(level=level, reduction=reduction, clip_high=4.0)
        loss = objective((policy,), None, columns)
        found[level, reduction] = loss.values.tolist()
        assert loss.metrics["clipped"].tolist() == [float(level == "sequence_sum"), 0.0]
    assert found["sequence_sum", "mean"] == pytest.approx([-5.0, -3 / 16], rel=1e-12)
    assert found["sequence", "mean"] == pytest.approx([-4.0, -3 / 4], rel=1e-12)
    assert found["sequence", "sum"] == pytest.approx([-8.0, -3 / 2], rel=1e-12)


@pytest.mark.parametrize(
    ("level", "reduction", "scale"),
    [
        ("token", "mean", (1 / 2, 1 / 3)),
        ("token", "sum", (1, 1)),
        ("sequence", "mean", (1 / 2, 1 / 3)),
        ("sequence", "sum", (1, 1)),
        ("sequence_sum", "mean", (1, 1)),
    ],
)
def test_without_old_log_probs_it_is_reinforce(level, reduction, scale):
    """The first update's gradient is that of -A log pi, per token or summed."""
    policy = ragged([-1.0, -2.0], [-0.5, -0.1, -3.0])
    policy.values.requires_grad_()
    objective = make_policy_gradient(level=level, reduction=reduction)
    loss = objective((policy,), None, {"advantage": column(2.0, -1.0)})
    loss.values.sum().backward()
    assert loss.metrics["ratio"].tolist() == [1.0, 1.0]
    want = [-2.0 * scale[0]] * 2 + [1.0 * scale[1]] * 3
    assert policy.values.grad.tolist() == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize(
    ("level", "reduction", "kl"),
    [
        ("token", "mean", 1 / 2),
        ("token", "sum", 1),
        ("sequence", "mean", 1 / 2),
        ("sequence_sum", "mean", 1),
    ],
)
def test_the_divergence_by_hand(level, reduction, kl):
    """pi_ref/pi = 2 and 1/4: 2 - 1 - log 2 and 1/4 - 1 + log 4."""
    policy, columns = of_ratios([1.0, 1.0], advantages=[0.0])
    reference = (ragged(logs(2.0, 0.25)),)
    objective = make_policy_gradient(level=level, reduction=reduction, kl=0.5)
    loss = objective((policy,), reference, columns)
    total = (1 - math.log(2)) + (-0.75 + math.log(4))
    assert loss.values.tolist() == pytest.approx([0.5 * kl * total], rel=1e-12)
    assert loss.metrics["kl"].tolist() == pytest.approx([total / 2], rel=1e-12)
    loss.values.sum().backward()
    # d/dlog pi = 1 - pi_ref/pi
    assert policy.values.grad.tolist() == pytest.approx([-0.5 * kl, 0.375 * kl], rel=1e-12)


def test_a_reference_without_coefficient_is_only_measured():
    policy, columns = of_ratios([1.0, 2.0], advantages=[1.0])
    plain = make_policy_gradient()((policy,), None, columns)
    measured = make_policy_gradient()((policy,), (ragged([0.0, 0.0]),), columns)
    assert torch.equal(plain.values, measured.values)
    assert measured.metrics["kl"].item() > 0


def test_the_correction_by_hand():
    """pi_old/pi_sampler = 1/2 and 6, capped at 3 per token; together 3, capped at 2.5."""
    policy, columns = of_ratios([1.1, 0.9], advantages=[1.0], sampled=ragged(logs(2.0, 1 / 6)))
    by_token = make_policy_gradient(correction="token", cap=3.0)((policy,), None, columns)
    assert by_token.values.tolist() == pytest.approx([-(1.1 / 2 + 0.9 * 3) / 2], rel=1e-12)
    assert by_token.metrics["weight"].tolist() == pytest.approx([1.75])
    whole = make_policy_gradient(correction="sequence", cap=2.5)((policy,), None, columns)
    assert whole.values.tolist() == pytest.approx([-2.5], rel=1e-12)
    product = make_policy_gradient(level="sequence_sum", correction="sequence", cap=4.0)
    assert product((policy,), None, columns).values.tolist() == pytest.approx([-0.99 * 3])
    spread = make_policy_gradient(level="sequence", reduction="sum", correction="token", cap=3.0)
    want = -math.sqrt(0.99) * 3.5
    assert spread((policy,), None, columns).values.tolist() == pytest.approx([want], rel=1e-12)


def test_the_correction_carries_no_gradient():
    policy = ragged([-1.0, -2.0])
    policy.values.requires_grad_()
    columns = {"advantage": column(1.0), "sampled": ragged([-1.0, -2.5])}
    make_policy_gradient(correction="token")((policy,), None, columns).values.sum().backward()
    assert policy.values.grad.tolist() == pytest.approx([-0.5, -0.5 * math.exp(0.5)], rel=1e-12)


def test_how_far_the_sampler_is_from_the_trainer():
    """log pi_sampler/pi_old = log 2 and -log 4; k3 is 1/2 - 1 + log 2 and 4 - 1 - log 4."""
    policy, columns = of_ratios([1.5, 0.5], advantages=[1.0], sampled=ragged(logs(2.0, 0.25)))
    loss = make_policy_gradient()((policy,), None, columns)
    assert "weight" not in loss.metrics
    assert loss.metrics["sampler_kl"].item() == pytest.approx(-math.log(2) / 2)
    steady = (-0.5 + math.log(2) + 3 - math.log(4)) / 2
    assert loss.metrics["sampler_kl_k3"].item() == pytest.approx(steady)
    bare = {name: value for name, value in columns.items() if name != "sampled"}
    assert torch.equal(loss.values, make_policy_gradient()((policy,), None, bare).values)


# ── invariances and edges ────────────────────────────────────────────────────────────────────

logp = st.floats(-8.0, 0.0)
rows = st.lists(
    st.integers(1, 5).flatmap(
        lambda n: st.tuples(
            *[st.lists(logp, min_size=n, max_size=n) for _ in range(4)], st.floats(-3, 3)
        )
    ),
    min_size=1,
    max_size=4,
)
VARIANTS = [
    {"level": "token", "correction": "token"},
    {"level": "token", "reduction": "sum", "correction": "sequence"},
    {"level": "sequence", "correction": "token"},
    {"level": "sequence_sum", "correction": "sequence"},
]


def evaluated(objective, batch):
    policy, old, sampled, reference = (ragged(*[row[k] for row in batch]) for k in range(4))
    policy.values.requires_grad_()
    columns = {"advantage": column(*[row[4] for row in batch]), "old": old, "sampled": sampled}
    loss = objective((policy,), (reference,), columns)
    loss.values.sum().backward()
    return loss, policy.values.grad.split(policy.lengths)


@pytest.mark.parametrize("hyper", VARIANTS, ids=lambda hyper: "-".join(hyper.values()))
@given(batch=rows)
@settings(max_examples=25, deadline=None)
def test_a_batch_is_its_examples_one_by_one_to_the_last_bit(hyper, batch):
    objective = make_policy_gradient(kl=0.1, **hyper)
    together, grads = evaluated(objective, batch)
    for i, row in enumerate(batch):
        alone, (grad,) = evaluated(objective, [row])
        assert torch.equal(alone.values[0], together.values[i])
        assert torch.equal(grad, grads[i])
        for name, value in together.metrics.items():
            assert not value.requires_grad
            assert torch.equal(alone.metrics[name][0], value[i])


@pytest.mark.parametrize("level", LEVELS)
@given(batch=rows)
@settings(max_examples=25, deadline=None)
def test_no_advantage_is_no_gradient(level, batch):
    still = [(*row[:4], 0.0) for row in batch]
    loss, grads = evaluated(make_policy_gradient(level=level), still)
    assert not loss.values.any()
    assert not any(grad.any() for grad in grads)


@pytest.mark.parametrize("level", LEVELS)
def test_a_ratio_beyond_all_numbers_is_clipped_without_harm(level):
    policy = Ragged(torch.tensor([0.0, -1.0], requires_grad=True), (2,))
    columns = {"advantage": torch.ones(1), "old": Ragged(torch.full((2,), -500.0), (2,))}
    loss = make_policy_gradient(level=level)((policy,), None, columns)
    loss.values.sum().backward()
    assert loss.values.tolist() == pytest.approx([-1.2])
    assert policy.values.grad.tolist() == [0.0, 0.0]


# ── errors ───────────────────────────────────────────────────────────────────────────────────

POLICY = (ragged([-1.0, -2.0]),)


@pytest.mark.parametrize(
    ("hyper", "policy", "columns", "message"),
    [
        ({}, POLICY * 2, {}, "2 completions per example, expected one"),
        ({}, POLICY, {"reward": column(1.0)}, "'advantage', .* examples have: reward"),
        ({}, POLICY, {"advantage": ragged([1.0, 1.0])}, "one number per example"),
        ({}, POLICY, {"advantage": column(1.0), "old": column(1.0)}, "'old' for every token"),
        ({}, POLICY, {"advantage": column(1.0), "old": ragged([-1.0])}, r"got lengths \(1,\)"),
        ({"kl": 0.1}, POLICY, {"advantage": column(1.0)}, "kl = 0.1 compares with a reference"),
        ({"correction": "token"}, POLICY, {"advantage": column(1.0)}, "no tokens 'sampled'"),
    ],
)
def test_examples_that_lack_something_are_refused(hyper, policy, columns, message):
    with pytest.raises(SolverError, match=message):
        make_policy_gradient(**hyper)(policy, None, columns)


@pytest.mark.parametrize(
    ("hyper", "message"),
    [
        ({"levels": "token"}, "did you mean 'level'"),
        ({"level": "tokens"}, "did you mean 'token'"),
        ({"reduction": "max"}, "unknown reduction 'max'"),
        ({"correction": "tokn"}, "did you mean 'token'"),
        ({"kl": -0.1}, r"kl = -0\.1, expected a finite number of at least 0"),
        ({"clip_low": 0.0}, r"clip_low = 0\.0, expected a finite number above 0"),
        ({"cap": math.inf}, "cap = inf"),
        ({"level": "sequence_sum", "correction": "token"}, "take correction = 'sequence'"),
    ],
)
def test_a_loss_that_cannot_be_is_refused(hyper, message):
    with pytest.raises(ConfigError, match=message):
        make_policy_gradient(**hyper)


def test_defaults():
    assert DEFAULTS == {
        "level": "token",
        "reduction": "mean",
        "clip_low": 0.2,
        "clip_high": 0.2,
        "kl": 0.0,
        "correction": "none",
        "cap": 2.0,
    }


def test_it_can_be_configured_without_torch():
    code = (
        "import sys; from eva.solver.online import ALGORITHMS, PolicyGradientSettings as S;"
        "S(**ALGORITHMS['rloo']); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
