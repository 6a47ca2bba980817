"""The gate against what was already there: exact copies and near copies of any prompt ever seen."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eva.creator.wording import word_grams, words
from eva.types import Prompt

_PERMUTATIONS = 64


class Duplicate:
    """Refuses a child that equals, or nearly equals, a prompt remembered.

    Equal: the whole conversation, but for case, punctuation and spacing; an equal ancestor counts.
    Nearly equal: the sets of word triples of the last turns have a Jaccard similarity of at least
    `threshold`, after the same earlier turns; a child is meant to resemble its ancestors, so these
    don't count. A verifiable prompt is equal where topic and checks are, however they are phrased,
    and is never nearly equal.

    MinHash LSH finds candidates (64 permutations, tuned against misses), whose similarity is then
    computed exactly. Every hash is fixed, and the most similar prompt is named, the smallest id
    among equals: a resumed run gives the same reasons. About 0.1 ms and 4 kB per prompt.
    """

    name = "duplicate"

    def __init__(self, *, threshold: float = 0.7) -> None:
        from datasketch import MinHash, MinHashLSH  # it imports scipy

        self.threshold = threshold
        self._known: set[str] = set()
        self._equal: dict[bytes, str] = {}
        self._shingles: dict[str, NDArray[np.uint32]] = {}
        self._blank: Any = MinHash(num_perm=_PERMUTATIONS, seed=1, hashfunc=int)
        self._index: Any = MinHashLSH(
            threshold=threshold, num_perm=_PERMUTATIONS, weights=(0.1, 0.9)
        )

    def __call__(self, child: Prompt, lineage: Sequence[Prompt]) -> str | None:
        """Return which prompt the child repeats, or None."""
        own = {ancestor.id for ancestor in lineage} | set(child.parents)
        identity = _identity(child)
        equal = self._equal.get(identity) or next(
            (ancestor.id for ancestor in lineage if _identity(ancestor) == identity), None
        )
        if equal:
            return f"equals {'its ancestor' if equal in own else 'prompt'} {equal}"
        if child.checks:
            return None
        nearest = self._nearest(child, own)
        if nearest is None or nearest[0] < self.threshold:
            return None
        return f"resembles prompt {nearest[1]} (similarity {nearest[0]:.2f})"

    def remember(self, prompt: Prompt) -> None:
        """Compare later children with this prompt, too; a second time does nothing."""
        if prompt.id in self._known:
            return
        self._known.add(prompt.id)
        self._equal.setdefault(_identity(prompt), prompt.id)
        shingles = _shingles(prompt)
        if not prompt.checks and len(shingles):
            self._shingles[prompt.id] = shingles
            self._index.insert(prompt.id, self._sketch(shingles), check_duplication=False)

    def _nearest(self, child: Prompt, own: set[str]) -> tuple[float, str] | None:
        shingles = _shingles(child)
        if not len(shingles):
            return None
        found = [name for name in self._index.query(self._sketch(shingles)) if name not in own]
        scored = [(jaccard(shingles, self._shingles[name]), name) for name in found]
        return min(scored, key=lambda pair: (-pair[0], pair[1]), default=None)

    def _sketch(self, shingles: NDArray[np.uint32]) -> Any:
        sketch = self._blank.copy()
        sketch.update_batch(shingles.tolist())
        return sketch


def jaccard(a: NDArray[np.uint32], b: NDArray[np.uint32]) -> float:
    """Return the share of common members among all of two sets, each sorted and not empty.

    >>> jaccard(np.array([1, 2, 3], np.uint32), np.array([2, 3, 4], np.uint32))
    0.5
    """
    common = len(np.intersect1d(a, b, assume_unique=True))
    return common / (len(a) + len(b) - common)


def _shingles(prompt: Prompt) -> NDArray[np.uint32]:
    """Return hashes of the word triples of the last turn, started from the turns before it."""
    start = zlib.crc32(json.dumps(_context(prompt)).encode()) if prompt.messages[1:] else 0
    grams = word_grams(words(prompt.text), 3)
    return np.unique(np.array([zlib.crc32(gram.encode(), start) for gram in grams], np.uint32))


def _identity(prompt: Prompt) -> bytes:
    request = (prompt.topic if prompt.checks else "") or prompt.text
    plain = " ".join(words(request)) or request
    checks = sorted(check.key() for check in prompt.checks)
    seen = json.dumps([_context(prompt), plain, checks])
    return hashlib.blake2b(seen.encode(), digest_size=16).digest()


def _context(prompt: Prompt) -> list[list[str]]:
    return [[message.role, message.content] for message in prompt.messages[:-1]]
