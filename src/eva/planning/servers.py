"""What a game will ask of servers, and what that costs at most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from eva.app.config import Config
from eva.app.config_parts import InstructEvolver
from eva.app.config_servers import Server
from eva.app.servers import key_of
from eva.creator.operators import operator_set
from eva.planning.counting import RoundCount, attempt


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
