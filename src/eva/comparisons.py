"""What comparing the answers to a prompt two by two gave, each pair in both orders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Comparisons:
    """Verdicts on all ordered pairs of G answers.

    Raises:
        ValueError: the verdicts are not (G, G).
    """

    first: tuple[tuple[float | None, ...], ...]
    """Probability that the row beats the column where the row is shown first, (G, G).

    A tie is 1/2, and so is the diagonal; None is a comparison that gave no verdict.
    """
    failures: Mapping[str, int] = field(default_factory=dict)
    """Comparisons without verdict, by cause."""

    def __post_init__(self) -> None:
        if any(len(row) != len(self.first) for row in self.first):
            raise ValueError(f"comparisons: rows of {len(self.first)} answers differ in length")

    @property
    def wins(self) -> NDArray[np.float64]:
        """Probability that the row beats the column, mean of both orders, (G, G); NaN unjudged."""
        size = len(self.first)
        first = np.array(self.first, dtype=np.float64).reshape(size, size)
        wins: NDArray[np.float64] = (first + 1 - first.T) / 2
        return wins

    def judged(self) -> Iterator[tuple[int, int, float, float]]:
        """Yield i < j, and the verdicts on i against j and on j against i, first named first."""
        for i, row in enumerate(self.first):
            for j in range(i + 1, len(row)):
                one, other = row[j], self.first[j][i]
                if one is not None and other is not None:
                    yield i, j, one, other
