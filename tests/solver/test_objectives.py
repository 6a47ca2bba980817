from __future__ import annotations

import math
import subprocess
import sys
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eva.errors import ConfigError, SolverError
from eva.solver.objectives import OBJECTIVES, dpo, ipo, make_objective, orpo, rpo, simpo, sppo_soft
from eva.types import Ragged

LOG_2 = math.log(2)
METRICS = {
    "margin",
    "accuracy",
    "implicit_chosen",
    "implicit_rejected",
    "logp_chosen",
    "logp_rejected",
}


def ragged(*rows):
    values = torch.tensor([x for row in rows for x in row], dtype=torch.float64)
    return Ragged(values, tuple(len(row) for row in rows))


# One pair: log p of the chosen is -3 over 2 tokens, of the rejected -4 over 4; under the reference
# -4 and -3.5. So D_w = 1, D_l = -1/2, and the means per token are -3/2, -1 and 1/2, -1/8.
POLICY = (ragged([-1.0, -2.0]), ragged([-1.0, -1.0, -1.0, -1.0]))
REFERENCE = (ragged([-2.0, -2.0]), ragged([-0.5, -1.0, -1.0, -1.0]))


def wins(chosen, rejected):
    values = {"win_chosen": [chosen], "win_rejected": [rejected]}
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}


WINS = wins(0.8, 0.4)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def odds(mean):
    return math.exp(mean) / (1 - math.exp(mean))


