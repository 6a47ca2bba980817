"""The gate against evaluation prompts in the training set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from eva.creator.wording import word_grams, words
from eva.types import Prompt


class EvalOverlap:
    """Refuses a child that shares a run of words with a prompt of an evaluation set.

    An evaluation prompt shorter than the run counts as one run itself, or, below `shortest`
    words, must be matched as a whole. Paraphrases pass (arXiv:2311.04850).
    """

    name = "eval_overlap"

    def __init__(self, evaluation: Iterable[str], *, n: int = 8, shortest: int = 5) -> None:
        self._exact: set[str] = set()
        self._runs: dict[int, set[str]] = {}
        for text in evaluation:
            tokens = words(text)
            self._exact.add(" ".join(tokens))
            if len(tokens) >= shortest:
                length = min(n, len(tokens))
                self._runs.setdefault(length, set()).update(word_grams(tokens, length))

    def overlap(self, text: str) -> str | None:
        """Return the first run of words shared with an evaluation prompt, or None."""
        tokens = words(text)
        whole = " ".join(tokens)
        if tokens and whole in self._exact:
            return whole
        for n, runs in sorted(self._runs.items(), reverse=True):
            for run in word_grams(tokens, n):
                if run in runs:
                    return run
        return None

    def __call__(self, child: Prompt, lineage: Sequence[Prompt]) -> str | None:
        """Return the words that the child's last turn shares, or None."""
        shared = self.overlap(child.text)
        return shared and f"shares {shared!r} with an evaluation prompt"

    def remember(self, prompt: Prompt) -> None:
        """Nothing to remember: the evaluation prompts are given at the start."""
