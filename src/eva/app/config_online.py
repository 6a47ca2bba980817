"""The config of online eva: its sizes, and the objectives that train step by step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from eva.app.config_parts import InstructEvolver, Section, Share

if TYPE_CHECKING:
    from eva.app.config import Config


class Online(Section):
    """Online eva: prompts evolve batch by batch, as the policy trains."""

    steps: Annotated[int, Field(gt=0)] = 100
    """Steps of a round. A round is what is recorded, evaluated and kept as a policy together."""
    batch: Annotated[int, Field(gt=0)] = 8
    """Prompts of a step. Paper: 8."""
    buffer: Annotated[int, Field(gt=0)] = 3200
    """Most prompts in the buffer. Paper: 3200."""
    replayed: Share = 0.5
    """Share of a mix-up batch that comes from the buffer. Paper: 4 of 8."""
    evolved: Share = 0.5
    """Share of a batch that is evolved. Paper: the top half."""
    bootstrap_children: Annotated[int, Field(ge=0)] = 2
    """Rewrites per seed once the human set is exhausted; before, `creator.children`. Paper: 2."""
    shrink: Share = 0.5
    """How far a child's priority is drawn from its seed's informativeness to the mean."""
    staleness: Annotated[float, Field(ge=0)] = 0.0
    """Rate at which a priority fades with every step. Paper: 0."""
    draw: Literal["proportional", "uniform", "greedy"] = "proportional"
    """How prompts are drawn from the buffer. Paper: in proportion to informativeness."""
    refills: Annotated[int, Field(ge=0)] = 0
    """How often a step draws again for prompts whose answers all earn the same. Paper: never."""
    background: bool = False
    """Whether another model rewrites while the policy trains on; such a run is not repeatable."""
    minibatch: Annotated[int, Field(ge=0)] = 0
    """Responses per update; 0 takes all of the step's."""


class PolicyGradient(Section):
    """Policy gradient on the answers of a step; see `eva.solver.online.ALGORITHMS`."""

    name: Literal["rloo", "reinforce", "grpo", "dr_grpo", "gspo"]
    scale: Literal["auto", "none", "group", "batch"] = "auto"
    """Standard deviation that advantages are divided by; `auto` is the algorithm's own."""
    kl: Annotated[float, Field(ge=0)] = 0.0
    """Coefficient of the divergence from the first policy."""
    kl_in: Literal["auto", "reward", "loss"] = "auto"
    """Where it is charged; `auto` is the algorithm's own."""
    clip_low: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """How far the ratio may fall below 1 where a batch is used more than once."""
    clip_high: Annotated[float, Field(gt=0)] = 0.2
    """How far it may rise above 1."""
    correction: Literal["none", "token", "sequence"] = "none"
    """Importance correction where the sampler is not the trainer (`policy.generation_dtype`)."""
    cap: Annotated[float, Field(gt=0)] = 2.0
    """Greatest weight of the correction."""
    mask_truncated: bool = False
    """Whether truncated answers count in the baselines alone."""

    def settings(self) -> dict[str, object]:
        """Return what is to differ from the algorithm's own."""
        given = self.model_dump(exclude={"name"})
        return {key: value for key, value in given.items() if value != "auto"}


class Oaif(Section):
    """Pairs of every step's answers, with the loss of DPO against the first policy."""

    name: Literal["oaif"]
    beta: Annotated[float, Field(gt=0)] = 0.1


def misfits(game: Config) -> Iterator[str]:
    """Yield what of a config does not go together with its schedule."""
    objective, solver = game.solver.objective, game.solver
    trains_online = isinstance(objective, PolicyGradient | Oaif)
    if game.schedule == "offline":
        if trains_online:
            yield (
                f"solver.objective {objective.name!r} trains step by step: set schedule = "
                "'online', or take an offline objective such as 'dpo'"
            )
        return
    if not trains_online:
        yield (
            f"solver.objective {objective.name!r} trains on pairs of a whole round: online, take "
            "rloo, grpo, dr_grpo, gspo, reinforce, or oaif for pairs of every step"
        )
    if game.creator.name == "new_human":
        yield (
            "creator.name 'new_human': online takes new human prompts from the set by itself; "
            "take 'static', with prompts.per_round as large as wanted"
        )
    if game.policy.serve:
        yield "policy.serve would start a server for every step: drop it, the local engine answers"
    if solver.rewrite:
        yield "solver.rewrite improves the answers of a whole round: take schedule = 'offline'"
    if game.creator.sampler.name == "topic_blended":
        yield (
            "creator.sampler 'topic_blended' balances the topics of a whole round, and online "
            "draws from a batch: take 'greedy' or 'weighted'"
        )
    if solver.start == "scratch":
        yield "solver.start 'scratch' begins rounds anew, and online goes on: take 'incremental'"
    if solver.reference not in {"auto", "base"}:
        yield f"solver.reference {solver.reference!r}: online takes the first policy: 'base'"
    if game.budget.tokens or game.budget.match:
        yield "budget: online plays a number of steps: set rounds and online.steps"
    if game.run.processes > 1:
        yield (
            "run.processes: online trains in one process; on several GPUs, let eva be a guest in "
            "a trainer: eva.integrations.trl"
        )
    evolver = game.creator.evolver
    if game.online.background and not (isinstance(evolver, InstructEvolver) and evolver.elsewhere):
        yield (
            "online.background: only another model can rewrite while the policy trains: set "
            "creator.evolver.model or creator.evolver.server, or background = false"
        )
