"""Equal compute: the tokens that each round of a run may cost."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path

from eva.app import config
from eva.errors import ConfigError


def budget_of(game: config.Config) -> Mapping[int, int] | None:
    """Return cumulative generated plus trained tokens by round; None without a budget.

    Raises:
        ConfigError: the run to match is not there, or has played fewer rounds.
    """
    if game.solver.start == "scratch" and (game.budget.tokens or game.budget.match):
        raise ConfigError(
            "budget: with solver.start 'scratch' every round trains on all pairs so far, whose "
            "tokens no choice of new prompts can match: take 'incremental', or no budget"
        )
    if game.budget.tokens:
        return {t: t * game.budget.tokens for t in range(1, game.rounds + 1)}
    if not game.budget.match:
        return None
    from eva.runs.folder import RunFolder

    with RunFolder.open_readonly(Path(game.budget.match)) as other:
        spent = [record["tokens"]["total"] for record in other.records()]
    if len(spent) < game.rounds:
        raise ConfigError(
            f"budget.match: {game.budget.match} has played {len(spent)} rounds, "
            f"expected {game.rounds}: finish it first, or play fewer rounds"
        )
    return dict(enumerate(accumulate(spent), start=1))
