"""Offline eva (arXiv:2411.00062, Algorithm 1): rounds of a creator's step and a solver's step.

    θ_0 ─ human prompts X_1 ─► θ_1 ─ X_2 evolved from X_1 ─► θ_2 ─ X_3 evolved from X_2 ─► ...

Departures from the paper, and what it leaves open:

- The paper's first round is plain preference optimisation on human prompts; it is round 1 here.
- X_t evolves from the solver's set of the round before (`source = "last"`), as Algorithm 1 has it;
  `human` always evolves the first prompts, `population` whatever was ever admitted.
- The 20 % of originals are answered afresh with the evolved ones, although the creator's step has
  just had answers to them: choosing pairs from the answers that chose the prompt would favour luck.
- Every random draw has a stream of its own, every refused prompt and unscored answer is counted,
  and every stage is committed as it goes: see `eva.rng` and `eva.runs`.
- With a token budget the solver's prompts are answered in order, again and again if need be, until
  generated and trained tokens reach it: so arms of an experiment cost the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from eva import records, schedule
from eva.disagreement import noise
from eva.errors import SolverError
from eva.protocols import Creator, Journal, ResponseRewriter, Solver
from eva.rng import Streams
from eva.schedule import answer_and_score, hold_policy, standing
from eva.types import Evolution, Example, Group, Json, Prompt, ScoredGroup, Stage

__all__ = ["Game", "rounds"]


@dataclass(frozen=True, kw_only=True)
class Game(schedule.Game):
    """The parts of a game of offline eva."""

    solver: Solver
    creator: Creator | None
    """None trains on human prompts only."""
    source: str = "last"
    """What the creator evolves: `last`, `human` or `population`."""
    rewriter: ResponseRewriter | None = None
    """Rewrites the best answer of every prompt before pairs are made; None rewrites none."""
    new_human: bool = False
    """Whether every round takes the next `per_round` human prompts."""
    budget: Mapping[int, int] | None = None
    """Generated plus trained tokens by round, cumulative; None plays every prompt once."""


def rounds(game: Game, journal: Journal, *, until: int) -> Iterator[Mapping[str, Json]]:
    """Play rounds 1 to `until` and yield their records; committed ones are not played again."""
    return schedule.rounds(game, journal, until=until, play=partial(play_round, game, journal))


def play_round(
    game: Game, journal: Journal, history: Sequence[Mapping[str, Json]]
) -> Mapping[str, Json]:
    """Play the next round: choose prompts, answer and score them, pair, train the last policy."""
    t = len(history) + 1
    hold_policy(game, journal, standing(game, journal, t - 1))
    prompts, creator = creator_step(game, journal, history)
    if game.budget is None:
        scored = answer_and_score(game, journal, Stage(t, "solver"), prompts=prompts)
    else:
        left = game.budget[t] - records.tokens(*history, creator)
        if left <= 0:
            raise SolverError(
                f"round {t}: evolving took {records.tokens(creator)} tokens, and none of the "
                f"{game.budget[t]} that the budget allows by the end of this round is left for "
                "answers: raise budget.tokens, or draw fewer seeds, candidates or children"
            )
        scored = answers_within(game, journal, t, prompts=prompts, tokens=left)
    improved, rewrites = rewrite_answers(game, journal, t, scored=scored)
    solver = {**solver_step(game, journal, t, scored=improved), **rewrites}
    record = records.of_round(t, prompts=prompts, creator=creator, scored=scored, solver=solver)
    record |= game.servers()
    journal.log(Stage(t, "record"), records.figures(record))
    return record


def creator_step(
    game: Game, journal: Journal, history: Sequence[Mapping[str, Json]]
) -> tuple[list[Prompt], Mapping[str, Json]]:
    """Estimate, sample, evolve, mix; return the solver's prompts and what happened."""
    t = len(history) + 1
    originals = original_prompts(game, journal, history)
    creator, streams = game.creator, Streams(game.seed, t, "creator")
    if creator is None or t == 1:
        return originals, {}
    scored = (
        answer_and_score(game, journal, Stage(t, "creator"), prompts=originals)
        if creator.estimates
        else []
    )

    def estimate_and_sample() -> Json:
        rewards = [group.rewards for group in scored] or [()] * len(originals)
        info = creator.estimate(rewards, noise(scored))
        drawn = creator.sample(info.values, streams.at("creator/sample"), originals)
        return records.of_sample(originals, info, drawn)

    sample = journal.once(Stage(t, "creator/sample"), estimate_and_sample)
    evolutions = journal.map(
        Stage(t, "creator/evolve"),
        [originals[i] for i in sample["drawn"]],
        lambda seeds: creator.evolve(seeds, journal, streams.at("creator/evolve")),
        rows=Evolution,
        chunk=game.chunk,
    )
    known = {prompt.id: prompt for prompt in originals}
    known |= {child.id: child for evolution in evolutions for child in evolution.children}

    def mixed() -> Json:
        return [p.id for p in creator.mix(evolutions, originals, streams.at("creator/mix"))]

    prompts = [known[id] for id in journal.once(Stage(t, "creator/mix"), mixed)]
    return prompts, records.of_creator(scored, sample, evolutions)


