"""Online learners: from the scored answers of a step to updates of the policy.

A step's batch is every scored response that has tokens. It is split into minibatches, once per
epoch, and each makes an update. What carries no gradient (advantage 0, and no KL in the loss) is
not sent through the model, but counts in the divisor, so leaving it out changes no update.

Departures from the papers:
- An unscored response is as if it had not been sampled; TRL gives it advantage 0, counts it in the
  divisor, and pulls it to the reference.
- `mask_truncated` (arXiv:2503.14476) leaves truncated responses in the baselines, but out of the
  divisor too; TRL's `grpo` loss divides by them.
- A minibatch whose responses all have advantage 0 makes no update, where an optimiser with moments
  would go on in its old direction.
- OAIF (arXiv:2402.04792) draws two answers and asks which is better; here the pair is chosen from
  the n scored answers as offline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np

from eva.errors import ConfigError, SolverError, unknown_name
from eva.protocols import Engine, Objective
from eva.rng import Streams
from eva.solver.advantages import ADVANTAGES, SCALES, Scale, advantages
from eva.solver.pairs import PairSettings, make_pairs
from eva.solver.policy_gradient import Correction, Level, make_policy_gradient
from eva.solver.reference import Reference, attach_reference
from eva.solver.updates import UpdateSettings, descend
from eva.types import Example, Floats, ScoredGroup

Reduction: TypeAlias = Literal["sequence", "token", "constant"]
REDUCTIONS: tuple[Reduction, ...] = ("sequence", "token", "constant")
PLACES = ("reward", "loss")

ALGORITHMS: Mapping[str, Mapping[str, Any]] = {
    "rloo": {"estimator": "rloo", "level": "sequence_sum"},
    "reinforce": {"estimator": "reinforce", "level": "sequence_sum"},
    "grpo": {"estimator": "grpo", "scale": "group", "level": "token", "kl_in": "loss"},
    "dr_grpo": {"estimator": "grpo", "level": "token", "reduction": "constant", "kl_in": "loss"},
    "gspo": {"estimator": "grpo", "scale": "group", "level": "sequence", "kl_in": "loss"},
}
"""Policy gradients by name: the settings that make them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyGradientSettings:
    """Which policy gradient; the defaults are RLOO's (arXiv:2402.14740). See `ALGORITHMS`."""

    estimator: str = "rloo"
    """How rewards become advantages: a name of `eva.solver.advantages.ADVANTAGES`."""
    scale: Scale = "none"
    """Standard deviation of rewards that advantages are divided by: of the group or batch."""
    level: Level = "sequence_sum"
    """What the clip bounds; see `eva.solver.policy_gradient`."""
    reduction: Reduction = "sequence"
    """`sequence`: the mean over tokens of a response, then over responses; `token`: the mean over
    the minibatch's tokens; `constant`: the sum over tokens, divided by responses times `length`."""
    length: int | None = None
    """Tokens that `constant` divides by: `max_tokens` of the sampler."""
    clip_low: float = 0.2
    """How far the ratio may fall below 1."""
    clip_high: float = 0.2
    """How far the ratio may rise above 1."""
    kl: float = 0.0
    """Coefficient of the divergence from the base policy."""
    kl_in: Literal["reward", "loss"] = "reward"
    """`reward` takes the log-ratio of the whole response off its reward, before the baselines;
    `loss` adds the estimator of arXiv:2402.03300, eq. 4, per token."""
    correction: Correction = "none"
    """Importance correction where the sampler is not the trainer: per token or per response."""
    cap: float = 2.0
    """Greatest weight of the correction."""
    mask_truncated: bool = False
    """Whether truncated responses count in the baselines alone."""

    def __post_init__(self) -> None:
        names = {"estimator": ADVANTAGES, "scale": SCALES, "reduction": REDUCTIONS, "kl_in": PLACES}
        for key, known in names.items():
            if getattr(self, key) not in known:
                raise ConfigError(unknown_name(key, getattr(self, key), known))
        if self.reduction == "constant" and (self.length is None or self.length < 1):
            raise ConfigError(
                f"length = {self.length}, and reduction = 'constant' divides by it: set it to the "
                "sampler's max_tokens"
            )
        if self.level == "sequence_sum" and self.reduction != "sequence":
            raise ConfigError(
                f"reduction = {self.reduction!r} counts tokens, and level = 'sequence_sum' has one "
                "loss per response: take reduction = 'sequence', or level = 'token'"
            )
        # whatever else cannot be is refused now, not after the first answers
        self.objective()

    def objective(self) -> Objective:
        """Return the loss of these settings.

        Raises:
            ConfigError: they make none.
        """
        # the coefficient is checked also where the reward takes it
        make_policy_gradient(kl=self.kl)
        return make_policy_gradient(
            level=self.level,
            reduction="mean" if self.reduction == "sequence" else "sum",
            clip_low=self.clip_low,
            clip_high=self.clip_high,
            kl=self.kl if self.kl_in == "loss" else 0.0,
            correction=self.correction,
            cap=self.cap,
        )

    def penalises(self, place: str) -> bool:
        """Whether divergence from the base policy is penalised in `reward` or in `loss`."""
        return self.kl > 0 and self.kl_in == place

    def normaliser(self, examples: Sequence[Example]) -> float:
        """Return what a minibatch's summed values are divided by."""
        if self.reduction == "token":
            return sum(example.trained_tokens for example in examples)
        return len(examples) * (1 if self.reduction == "sequence" else self.length or 1)


