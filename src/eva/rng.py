"""Random streams: one per (seed, round, stage, prompt id, response index), never per call order.

A stream depends on what it is for and on nothing else, so neither the make-up of a batch nor a
resume changes a draw.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Streams:
    """The random streams of one stage of one round."""

    seed: int
    round: int
    stage: str

    def of(self, *keys: str | int) -> np.random.Generator:
        """Return the stream named by `keys`, always from its beginning.

        >>> streams = Streams(0, 1, "answer")
        >>> streams.of("p", 3).random() == streams.of("p", 3).random() != streams.of(
        ...     "p", 4
        ... ).random()
        True
        """
        name = repr((self.seed, self.round, self.stage, *keys)).encode()
        key = int.from_bytes(hashlib.blake2b(name, digest_size=16).digest(), "little")
        return np.random.Generator(np.random.Philox(key=key))

    def at(self, stage: str) -> Streams:
        """Return the streams of another stage of the same round."""
        return Streams(self.seed, self.round, stage)
