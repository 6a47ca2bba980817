"""The reward for speaking about the question, whatever is said about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eva.errors import ConfigError
from eva.rewards.guard import as_score
from eva.types import Group, Prompt, ScoredGroup

if TYPE_CHECKING:
    from eva.encoder import Encoder


@dataclass(frozen=True, slots=True)
class RelevanceReward:
    """min(similarity, ceiling) / ceiling, at most 1, of question and answer in a sentence encoder.

    Similarity is the cosine of their embeddings, kept in `parts`; it can be negative, and an empty
    answer has 0. An answer that repeats the question has nearly 1: with a ceiling at what good
    answers reach (their median is a fair choice) repeating earns nothing more. The encoder reads
    only the first tokens of an answer (256 by default).

    Raises:
        ConfigError: the ceiling is not above 0 and at most 1.
    """

    encoder: Encoder
    ceiling: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.ceiling <= 1.0:
            raise ConfigError(f"relevance: ceiling {self.ceiling}; expected above 0 and at most 1")

    def score(self, groups: Sequence[Group]) -> list[ScoredGroup]:
        """Return the groups, in order, each response with its score."""
        asked = self.encoder.embed([question(group.prompt) for group in groups])
        answers = [response.text for group in groups for response in group.responses]
        owners = [i for i, group in enumerate(groups) for _ in group.responses]
        similar = (asked[owners] * self.encoder.embed(answers)).sum(1).tolist() if answers else []
        scores = iter(
            as_score(min(value, self.ceiling) / self.ceiling, {"similarity": value})
            for value in similar
        )
        return [
            ScoredGroup(group, tuple(next(scores) for _ in group.responses)) for group in groups
        ]


def question(prompt: Prompt) -> str:
    """Return what an answer should be about: of a verifiable prompt the request alone.

    With its constraints in the text, an answer made of nothing but them would be relevant.
    """
    return prompt.topic if prompt.checks and prompt.topic else prompt.text
