"""The rewards that a config picks by name, each with its own settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from eva.app.config_parts import Section


class Rules(Section):
    """Share of a prompt's checks that the answer passes."""

    name: Literal["rules"]
    credit: Literal["share", "all"] = "share"
    """`all`: 1 for an answer that passes every check, else 0."""
    min_words: Annotated[int, Field(ge=0)] = 1
    """A shorter answer gets reward 0."""

    def leaves(self) -> Iterator[Section]:
        """Yield the rewards that it is made of."""
        yield self


class Classifier(Section):
    """A Hugging Face sequence-classification reward model."""

    name: Literal["classifier"]
    model: str
    """Hub id or local folder."""
    batch_tokens: Annotated[int, Field(gt=0)] = 8192
    """Tokens, padding included, scored at once."""
    max_length: Annotated[int, Field(gt=0)] = 4096
    """A longer conversation is unscored, never cut."""

    def leaves(self) -> Iterator[Section]:
        """Yield the rewards that it is made of."""
        yield self


class Python(Section):
    """A function of yours, called in a worker process with a time limit."""

    name: Literal["python"]
    function: str
    """`package.module:function` or `path/to/file.py:function`."""
    seconds: Annotated[float, Field(gt=0)] = 10.0
    """Time limit for one response."""

    def leaves(self) -> Iterator[Section]:
        """Yield the rewards that it is made of."""
        yield self


class Relevance(Section):
    """Similarity of answer and question in a sentence encoder, from -1 to 1."""

    name: Literal["relevance"]
    model: str = "packaged:minilm-l6-v2"
    ceiling: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Similarity above it earns nothing more, so that parroting the question does not pay."""

    def leaves(self) -> Iterator[Section]:
        """Yield the rewards that it is made of."""
        yield self


class Combined(Section):
    """A weighted sum of rewards; unscored where any of them is."""

    name: Literal["combined"]
    parts: tuple[
        Annotated[Rules | Classifier | Python | Relevance, Field(discriminator="name")], ...
    ]
    weights: tuple[float, ...]

    def leaves(self) -> Iterator[Section]:
        """Yield the rewards that it is made of."""
        yield from self.parts


Reward: TypeAlias = Annotated[
    Rules | Classifier | Python | Relevance | Combined, Field(discriminator="name")
]
