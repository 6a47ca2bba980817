"""Grades of prompts: complexity and quality by a language model, or clauses by counting.

Departures from the paper (arXiv:2411.00062, App. E)
- Own words. Every prompt is graded by itself; the paper's wording asks to rank several.
- A reply that is not one number from 1 to 5 is no grade. It does not say what happens to those.
- `Clauses` asks no model: the default, since a policy is a poor judge of its own prompts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from eva.complexity import clauses
from eva.creator.rewriting import in_context
from eva.protocols import Generator
from eva.rng import Streams
from eva.types import Group, Prompt, SamplingParams

GRADING_PARAMS = SamplingParams(n=1, temperature=0.0, top_p=1.0, max_tokens=8)
"""A number needs no more; the likeliest one is taken."""

QUESTIONS: Mapping[str, str] = {
    "complexity": """
How hard is the prompt below to answer well? Consider how much knowledge, how many steps and how many conditions an answer has to bring together.
1: anybody could answer at once. 2: easy. 3: takes some thought. 4: hard. 5: hard for an expert.
Do not answer the prompt. Reply with one number from 1 to 5 and nothing else.

Prompt:
{prompt}
""",  # noqa: E501
    "quality": """
How good is the prompt below as something to ask? Consider whether it makes sense, whether it is clear what is wanted, whether it says what an answer needs to know, and whether the answer would be worth having.
1: makes no sense. 2: unclear or pointless. 3: acceptable. 4: good. 5: excellent.
Do not answer the prompt. Reply with one number from 1 to 5 and nothing else.

Prompt:
{prompt}
""",  # noqa: E501
}
"""What a model is asked, by the name of the grade."""

_NUMBER = re.compile(
    r"""\A[\s*"'\[(]*(?:(?:score|rating|grade|complexity|quality)\W*)?([1-5])(?:\s*/\s*5)?[\s.*"'\])]*\Z""",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Grade:
    """What a grader says of one prompt."""

    value: float | None
    """Higher is better; None where no grade could be read."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Complexity and quality, where a model gave them."""
    generated_tokens: int = 0


class Grader(Protocol):
    """Says which of several candidates is the best."""

    def grade(self, prompts: Sequence[Prompt], streams: Streams) -> list[Grade]:
        """Return one grade per prompt, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Clauses:
    """Counts clauses: how much a prompt asks for."""

    def grade(self, prompts: Sequence[Prompt], streams: Streams) -> list[Grade]:
        """Return the number of clauses of each prompt's last turn."""
        return [Grade(float(clauses(prompt.text))) for prompt in prompts]


@dataclass(frozen=True, slots=True)
class ModelGrader:
    """Asks a language model for complexity and quality, 1 to 5 each; their sum decides."""

    generator: Generator
    params: SamplingParams = GRADING_PARAMS

    def grade(self, prompts: Sequence[Prompt], streams: Streams) -> list[Grade]:
        """Return the grades of prompts; without both parts there is none.

        Raises:
            GenerationError: the model is broken as a whole.
        """
        requests = [
            in_context(question.strip().replace("{prompt}", prompt.text), prompt)
            for prompt in prompts
            for question in QUESTIONS.values()
        ]
        groups = self.generator.sample(requests, self.params, streams) if requests else []
        size = len(QUESTIONS)
        return [_read(groups[size * i : size * (i + 1)]) for i in range(len(prompts))]


def read_number(reply: str) -> float | None:
    """Return the number from 1 to 5 that a reply consists of, or None.

    >>> read_number("**Score: 4/5**"), read_number("4 or 5"), read_number("7")
    (4.0, None, None)
    """
    found = _NUMBER.match(reply)
    return float(found[1]) if found else None


def _read(groups: Sequence[Group]) -> Grade:
    replies = [group.responses[0].text if group.responses else "" for group in groups]
    read = dict(zip(QUESTIONS, map(read_number, replies), strict=True))
    parts = {name: number for name, number in read.items() if number is not None}
    tokens = sum(group.generated_tokens for group in groups)
    if len(parts) < len(QUESTIONS):
        return Grade(None, {}, tokens)
    return Grade(sum(parts.values()), parts, tokens)