@dataclass(frozen=True, slots=True)
class Rollout:
    """A scored response as an example, and where it comes from."""

    group: int
    """Its group's index among the scored ones."""
    index: int
    """Its own in the group."""
    truncated: bool
    """Whether the token limit cut it off."""
    example: Example
    old: tuple[float, ...] = ()
    """The trainer's log-probs before the first update, (T,); empty where they are not needed."""
    base: tuple[float, ...] = ()
    """The base policy's log-probs, (T,); empty where they are not needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyGradientLearner:
    """Updates a policy by its own scored answers; see `eva.protocols_online.Learner`."""

    settings: PolicyGradientSettings = field(default_factory=PolicyGradientSettings)
    updates: UpdateSettings = field(default_factory=UpdateSettings)

    def learn(
        self, engine: Engine, scored: Sequence[ScoredGroup], *, step: int, total: int
    ) -> Mapping[str, float]:
        """Update the policy on the answers of one step; return what to log.

        Figures, means over responses and then over updates unless said otherwise: the metrics of
        `policy_gradient` on what was trained on; `kl` from the base policy, nats per token;
        `loss`; `grad_norm`; `lr`; `advantage_abs`, over the batch; `examples`, responses that carry
        gradient in one epoch; `skipped`, groups of which none does; `updates` and
        `trained_tokens`, sums. Log-probs that need a pass of their own are computed only where
        something reads them.

        Raises:
            SolverError: loss or gradient not finite, answers without tokens or (for a correction)
                without the sampler's log-probs.
        """
        settings, rollouts = self.settings, recorded(scored)
        kept = [i for i, r in enumerate(rollouts) if not (settings.mask_truncated and r.truncated)]
        plan = [[kept[i] for i in b] for b in self.updates.plan(len(kept), step=step)]
        in_reward = settings.penalises("reward")
        if in_reward:
            rollouts = self._measured(engine, rollouts, updates=len(plan))
        weights = self._advantages(scored, rollouts)
        trained = [i for i in kept if settings.penalises("loss") or weights[i] != 0]
        measured = [rollouts[i] for i in trained]
        if not in_reward:
            measured = self._measured(engine, measured, updates=len(plan))
        examples = self._prepared(measured, weights=[weights[i] for i in trained])
        ready = dict(zip(trained, examples, strict=True))
        work = [
            (
                [ready[i] for i in batch if i in ready],
                settings.normaliser([rollouts[i].example for i in batch]),
            )
            for batch in plan
        ]
        objective = settings.objective()
        figures = descend(engine, work, objective, updates=self.updates, step=step, total=total)
        if kept:
            figures["advantage_abs"] = float(np.mean([abs(weights[i]) for i in kept]))
        if in_reward and rollouts:
            figures["kl"] = float(np.mean([np.mean(_log_ratios(r)) for r in rollouts]))
        alive = {rollouts[i].group for i in trained}
        return figures | {"examples": len(trained), "skipped": len(scored) - len(alive)}

    def _measured(
        self, engine: Engine, rollouts: Sequence[Rollout], *, updates: int
    ) -> list[Rollout]:
        """Add the log-probs that will be read, as they are before the first update."""
        settings, examples = self.settings, [r.example for r in rollouts]
        wanted = updates > 1 or settings.penalises("reward") or settings.correction != "none"
        old = _logprobs(engine, examples, "previous" if wanted else "none")
        base = _logprobs(engine, examples, "base" if settings.kl > 0 else "none")
        return [replace(r, old=o, base=b) for r, o, b in zip(rollouts, old, base, strict=True)]

    def _advantages(
        self, scored: Sequence[ScoredGroup], rollouts: Sequence[Rollout]
    ) -> list[float]:
        """Return the advantage of each rollout, its divergence taken off its reward if asked."""
        settings = self.settings
        rewards: list[list[float | None]] = [[None] * len(one.scores) for one in scored]
        for r in rollouts:
            reward = scored[r.group].rewards[r.index]
            assert reward is not None, "unscored responses are no rollouts"
            penalised = settings.penalises("reward")
            penalty = settings.kl * float(np.sum(_log_ratios(r))) if penalised else 0.0
            rewards[r.group][r.index] = reward - penalty
        found = advantages(rewards, estimator=settings.estimator, scale=settings.scale)
        return [float(found[r.group][r.index]) for r in rollouts]

    def _prepared(self, rollouts: Sequence[Rollout], *, weights: Sequence[float]) -> list[Example]:
        """Return examples with what the loss reads, and no more; `sampled` is also logged."""
        bare = [r.example.prompt_id for r in rollouts if "sampled" not in r.example.tokens]
        if bare and self.settings.correction != "none":
            raise SolverError(
                f"correction = {self.settings.correction!r}, and {len(bare)} answers (first prompt "
                f"{bare[0]}) came without the sampler's log-probs: take a sampler that records "
                "them, or correction = 'none'"
            )
        in_loss = self.settings.penalises("loss")
        return [
            replace(
                r.example,
                columns={"advantage": weight},
                tokens={**({} if bare else r.example.tokens), **({"old": r.old} if r.old else {})},
                reference=(r.base,) if in_loss else None,
            )
            for r, weight in zip(rollouts, weights, strict=True)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class OaifLearner:
    """Trains on pairs of the policy's own newest answers, every step (arXiv:2402.04792)."""

    objective: Objective
    """A loss on pairs: DPO, of `eva.solver.objectives`."""
    updates: UpdateSettings = field(default_factory=UpdateSettings)
    pairs: PairSettings = field(default_factory=PairSettings)
    reference: Literal["base", "none"] = "base"
    """What the loss compares with; `none` for a loss without a reference."""

    def learn(
        self, engine: Engine, scored: Sequence[ScoredGroup], *, step: int, total: int
    ) -> Mapping[str, float]:
        """Update the policy on the pairs of one step; return what to log.

        Figures are the objective's metrics, those of `pair_figures`, and those named alike in
        `PolicyGradientLearner.learn`; `skipped` counts groups that gave no pair.

        Raises:
            SolverError: loss or gradient not finite, or answers without tokens.
        """
        recorded(scored)  # refuses answers without tokens, which would only be counted as skipped
        streams = Streams(self.updates.seed, step, "online/pairs")
        pairing = make_pairs(scored, settings=self.pairs, streams=streams)
        examples = attach_reference(pairing.examples, engine, self.reference)
        batches = self.updates.plan(len(examples), step=step)
        work = [([examples[i] for i in batch], float(len(batch))) for batch in batches]
        figures = descend(
            engine, work, self.objective, updates=self.updates, step=step, total=total
        )
        counts = {"examples": len(examples), "skipped": sum(pairing.skipped.values())}
        return {**pairing.figures, **figures, **counts}


