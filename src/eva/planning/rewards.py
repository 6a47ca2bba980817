"""The local models that score a game's answers: whether they can be had."""

from __future__ import annotations

from collections.abc import Iterator

from eva.app.config import Config
from eva.app.config_judge import Judge, Pairwise
from eva.app.config_rewards import Classifier, Relevance
from eva.planning.lookup import Source, look_at, look_for


def reward_models(game: Config) -> Iterator[Source]:
    """Yield the models that will be loaded to score answers.

    Raises:
        ConfigError: one is there and cannot do it.
    """
    for part in game.reward.leaves():
        if isinstance(part, Classifier | Relevance):
            kind = "encoder" if isinstance(part, Relevance) else ""
            yield look_for(part.model, role=f"reward {part.name}", kind=kind)
        elif isinstance(part, Judge | Pairwise) and part.model:
            yield look_at(part.model, role=f"reward {part.name}", seed=0).source
