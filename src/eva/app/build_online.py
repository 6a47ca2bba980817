"""From a config to the parts of an online game."""

from __future__ import annotations

from collections.abc import Sequence

from eva.app import config
from eva.app.config_online import PolicyGradient
from eva.creator.noise import Correction
from eva.creator.online import BufferCreator, OnlineSizes
from eva.creator.pace import AtOnce, Background
from eva.protocols import Evolver, Gate, Informativeness, Sampler
from eva.protocols_online import Learner, Pace
from eva.solver.objectives import make_objective
from eva.solver.online import OaifLearner, make_policy_gradient_learner
from eva.solver.pairs import PairSettings
from eva.solver.updates import UpdateSettings
from eva.types import Prompt


def learner(game: config.Config) -> Learner:
    """Return what trains the policy, step by step; no model is needed.

    Raises:
        ConfigError: settings that make no loss.
    """
    section, objective = game.solver, game.solver.objective
    updates = UpdateSettings(
        epochs=section.epochs,
        minibatch=game.online.minibatch or None,
        lr=section.learning_rate,
        schedule=section.schedule,
        warmup=section.warmup,
        clip=section.clip or None,
        seed=game.seed,
    )
    if isinstance(objective, PolicyGradient):
        length = {"length": game.answers.max_tokens} if objective.name == "dr_grpo" else {}
        return make_policy_gradient_learner(
            objective.name, updates=updates, **objective.settings(), **length
        )
    return OaifLearner(
        objective=make_objective("dpo", **objective.model_dump(exclude={"name"})),
        updates=updates,
        pairs=PairSettings(
            rejected="random" if section.pairs.name == "best_random" else "worst",
            margin=section.pairs.margin,
            truncated_chosen=section.pairs.truncated_chosen,
        ),
    )


def buffer_creator(
    game: config.Config,
    human: Sequence[Prompt],
    *,
    informativeness: Informativeness,
    sampler: Sampler,
    evolver: Evolver | None,
    gates: Sequence[Gate],
    correction: Correction | None,
) -> BufferCreator:
    """Return the creator of a config; `static` takes human prompts alone, over and over."""
    section, creator = game.online, game.creator
    evolves = creator.name == "eva"
    return BufferCreator(
        human,
        informativeness=informativeness,
        sampler=sampler,
        evolver=evolver,
        gates=gates,
        correction=correction,
        sizes=OnlineSizes(
            batch=section.batch,
            buffer=section.buffer,
            replayed=section.replayed,
            evolved=section.evolved if evolves else 0.0,
            children=creator.children,
            bootstrap_children=section.bootstrap_children,
            shrink=section.shrink,
            staleness=section.staleness,
            draw=section.draw,
        ),
    )


def pace(game: config.Config) -> Pace:
    """Return when seeds are evolved."""
    return Background() if game.online.background else AtOnce()


def keeps_base(game: config.Config) -> bool:
    """Whether every step asks for log-probs of the first policy."""
    objective = game.solver.objective
    charged = isinstance(objective, PolicyGradient) and objective.kl > 0
    return game.schedule == "online" and (charged or objective.name == "oaif")
