"""What a game will cost in prompts, answers, tokens and updates: arithmetic on its config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from eva.app.build_online import keeps_base
from eva.app.config import Config
from eva.app.config_parts import InstructEvolver, NoEvolver
from eva.creator.grading import GRADING_PARAMS, QUESTIONS
from eva.solver.reference import reference_for

TYPICAL = 0.5
"""Share of the token limit that a typical answer is taken to use."""


@dataclass(frozen=True, slots=True)
class RoundCount:
    """A round at most: nothing refused, every group a pair, every answer up to the limit."""

    round: int
    human: int
    """Human prompts that the run has."""
    prompts: int
    """That the solver answers."""
    evolved: int
    """Of them, written by eva."""
    answers: int
    """To estimate informativeness, and for the solver."""
    generated_tokens: int
    """Of the answers."""
    rewriter_tokens: int
    """Sampled to evolve prompts, and to rewrite answers."""
    pairs: int
    updates: int
    reference_tokens: int
    """Completion tokens that the reference policy scores."""
    trained_tokens: int
    """Completion tokens that carry gradient, over all epochs."""
    rewrites: int = 0
    """Attempts of a language model at another prompt."""


def count_rounds(game: Config, human: int) -> list[RoundCount]:
    """Return the counts of every round, `human` prompts being there to train on."""
    size = min(game.prompts.per_round, human)
    if game.schedule == "online":
        return [_count_online(game, t, human=size) for t in range(1, game.rounds + 1)]
    counts: list[RoundCount] = []
    for t in range(1, game.rounds + 1):
        earlier = sum(count.prompts for count in counts) if game.solver.start == "scratch" else 0
        counts.append(_count(game, t, originals=size, earlier=earlier))
    return counts


def _count(game: Config, t: int, *, originals: int, earlier: int) -> RoundCount:
    creator, answers, solver = game.creator, game.answers, game.solver
    prompts, evolved, asked, rewrites, rewriter_tokens = originals, 0, 0, 0, 0
    if creator.name == "eva" and t > 1:
        asked = 0 if creator.informativeness == "uniform" else originals
        seeds = seeds_of(game, originals)
        if isinstance(creator.evolver, NoEvolver):
            prompts = seeds
        else:
            evolved = min(seeds * creator.children, round(originals * creator.evolved_share))
        if isinstance(creator.evolver, InstructEvolver):
            rewrites = seeds * creator.children
            rewriter_tokens = rewrites * attempt(creator.evolver)[1]
    replies = (asked + prompts) * answers.n
    if solver.rewrite:
        rewriter_tokens += prompts * solver.rewrite.max_tokens
    pairs = earlier + prompts
    completion = 2 * pairs * answers.max_tokens
    referred = reference_for(solver.objective.name, solver.reference) != "none"
    return RoundCount(
        round=t,
        human=originals,
        prompts=prompts,
        evolved=evolved,
        answers=replies,
        generated_tokens=replies * answers.max_tokens,
        rewriter_tokens=rewriter_tokens,
        pairs=pairs,
        updates=solver.epochs * ceil(pairs / solver.batch_size),
        reference_tokens=completion if referred else 0,
        trained_tokens=completion * solver.epochs,
        rewrites=rewrites,
    )


def _count_online(game: Config, t: int, *, human: int) -> RoundCount:
    section, creator, solver = game.online, game.creator, game.solver
    prompts = section.steps * section.batch
    replies = prompts * game.answers.n * (1 + section.refills)
    evolves = creator.name == "eva" and not isinstance(creator.evolver, NoEvolver)
    seeds = section.steps * ceil(section.evolved * section.batch) if evolves else 0
    pairs = prompts if solver.objective.name == "oaif" else prompts * game.answers.n
    size = pairs // section.steps
    completion = game.answers.max_tokens * prompts * (2 if pairs == prompts else game.answers.n)
    asked = isinstance(creator.evolver, InstructEvolver) and creator.name == "eva"
    tokens = attempt(creator.evolver)[1] if isinstance(creator.evolver, InstructEvolver) else 0
    rewrites = seeds * creator.children if asked else 0
    return RoundCount(
        round=t,
        human=human,
        prompts=prompts,
        evolved=seeds * creator.children,
        answers=replies,
        generated_tokens=replies * game.answers.max_tokens,
        rewriter_tokens=rewrites * tokens,
        pairs=pairs,
        updates=section.steps * solver.epochs * ceil(size / (section.minibatch or size)),
        reference_tokens=completion if keeps_base(game) else 0,
        trained_tokens=completion * solver.epochs,
        rewrites=rewrites,
    )


def phases_of(game: Config, *, human: int) -> dict[str, int]:
    """Return the steps of each phase of an online run, if no child is refused."""
    section, steps = game.online, game.rounds * game.online.steps
    if game.creator.name == "static":
        return {"warm-up": steps, "mix-up": 0, "bootstrap": 0}
    children = game.creator.children
    if isinstance(game.creator.evolver, NoEvolver):
        # the human set begins again where it ends
        children, human = 1, steps * section.batch
    gained = ceil(section.evolved * section.batch) * children
    filling = min(ceil(section.buffer / gained) if gained else steps, human // section.batch)
    warm_up = min(steps, filling)
    fresh = section.batch - round(section.replayed * section.batch)
    left = max(0, human - warm_up * section.batch)
    full = gained > 0 and warm_up * gained >= section.buffer
    mix_up = min(steps - warm_up, (left // fresh if fresh else steps) if full else 0)
    return {"warm-up": warm_up, "mix-up": mix_up, "bootstrap": steps - warm_up - mix_up}


def attempt(evolver: InstructEvolver) -> tuple[int, int]:
    """Return the requests of one attempt at a child, and the most tokens that it can take."""
    questions = len(QUESTIONS) if evolver.best_by == "grades" else 0
    tokens = evolver.max_tokens + questions * GRADING_PARAMS.max_tokens
    return evolver.best_of * (1 + questions), evolver.best_of * tokens


def seeds_of(game: Config, originals: int) -> int:
    """Return how many of the originals are drawn."""
    return min(originals, max(1, round(game.creator.fraction * originals)))


@dataclass(frozen=True, slots=True)
class EvaluationCount:
    """All evaluations of a run, at most."""

    times: int
    prompts: int
    """Each time."""
    tokens: int
    """Sampled in all."""


def evaluations(game: Config) -> int:
    """Return how often a run is evaluated."""
    when = {"never": 0, "after": 1, "ends": 2, "rounds": 1 + game.rounds}
    return when[game.evaluation.when]


def count_evaluation(game: Config, held_out: int) -> EvaluationCount:
    """Return what evaluating costs, `held_out` prompts being measured on."""
    section = game.evaluation
    times = evaluations(game)
    parts = [(held_out, section.max_tokens)] if section.heldout else []
    if section.ifeval:
        size = 64 if section.ifeval.prompts == "fixed64" else 541
        parts.append((size, section.ifeval.max_tokens))
    prompts = sum(size for size, _ in parts)
    tokens = times * sum(size * longest for size, longest in parts)
    return EvaluationCount(times, prompts if times else 0, tokens)


def totals(rounds: Sequence[RoundCount], evaluation: EvaluationCount) -> dict[str, int]:
    """Return the sums over a run, at most."""
    names = ("answers", "generated_tokens", "rewriter_tokens", "pairs", "updates")
    sums = {name: sum(getattr(count, name) for count in rounds) for name in names}
    sums["reference_tokens"] = sum(count.reference_tokens for count in rounds)
    sums["trained_tokens"] = sum(count.trained_tokens for count in rounds)
    return sums | {"evaluation_tokens": evaluation.tokens}
