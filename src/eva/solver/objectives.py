"""The solver's preference losses, as pure functions of per-token log-probs.

Notation: D_w and D_l are the log-ratios log pi(y)/pi_ref(y) of the chosen and the rejected
response, summed over tokens unless said otherwise. Every function is a `protocols.Objective` with
its hyper-parameters keyword-only, and returns values and metrics of (B,), one per pair.

Departures from the paper (arXiv:2411.00062):
- SPPO comes with win probabilities (`sppo_soft`, the paper's) and with 1 and 0 (`sppo_hard`).
- IPO states whether it compares sums or per-token means; the paper does not say.
- RPO divides the likelihood term by the length once; the published code divides twice.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from eva.errors import ConfigError, SolverError, unknown_name
from eva.solver.ragged import log1mexp, log_sigmoid, means, sums
from eva.types import Loss, Ragged

if TYPE_CHECKING:
    from torch import Tensor

    from eva.protocols import Objective

Slots: TypeAlias = tuple[Ragged, ...]
"""One `Ragged` per completion of the examples: (chosen, rejected)."""
Columns: TypeAlias = "Mapping[str, Tensor | Ragged]"
"""The examples' columns, (B,) each, and their per-token numbers."""
Reduction: TypeAlias = Literal["sum", "mean"]


def dpo(policy: Slots, reference: Slots | None, columns: Columns, *, beta: float = 0.05) -> Loss:
    """-log sigmoid(beta (D_w - D_l)): direct preference optimisation (arXiv:2305.18290, eq. 7)."""
    chosen, rejected = (beta * sums(ratio) for ratio in _log_ratios(policy, reference))
    return Loss(-log_sigmoid(chosen - rejected), _metrics(policy, chosen, rejected))


def ipo(
    policy: Slots,
    reference: Slots | None,
    columns: Columns,
    *,
    beta: float = 0.6,
    reduction: Reduction = "sum",
) -> Loss:
    """(D_w - D_l - 1 / (2 beta))^2: identity preference optimisation (arXiv:2310.12036, eq. 17).

    `reduction` says whether D is a sum over tokens, as the formula is printed, or a mean per token,
    as the authors of IPO and TRL compute it. A `beta` does not carry over from one to the other.
    """
    reduce = means if reduction == "mean" else sums
    chosen, rejected = (reduce(ratio) for ratio in _log_ratios(policy, reference))
    values = (chosen - rejected - 1 / (2 * beta)) ** 2
    return Loss(values, _metrics(policy, beta * chosen, beta * rejected))


def sppo_soft(
    policy: Slots, reference: Slots | None, columns: Columns, *, beta: float = 0.001
) -> Loss:
    """1/2 [(D_w - (P_w - 1/2)/beta)^2 + (D_l - (P_l - 1/2)/beta)^2] (arXiv:2405.00675).

    P is the mean win probability of a response against all n samples of its prompt, read from the
    columns `win_chosen` and `win_rejected`.
    """
    wins = _column(columns, "win_chosen"), _column(columns, "win_rejected")
    return _self_play(policy, reference, wins=wins, beta=beta)


def sppo_hard(
    policy: Slots, reference: Slots | None, columns: Columns, *, beta: float = 0.001
) -> Loss:
    """SPPO with win probabilities 1 and 0: 1/2 [(D_w - 1/(2 beta))^2 + (D_l + 1/(2 beta))^2]."""
    return _self_play(policy, reference, wins=(1.0, 0.0), beta=beta)


def simpo(
    policy: Slots,
    reference: Slots | None,
    columns: Columns,
    *,
    beta: float = 10.0,
    gamma: float = 5.0,
) -> Loss:
    """-log sigmoid(beta (mean logp_w - mean logp_l) - gamma) (arXiv:2405.14734, eq. 6).

    No reference. `gamma` is the target margin itself, not its ratio to `beta`.
    """
    chosen, rejected = (beta * means(slot) for slot in _pair(policy))
    return Loss(-log_sigmoid(chosen - rejected - gamma), _metrics(policy, chosen, rejected))


def orpo(
    policy: Slots,
    reference: Slots | None,
    columns: Columns,
    *,
    coefficient: float = 0.5,
) -> Loss:
    """NLL_w - lambda log sigmoid(log odds_w - log odds_l) (arXiv:2403.07691, eq. 6 and 7).

    `coefficient` is lambda, and odds = P / (1 - P) with P the geometric mean of the token
    probabilities; NLL_w is the mean over the tokens of the chosen response. No reference.
    """
    mean_w, mean_l = (means(slot) for slot in _pair(policy))
    chosen, rejected = mean_w - log1mexp(mean_w), mean_l - log1mexp(mean_l)
    values = -mean_w - coefficient * log_sigmoid(chosen - rejected)
    return Loss(values, _metrics(policy, chosen, rejected) | {"nll": -mean_w.detach()})


