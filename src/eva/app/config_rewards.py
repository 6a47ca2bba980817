"""The rewards that a config picks by name, each with its own settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from eva.app.config_judge import Judge, Pairwise
from eva.app.config_parts import Section
from eva.app.config_verifiers import (
    JsonSchema,
    Leaf,
    Length,
    Mathematics,
    Pattern,
    Profanity,
    Puzzle,
    Repetition,
)


class Rules(Leaf):
    """Share of a prompt's checks that the answer passes."""

    name: Literal["rules"]
    credit: Literal["share", "all"] = "share"
    """`all`: 1 for an answer that passes every check, else 0."""
    min_words: Annotated[int, Field(ge=0)] = 1
    """A shorter answer gets reward 0."""


class Classifier(Leaf):
    """A Hugging Face sequence-classification reward model."""

    name: Literal["classifier"]
    model: str
    """Hub id or local folder."""
    batch_tokens: Annotated[int, Field(gt=0)] = 8192
    """Tokens, padding included, scored at once."""
    max_length: Annotated[int, Field(gt=0)] = 4096
    """A longer conversation is unscored, never cut."""


class Preference(Leaf):
    """An answer's mean probability to beat another one, as a preference model compares them."""

    name: Literal["preference"]
    model: str
    """Hub id or local folder: a PairRM, or a causal model that compares two answers."""
    batch_tokens: Annotated[int, Field(gt=0)] = 8192
    """Tokens, padding included, compared at once."""
    max_length: Annotated[int, Field(gt=0)] = 4096
    """A longer comparison has no verdict; nothing is cut."""


class Python(Leaf):
    """A function of yours, called in a worker process with a time limit."""

    name: Literal["python"]
    function: str
    """`package.module:function` or `path/to/file.py:function`."""
    seconds: Annotated[float, Field(gt=0)] = 10.0
    """Time limit for one response."""


class Relevance(Leaf):
    """Similarity of answer and question in a sentence encoder, from -1 to 1."""

    name: Literal["relevance"]
    model: str = "packaged:minilm-l6-v2"
    ceiling: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Similarity above it earns nothing more, so that parroting the question does not pay."""


_DEEPEST = 5
"""Levels of rewards within rewards: more than anyone can read are a mistake."""


class Nested(Section):
    """A reward that is made of others."""

    @model_validator(mode="after")
    def _is_shallow(self) -> Self:
        if depth(self) > _DEEPEST:
            raise ValueError(f"rewards within rewards: more than {_DEEPEST} levels")
        return self

    def leaves(self) -> Iterator[Section]:
        """Yield the rewards that it is made of, down to those that are made of none."""
        for inner in below(self):
            yield from inner.leaves()


class Combined(Nested):
    """A weighted sum of rewards; unscored where any of them is."""

    name: Literal["combined"]
    parts: tuple[Reward, ...]
    weights: tuple[float, ...]


class Gated(Nested):
    """A reward that counts only for answers that pass another one."""

    name: Literal["gated"]
    gate: Reward
    """The reward that an answer has to pass."""
    reward: Reward
    """The reward of an answer that passed; others are not shown to it."""
    threshold: float
    """Lowest reward of the gate that passes."""
    otherwise: float = 0.0
    """Reward of an answer that did not pass."""


class Ensemble(Nested):
    """The mean of rewards that judge the same thing; how far they disagree is kept."""

    name: Literal["ensemble"]
    members: Annotated[tuple[Reward, ...], Field(min_length=2)]
    """The rewards, of which an answer needs all."""
    scales: tuple[float, ...] = ()
    """What each is divided by, to bring them to one scale; empty takes them as they are."""


Reward: TypeAlias = Annotated[
    Rules
    | Classifier
    | Python
    | Relevance
    | Mathematics
    | Pattern
    | JsonSchema
    | Puzzle
    | Length
    | Repetition
    | Profanity
    | Judge
    | Pairwise
    | Preference
    | Combined
    | Gated
    | Ensemble,
    Field(discriminator="name"),
]

for _section in (Combined, Gated, Ensemble):
    _section.model_rebuild()


def below(section: Section) -> tuple[Reward, ...]:
    """Return the rewards that a section is directly made of."""
    if isinstance(section, Combined):
        return section.parts
    if isinstance(section, Gated):
        return (section.gate, section.reward)
    return section.members if isinstance(section, Ensemble) else ()


def has_ensemble(section: Section) -> bool:
    """Whether a reward is, or is made of, an ensemble."""
    return isinstance(section, Ensemble) or any(map(has_ensemble, below(section)))


def depth(section: Section) -> int:
    """Return how many levels of rewards a section has, itself included."""
    return 1 + max(map(depth, below(section)), default=0)