def original_prompts(
    game: Game, journal: Journal, history: Sequence[Mapping[str, Json]]
) -> list[Prompt]:
    """Return X_t before evolving: the last round's prompts, human ones, or the population."""
    t = len(history) + 1
    first = list(game.human[: game.per_round])
    if game.new_human:
        fresh = list(game.human[(t - 1) * game.per_round : t * game.per_round])
        journal.admit(fresh)
        return fresh
    if t == 1 or game.creator is None or game.source == "human":
        return first
    if game.source == "population":
        # a resumed round finds its own children in the population, and must not draw from them
        everyone = [prompt for prompt in journal.prompts() if prompt.born < t]
        keep = Streams(game.seed, t, "creator/source").of().permutation(len(everyone))
        return [everyone[i] for i in sorted(keep[: game.per_round])]
    return journal.prompts(history[-1]["prompts"])


def answers_within(
    game: Game, journal: Journal, t: int, *, prompts: Sequence[Prompt], tokens: int
) -> list[ScoredGroup]:
    """Answer prompts in order, again and again if need be, until the tokens are spent.

    What counts is generated tokens plus what training on the resulting pairs will process. Blocks
    shrink towards the end, so that the budget is met to within half a prompt's cost.
    """
    scored: list[ScoredGroup] = []
    spent, block = 0, 0
    size = max(1, game.chunk // 8)
    while prompts and size and (spent or len(scored) < len(prompts)):
        again, begin = divmod(len(scored), len(prompts))
        some = prompts[begin : begin + min(size, game.chunk)]
        stage = Stage(t, f"solver/block-{block:04d}")
        # the first pass has the draws of a run without a budget: arms share their luck
        draws = f"solver/answer/{again}" if again else "solver/answer"
        scored += answer_and_score(game, journal, stage, prompts=some, draws=draws)
        pairing = game.solver.pair(scored, Streams(game.seed, t, "solver/pairs"))
        generated = sum(group.group.generated_tokens for group in scored)
        spent = generated + game.solver.cost(pairing.examples)
        size = round((tokens - spent) / max(spent / len(scored), 1))
        size, block = max(0, size if size < 4 else size // 2), block + 1
    return scored


def rewrite_answers(
    game: Game, journal: Journal, t: int, *, scored: Sequence[ScoredGroup]
) -> tuple[Sequence[ScoredGroup], Mapping[str, Json]]:
    """Let the policy rewrite its best answers, and the reward score them beside the others."""
    rewriter = game.rewriter
    if rewriter is None:
        return scored, {}
    streams = Streams(game.seed, t, "solver/rewrite/answer")
    groups = journal.map(
        Stage(t, "solver/rewrite/answer"),
        scored,
        lambda chunk: rewriter.rewrite(chunk, game.engine, streams),
        rows=Group,
        chunk=game.chunk,
    )
    rewrites = journal.map(
        Stage(t, "solver/rewrite/score"),
        groups,
        game.reward.score,
        rows=ScoredGroup,
        chunk=game.chunk,
    )
    both = [group.joined(new) for group, new in zip(scored, rewrites, strict=True)]
    return both, records.of_rewrites(scored, rewrites)


def solver_step(
    game: Game, journal: Journal, t: int, *, scored: Sequence[ScoredGroup]
) -> Mapping[str, Json]:
    """Pair the answers and train on the pairs; return what happened."""
    solver = game.solver
    pairing = solver.pair(scored, Streams(game.seed, t, "solver/pairs"))
    if not pairing.examples:
        raise SolverError(
            f"round {t}: none of {len(scored)} prompts gave a pair {dict(pairing.skipped)}: ask "
            "for more answers, a higher temperature or more tokens, or take other prompts"
        )
    if solver.scratch or solver.carries:
        start = 0 if solver.scratch else standing(game, journal, t - 1)
        hold_policy(game, journal, start, optimiser=solver.carries)
    earlier = range(1, t) if solver.scratch else ()
    past = [e for r in earlier for e in journal.read(Stage(r, "solver/new_pairs"), Example)]
    new = journal.map(
        Stage(t, "solver/new_pairs"),
        pairing.examples,
        lambda examples: examples,
        rows=Example,
        chunk=game.chunk,
    )
    examples = journal.map(
        Stage(t, "solver/pairs"),
        [*past, *new],
        lambda chunk: solver.refer(game.engine, chunk),
        rows=Example,
        chunk=game.chunk,
    )
    streams = Streams(game.seed, t, "solver/train")
    training = solver.train(game.engine, examples, journal, streams)
    return records.of_solver(pairing, training)
