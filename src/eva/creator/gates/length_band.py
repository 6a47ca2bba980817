"""The gate against rewrites much shorter or longer than their parent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eva.creator.wording import words
from eva.types import Prompt


@dataclass(frozen=True, slots=True)
class LengthBand:
    """Refuses a child whose length, in words of its last turn, is outside a band."""

    min_ratio: float = 0.5
    """Least length, in lengths of the parent."""
    max_ratio: float = 2.0
    """Greatest length, in lengths of the parent, before `slack`."""
    slack: int = 30
    """Words allowed beyond `max_ratio`: a rewrite adds 10 to 20 words to a prompt of any length."""
    shortest: int = 3
    """Least length whatever the parent's."""
    longest: int = 600
    """Greatest length whatever the parent's."""
    name: str = "length_band"

    def __call__(self, child: Prompt, lineage: Sequence[Prompt]) -> str | None:
        """Return the child's length and the band that it misses, or None."""
        length, low, high = len(words(child.text)), float(self.shortest), float(self.longest)
        if lineage:
            parent = len(words(lineage[-1].text))
            low = max(low, self.min_ratio * parent)
            high = min(high, self.max_ratio * parent + self.slack)
        if low <= length <= high:
            return None
        return f"{length} words, expected {low:g} to {high:g}"

    def remember(self, prompt: Prompt) -> None:
        """Nothing to remember."""