BY_HAND = {
    "dpo": (partial(dpo, beta=0.5), -math.log(sigmoid(0.75)), 0.5, -0.25),
    "ipo sum": (partial(ipo, beta=0.5, reduction="sum"), (1.5 - 1) ** 2, 0.5, -0.25),
    "ipo mean": (partial(ipo, beta=0.5, reduction="mean"), (0.625 - 1) ** 2, 0.25, -0.0625),
    "sppo_soft": (
        partial(sppo_soft, beta=0.5),
        0.5 * ((1 - 0.6) ** 2 + (-0.5 + 0.2) ** 2),
        0.5,
        -0.25,
    ),
    "sppo_hard": (make_objective("sppo_hard", beta=0.5), 0.5 * (0 + 0.5**2), 0.5, -0.25),
    "simpo": (partial(simpo, beta=2.0, gamma=0.5), -math.log(sigmoid(-1.5)), -3.0, -2.0),
    "orpo": (
        partial(orpo, coefficient=0.5),
        1.5 - 0.5 * math.log(sigmoid(math.log(odds(-1.5) / odds(-1.0)))),
        math.log(odds(-1.5)),
        math.log(odds(-1.0)),
    ),
    "rpo": (partial(rpo, beta=0.5, alpha=2.0), -math.log(sigmoid(0.75)) + 2 * 1.5, 0.5, -0.25),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_value_and_implicit_rewards_by_hand(name):
    objective, value, chosen, rejected = BY_HAND[name]
    loss = objective(POLICY, REFERENCE, WINS)
    assert loss.values.item() == pytest.approx(value, rel=1e-12)
    assert loss.metrics["implicit_chosen"].item() == pytest.approx(chosen)
    assert loss.metrics["implicit_rejected"].item() == pytest.approx(rejected)
    assert loss.metrics["margin"].item() == pytest.approx(chosen - rejected)
    assert loss.metrics["accuracy"].item() == float(chosen > rejected)
    assert (loss.metrics["logp_chosen"].item(), loss.metrics["logp_rejected"].item()) == (-3, -4)


def test_soft_sppo_pulls_each_log_ratio_to_its_own_target():
    """d/dD_w = D_w - (P_w - 1/2)/beta: 1 - 0.6 = 0.4 for each chosen token, -0.3 for rejected."""
    values = [slot.values.clone().requires_grad_() for slot in POLICY]
    policy = tuple(Ragged(v, s.lengths) for v, s in zip(values, POLICY, strict=True))
    sppo_soft(policy, REFERENCE, WINS, beta=0.5).values.sum().backward()
    assert values[0].grad.tolist() == pytest.approx([0.4] * 2, rel=1e-12)
    assert values[1].grad.tolist() == pytest.approx([-0.3] * 4, rel=1e-12)


def test_sppo_hard_is_soft_sppo_with_certain_wins():
    hard = make_objective("sppo_hard")(POLICY, REFERENCE, {})
    assert torch.equal(
        hard.values, make_objective("sppo_soft")(POLICY, REFERENCE, wins(1.0, 0.0)).values
    )


logp = st.floats(-30.0, 0.0)
pairs = st.lists(
    st.integers(1, 5).flatmap(
        lambda n: st.tuples(
            *[st.lists(logp, min_size=k, max_size=k) for k in (n, n, 6 - n, 6 - n)],
            st.floats(0, 1),
            st.floats(0, 1),
        )
    ),
    min_size=1,
    max_size=4,
)


def batch(rows):
    policy = ragged(*[r[0] for r in rows]), ragged(*[r[2] for r in rows])
    reference = ragged(*[r[1] for r in rows]), ragged(*[r[3] for r in rows])
    columns = {
        "win_chosen": torch.tensor([r[4] for r in rows], dtype=torch.float64),
        "win_rejected": torch.tensor([r[5] for r in rows], dtype=torch.float64),
    }
    for slot in policy:
        slot.values.requires_grad_()
    return policy, reference, columns


@pytest.mark.parametrize("name", OBJECTIVES)
@given(rows=pairs)
@settings(max_examples=25, deadline=None)
def test_a_batch_is_its_examples_one_by_one_to_the_last_bit(name, rows):
    objective = make_objective(name)
    policy, reference, columns = batch(rows)
    together = objective(policy, reference, columns)
    together.values.sum().backward()
    grads = [slot.values.grad.split(slot.lengths) for slot in policy]
    assert set(together.metrics) >= METRICS
    for i, row in enumerate(rows):
        slots, ref, cols = batch([row])
        alone = objective(slots, ref, cols)
        alone.values.sum().backward()
        assert torch.equal(alone.values[0], together.values[i])
        for metric, value in together.metrics.items():
            assert not value.requires_grad
            assert torch.equal(alone.metrics[metric][0], value[i])
        for slot, grad in zip(slots, grads, strict=True):
            assert torch.equal(slot.values.grad, grad[i])
            assert grad[i].isfinite().all()


@given(rows=pairs)
@settings(max_examples=25, deadline=None)
def test_a_policy_that_is_its_reference_pays_the_losses_of_chance(rows):
    policy, _, columns = batch(rows)
    at = {n: make_objective(n)(policy, policy, columns) for n in ("dpo", "ipo", "sppo_hard", "rpo")}
    assert at["dpo"].values.tolist() == [LOG_2] * len(rows)
    assert at["dpo"].metrics["accuracy"].tolist() == [0.0] * len(rows)
    assert at["ipo"].values.tolist() == pytest.approx([(1 / 1.2) ** 2] * len(rows))
    assert at["sppo_hard"].values.tolist() == pytest.approx([500.0**2] * len(rows))
    nll = at["rpo"].metrics["nll"]
    torch.testing.assert_close(at["rpo"].values, nll + LOG_2)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_step_down_the_gradient_widens_the_margin(name):
    """Where the pair is not yet separated, every loss raises chosen against rejected."""
    values = [torch.full((3,), -1.0, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    policy = tuple(Ragged(v, (3,)) for v in values)
    fixed = tuple(Ragged(v.detach().clone(), (3,)) for v in values)
    make_objective(name)(policy, fixed, WINS).values.sum().backward()
    assert (values[0].grad - values[1].grad < 0).all()


def test_float32_survives_certain_and_impossible_tokens():
    values = [torch.tensor([0.0, -1e-9]), torch.tensor([-1e4, -300.0])]
    for name in OBJECTIVES:
        leaves = [v.clone().requires_grad_() for v in values]
        policy = tuple(Ragged(v, (2,)) for v in leaves)
        reference = tuple(Ragged(v, (2,)) for v in reversed(values))
        loss = make_objective(name)(policy, reference, WINS)
        loss.values.sum().backward()
        assert loss.values.isfinite().all(), name
        assert all(leaf.grad.isfinite().all() for leaf in leaves), name


def test_the_table_says_what_each_loss_reads():
    for name, spec in OBJECTIVES.items():
        columns = {key: WINS[key] for key in spec.columns}
        make_objective(name)(POLICY, REFERENCE if spec.reference else None, columns)
        if spec.reference:
            with pytest.raises(SolverError, match="reference"):
                make_objective(name)(POLICY, None, columns)
        for key in spec.columns:
            with pytest.raises(SolverError, match=key):
                make_objective(name)(POLICY, REFERENCE, {k: WINS[k] for k in columns if k != key})
        with pytest.raises(SolverError, match="1 completions"):
            make_objective(name)(POLICY[:1], REFERENCE[:1], WINS)


def test_defaults_are_the_papers():
    defaults = {name: spec.defaults for name, spec in OBJECTIVES.items()}
    assert defaults["dpo"] == {"beta": 0.05}
    assert defaults["sppo_soft"] == defaults["sppo_hard"] == {"beta": 0.001}
    assert defaults["simpo"] == {"beta": 10.0, "gamma": 5.0}
    assert defaults["orpo"] == {"coefficient": 0.5}


@pytest.mark.parametrize(
    ("name", "hyper", "message"),
    [
        ("dpoo", {}, "did you mean 'dpo'"),
        ("simpo", {"gama": 1.0}, "did you mean 'gamma'"),
        ("dpo", {"beta": 0.0}, "beta = 0.0, expected a finite number above 0"),
        ("dpo", {"beta": "0.1"}, "beta = '0.1'"),
        ("orpo", {"coefficient": math.nan}, "coefficient = nan"),
        ("rpo", {"alpha": -1}, "alpha = -1, expected a finite number of at least 0"),
        ("ipo", {"reduction": "max"}, "'sum' or 'mean'"),
    ],
)
def test_a_loss_that_cannot_be_is_refused(name, hyper, message):
    with pytest.raises(ConfigError, match=message):
        make_objective(name, **hyper)


def test_the_losses_can_be_listed_without_torch():
    code = "import sys, eva.solver.objectives as o; o.OBJECTIVES; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