def recorded(scored: Sequence[ScoredGroup]) -> list[Rollout]:
    """Return each scored response that has tokens, in order.

    The sampler's log-probs, where it recorded them, are the example's tokens `sampled`.

    Raises:
        SolverError: there are scored responses, and none has tokens.
    """
    found: list[Rollout] = []
    for place, one in enumerate(scored):
        for i, response in enumerate(one.group.responses):
            if one.rewards[i] is None or not response.token_ids or not one.group.prompt_ids:
                continue
            known = len(response.logprobs) == len(response.token_ids)
            example = Example(
                one.prompt.id,
                one.group.prompt_ids,
                completions=(response.token_ids,),
                tokens={"sampled": response.logprobs} if known else {},
            )
            found.append(Rollout(place, i, response.truncated, example))
    answers = sum(reward is not None for one in scored for reward in one.rewards)
    if answers and not found:
        raise SolverError(
            f"{answers} scored answers (first prompt {scored[0].prompt.id}), and none carries "
            "token ids: online training needs the tokens as they were sampled; take a sampler "
            "that returns them"
        )
    return found


def make_policy_gradient_learner(
    name: str, *, updates: UpdateSettings | None = None, **settings: Any
) -> PolicyGradientLearner:
    """Return an algorithm of `ALGORITHMS`, with `settings` in place of its own.

    Raises:
        ConfigError: no such algorithm or setting, or a value that makes no loss.
    """
    if name not in ALGORITHMS:
        raise ConfigError(unknown_name("online algorithm", name, ALGORITHMS))
    known = PolicyGradientSettings.__dataclass_fields__
    for key in settings:
        if key not in known:
            raise ConfigError(unknown_name(f"setting of {name}", key, known))
    chosen = PolicyGradientSettings(**{**ALGORITHMS[name], **settings})
    return PolicyGradientLearner(settings=chosen, updates=updates or UpdateSettings())


def _logprobs(
    engine: Engine, examples: Sequence[Example], policy: Reference
) -> list[tuple[float, ...]]:
    """Return a policy's log-probs of each example's completion, checked; empty ones of `none`."""
    if not examples:
        return []
    references = [e.reference for e in attach_reference(examples, engine, policy)]
    return [() if slots is None else slots[0] for slots in references]


def _log_ratios(rollout: Rollout) -> Floats:
    """Return log pi_old - log pi_base per token, (T,)."""
    ratios_T: Floats = np.array(rollout.old) - np.array(rollout.base)
    return ratios_T
