"""Rewards that a program can tell from the text alone: verifiers and penalties."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, field_validator, model_validator

from eva.app.config_parts import Section

Seconds = Annotated[float, Field(gt=0)]


class Leaf(Section):
    """A reward that is not made of others."""

    def leaves(self) -> Iterator[Section]:
        """Yield the rewards that it is made of."""
        yield self


class Mathematics(Leaf):
    """Whether the answer's last expression equals a reference, as math-verify sees it."""

    name: Literal["math"]
    column: str = "answer"
    """Column of the prompts with the reference: LaTeX, a number, or GSM8K's solution."""
    seconds: Seconds = 5.0
    """Time limit for one response."""


class Pattern(Leaf):
    """Whether the answer matches a regular expression."""

    name: Literal["pattern"]
    pattern: str = ""
    """The expression; flags stand in it, as `(?i)`."""
    column: str = ""
    """Instead: column of the prompts with an expression each."""
    whole: bool = False
    """Whether all of the answer must match."""
    group: str = ""
    """Name or number of a group whose last match is compared with `answer`."""
    answer: str = ""
    """Column of the prompts that the group must equal."""
    seconds: Seconds = 2.0
    """Time limit for one response."""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from None
        return pattern

    @model_validator(mode="after")
    def _is_told_once(self) -> Pattern:
        if bool(self.pattern) == bool(self.column):
            raise ValueError("reward 'pattern': set either pattern or column")
        if bool(self.group) != bool(self.answer):
            raise ValueError("reward 'pattern': group and answer go together")
        return self


class JsonSchema(Leaf):
    """Whether the answer is JSON that fits a schema."""

    name: Literal["json_schema"]
    definition: str = ""
    """The schema: a JSON file, or JSON itself."""
    column: str = ""
    """Instead of `definition`: column of the prompts with a schema each."""
    seconds: Seconds = 2.0
    """Time limit for one response."""

    @model_validator(mode="after")
    def _is_told_once(self) -> JsonSchema:
        if bool(self.definition) == bool(self.column):
            raise ValueError("reward 'json_schema': set either definition or column")
        return self


class Puzzle(Leaf):
    """How well the answer solves a puzzle of reasoning-gym, by the task's own judge."""

    name: Literal["puzzle"]
    seconds: Seconds = 5.0
    """Time limit for one response."""


Verifier: TypeAlias = Mathematics | Pattern | JsonSchema | Puzzle


class Length(Leaf):
    """A penalty for long answers: 0 up to a limit, falling to -1."""

    name: Literal["length"]
    limit: Annotated[int, Field(gt=0)]
    """Longest answer that costs nothing."""
    ramp: Annotated[int, Field(ge=0)] = 0
    """How far above the limit the penalty reaches -1; 0 is at once."""
    unit: Literal["words", "tokens"] = "words"
    """What is counted; answers of a server have no tokens."""


class Repetition(Leaf):
    """A penalty for repeating itself: minus the share of repeated word n-grams."""

    name: Literal["repetition"]
    ngram: Annotated[int, Field(gt=0)] = 4
    """Words in a row that count as a repetition when they come again."""
    allowed: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share that costs nothing."""


class Profanity(Leaf):
    """A penalty for words of your own list."""

    name: Literal["profanity"]
    words: tuple[str, ...] = ()
    """Words and phrases, matched whole and in any case."""
    file: str = ""
    """A text file with further ones, one a line; lines that begin with # are comments."""
    full: Annotated[int, Field(gt=0)] = 1
    """How many of them, with repeats, cost -1; fewer cost their share."""

    @model_validator(mode="after")
    def _has_words(self) -> Profanity:
        if not self.words and not self.file:
            raise ValueError("reward 'profanity': give words, or a file with words")
        return self


Penalty: TypeAlias = Length | Repetition | Profanity
