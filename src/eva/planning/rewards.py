"""What the rewards of a game need: models that can be had, columns that are kept."""

from __future__ import annotations

from collections.abc import Iterator

from eva.app.config import Config
from eva.app.config_judge import Judge, Pairwise
from eva.app.config_parts import InstructEvolver
from eva.app.config_rewards import Classifier, Preference, Relevance
from eva.app.config_verifiers import JsonSchema, Mathematics, Pattern
from eva.planning.lookup import Source, look_at, look_for


def reward_models(game: Config) -> Iterator[Source]:
    """Yield the models that will be loaded to score answers.

    Raises:
        ConfigError: one is there and cannot do it.
    """
    for part in game.reward.leaves():
        if isinstance(part, Classifier | Preference | Relevance):
            kind = "encoder" if isinstance(part, Relevance) else ""
            yield look_for(part.model, role=f"reward {part.name}", kind=kind)
        elif isinstance(part, Judge | Pairwise) and part.model:
            yield look_at(part.model, role=f"reward {part.name}", seed=0).source


def columns_missed(game: Config) -> Iterator[str]:
    """Yield a note for every column that a verifier reads and prompts or their children lack."""
    evolver = game.creator.evolver
    rewritten = game.creator.name == "eva" and isinstance(evolver, InstructEvolver)
    kept = evolver.keep_columns if isinstance(evolver, InstructEvolver) else ()
    for part in game.reward.leaves():
        if not isinstance(part, Mathematics | Pattern | JsonSchema):
            continue
        read = (part.column, part.answer if isinstance(part, Pattern) else "")
        for column in filter(None, read):
            unscored = f"reward {part.name}: column {column!r} is not in"
            if column not in game.prompts.keep:
                yield f"{unscored} prompts.keep, so no prompt has it and answers are unscored"
            elif rewritten and column not in kept:
                yield (
                    f"{unscored} creator.evolver.keep_columns, so answers to evolved prompts are "
                    "unscored; keep it only if it stays true of a rewrite"
                )
