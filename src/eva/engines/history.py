"""What a policy has been through, and so what its weights are called.

A version names the source, the updates since and a hash of what they trained on. It depends on no
rounding, so a resumed run and one with more processes give the same names; and two policies that
are equally many updates away from one source (a round from scratch) have different ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from eva.types import Example, Json


@dataclass(frozen=True, slots=True)
class History:
    """The updates of a policy since it was loaded."""

    source: str
    updates: int = 0
    digest: str = ""
    """Hash of the examples and learning rates of all updates; empty before the first."""
    pending: str = ""
    """The same of what has been added to the gradient since the last update."""

    @property
    def version(self) -> str:
        """Name of the weights.

        >>> History("smollm2").version
        'smollm2'
        >>> History("smollm2", updates=40, digest="9f8c2d1a").version
        'smollm2+40.9f8c2d1a'
        """
        return f"{self.source}+{self.updates}.{self.digest}" if self.updates else self.source

    def saw(self, examples: Sequence[Example], normaliser: float) -> History:
        """Return the history after a gradient has been added."""
        seen = [(example.prompt_id, example.completions) for example in examples]
        return replace(self, pending=_digest(self.pending, seen, normaliser))

    def stepped(self, lr: float) -> History:
        """Return the history after an update."""
        digest = _digest(self.digest, self.pending, lr)
        return History(self.source, self.updates + 1, digest)

    def record(self) -> dict[str, Json]:
        """Return what a checkpoint says of it."""
        return {
            "version": self.version,
            "source": self.source,
            "updates": self.updates,
            "digest": self.digest,
        }

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> History:
        """Return the history that `record` wrote."""
        return cls(record["source"], record["updates"], record["digest"])


def _digest(*parts: object) -> str:
    return hashlib.blake2b(repr(parts).encode(), digest_size=4).hexdigest()