def rpo(
    policy: Slots,
    reference: Slots | None,
    columns: Columns,
    *,
    beta: float = 0.1,
    alpha: float = 1.0,
) -> Loss:
    """DPO + alpha NLL_w, the mean over the tokens of the chosen response (arXiv:2404.19733, eq. 1).

    That is "iterative RPO", which the paper's code calls RPO.
    """
    preference = dpo(policy, reference, columns, beta=beta)
    nll = -means(policy[0])
    return Loss(preference.values + alpha * nll, {**preference.metrics, "nll": nll.detach()})


@dataclass(frozen=True, slots=True)
class ObjectiveSpec:
    """A loss of the table below and what it has to be given."""

    function: Callable[..., Loss]
    reference: bool
    """Whether it reads log-probs of a reference policy."""
    columns: tuple[str, ...] = ()
    """Columns of the examples that it reads."""

    @property
    def defaults(self) -> dict[str, Any]:
        """Its hyper-parameters with their defaults: the paper's where it has the loss."""
        parameters = inspect.signature(self.function).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


OBJECTIVES: Mapping[str, ObjectiveSpec] = {
    "dpo": ObjectiveSpec(dpo, reference=True),
    "ipo": ObjectiveSpec(ipo, reference=True),
    "sppo_soft": ObjectiveSpec(sppo_soft, reference=True, columns=("win_chosen", "win_rejected")),
    "sppo_hard": ObjectiveSpec(sppo_hard, reference=True),
    "simpo": ObjectiveSpec(simpo, reference=False),
    "orpo": ObjectiveSpec(orpo, reference=False),
    "rpo": ObjectiveSpec(rpo, reference=True),
}


def make_objective(name: str, **hyper: Any) -> Objective:
    """Return a loss of `OBJECTIVES` with its hyper-parameters set.

    Raises:
        ConfigError: no such loss or hyper-parameter, or a value that makes no loss.
    """
    if name not in OBJECTIVES:
        raise ConfigError(unknown_name("objective", name, OBJECTIVES))
    spec = OBJECTIVES[name]
    for key, value in hyper.items():
        if key not in spec.defaults:
            raise ConfigError(unknown_name(f"hyper-parameter of {name}", key, spec.defaults))
        if key == "reduction":
            valid, expected = value in ("sum", "mean"), "'sum' or 'mean'"
        elif key == "beta":
            valid, expected = _finite(value) and value > 0, "a finite number above 0"
        else:
            valid, expected = _finite(value) and value >= 0, "a finite number of at least 0"
        if not valid:
            raise ConfigError(f"{name}: {key} = {value!r}, expected {expected}")
    return partial(spec.function, **hyper)


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _self_play(
    policy: Slots,
    reference: Slots | None,
    *,
    wins: tuple[Tensor | float, Tensor | float],
    beta: float,
) -> Loss:
    chosen, rejected = (sums(ratio) for ratio in _log_ratios(policy, reference))
    target_w, target_l = ((win - 0.5) / beta for win in wins)
    values = 0.5 * ((chosen - target_w) ** 2 + (rejected - target_l) ** 2)
    return Loss(values, _metrics(policy, beta * chosen, beta * rejected))


def _pair(slots: Slots) -> tuple[Ragged, Ragged]:
    if len(slots) != 2:
        raise SolverError(
            f"a preference loss got {len(slots)} completions per example, expected chosen and "
            "rejected: build the examples with eva.solver.pairs"
        )
    return slots[0], slots[1]


def _log_ratios(policy: Slots, reference: Slots | None) -> tuple[Ragged, Ragged]:
    """Return log pi/pi_ref per token; subtracting before summing keeps small ratios exact."""
    if reference is None:
        raise SolverError(
            "this loss compares with a reference policy, and the examples carry none: attach "
            "'previous' or 'base' with eva.solver.reference, or choose simpo or orpo"
        )
    (new_w, new_l), (old_w, old_l) = _pair(policy), _pair(reference)
    return (
        Ragged(new_w.values - old_w.values, new_w.lengths),
        Ragged(new_l.values - old_l.values, new_l.lengths),
    )


def _column(columns: Columns, name: str) -> Tensor:
    if name not in columns:
        have = ", ".join(sorted(columns)) or "none"
        raise SolverError(
            f"sppo_soft reads the column {name!r}, and the examples have: {have}; build them with "
            "eva.solver.pairs, or choose sppo_hard"
        )
    column = columns[name]
    if isinstance(column, Ragged):
        raise SolverError(
            f"sppo_soft reads one {name!r} per example, and got one per token: put it into the "
            "examples' columns, not their tokens"
        )
    return column


def _metrics(policy: Slots, chosen: Tensor, rejected: Tensor) -> dict[str, Tensor]:
    """Return what every pairwise loss logs; `chosen` and `rejected` are its implicit rewards."""
    margin = (chosen - rejected).detach()
    return {
        "margin": margin,
        "accuracy": (margin > 0).to(margin.dtype),
        "implicit_chosen": chosen.detach(),
        "implicit_rejected": rejected.detach(),
        "logp_chosen": sums(policy[0]).detach(),
        "logp_rejected": sums(policy[1]).detach(),
    }
