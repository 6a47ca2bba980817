"""What a game will ask of servers, and what that costs at most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from eva.app.config import Config
from eva.app.config_judge import Judge, JudgeSection, Pairwise
from eva.app.config_parts import InstructEvolver
from eva.app.config_servers import Server
from eva.app.servers import key_of
from eva.creator.operators import operator_set
from eva.planning.counting import RoundCount, attempt, evaluations
from eva.rewards.judge_check import cases
from eva.rewards.judging import COMPARISON, RUBRIC


@dataclass(frozen=True, slots=True)
class ServerCount:
    """A server over a run, if every request is answered in full at the first try."""

    role: str
    model: str
    url: str
    requests: int
    prompt_tokens: int
    """An estimate: characters stand for tokens where the server's tokenizer is not known."""
    generated_tokens: int
    cost: float
    """At the config's prices."""
    max_cost: float


def count_servers(
    game: Config, rounds: Sequence[RoundCount], *, longest: int
) -> Iterator[ServerCount]:
    """Yield what will be asked of each server; `longest` is the tokens of the longest prompt.

    Raises:
        ConfigError: the environment does not hold a server's key.
    """
    yield from _rewriter(game, rounds, longest=longest)
    for leaf in game.reward.leaves():
        if isinstance(leaf, Judge | Pairwise) and leaf.server:
            yield _judge(game, rounds, leaf, server=leaf.server, longest=longest)


def _rewriter(game: Config, rounds: Sequence[RoundCount], *, longest: int) -> Iterator[ServerCount]:
    evolver, creator = game.creator.evolver, game.creator
    if creator.name != "eva" or not isinstance(evolver, InstructEvolver) or not evolver.server:
        return
    key_of(evolver.server)
    own = [operator.model_dump() for operator in creator.operators]
    chosen = operator_set(list(evolver.operators) or evolver.name, operators=own)
    template = max(len(operator.template) for operator in chosen) // 3
    attempts = sum(count.rewrites for count in rounds)
    requests, tokens = attempt(evolver)
    # what was rewritten once may be as long as a rewrite
    read = max(longest, evolver.max_tokens) + template
    yield counted(
        evolver.server,
        role="rewriter",
        requests=attempts * requests,
        read=attempts * requests * read,
        written=attempts * tokens,
    )


def _judge(
    game: Config, rounds: Sequence[RoundCount], leaf: JudgeSection, *, server: Server, longest: int
) -> ServerCount:
    key_of(server)
    heldout, evolver, n = game.evaluation.heldout, game.creator.evolver, game.answers.n
    answers = sum(count.answers for count in rounds)
    tested = 2 * len(cases()) if leaf.self_test else 0
    if isinstance(leaf, Pairwise):
        # every two answers to a prompt, in both orders
        requests, shown, template = answers * (n - 1), 2, leaf.template or COMPARISON
    else:
        rewritten = sum(count.prompts for count in rounds) if game.solver.rewrite else 0
        # open held-out prompts have the game's reward, verifiable ones the rules
        measured = heldout.prompts if heldout and not game.prompts.constraints else 0
        answers += rewritten + measured * evaluations(game)
        requests, shown, template = answers * leaf.samples, 1, leaf.template or RUBRIC
        tested *= leaf.samples
    requests += tested
    child = evolver.max_tokens if isinstance(evolver, InstructEvolver) else 0
    one = max(longest, child) + shown * game.answers.max_tokens + len(template) // 3 + _MARKS
    return counted(
        server,
        role=f"reward {leaf.name}",
        requests=requests,
        read=requests * one,
        written=requests * leaf.max_tokens,
    )


_MARKS = 200
"""Tokens, about, of what a judge is told beside its template."""


def counted(section: Server, *, role: str, requests: int, read: int, written: int) -> ServerCount:
    """Return the counts of so many requests, with the tokens that they read and write in all."""
    return ServerCount(
        role=role,
        model=section.model,
        url=section.url,
        requests=requests,
        prompt_tokens=read,
        generated_tokens=written,
        cost=(read * section.input_price + written * section.output_price) / 1e6,
        max_cost=section.max_cost,
    )
