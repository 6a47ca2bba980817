"""What open prompts are about: of given topics the nearest in meaning.

Departure from the paper: it shows topics of the first prompts by a zero-shot classifier
(arXiv:2411.00062, fig. 11). Here a sentence encoder compares a prompt with the topics' names, and
children that are about something else than their parents are labelled as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from eva.protocols import Evolver
from eva.rng import Streams
from eva.types import Floats, Prompt, Proposal


@dataclass(frozen=True)
class Topics:
    """Labels prompts."""

    names: tuple[str, ...]
    """The topics; a few words say more than one."""
    embed: Callable[[Sequence[str]], Floats]
    """Maps N texts to unit vectors, (N, D)."""

    def label(self, prompts: Sequence[Prompt]) -> list[Prompt]:
        """Return the prompts, in order; those that are open and have no topic get the nearest.

        The request of a verifiable prompt is its topic, and stays.
        """
        bare = [i for i, prompt in enumerate(prompts) if not prompt.topic and not prompt.checks]
        labelled = list(prompts)
        if bare:
            vectors = self.embed([prompts[i].text for i in bare])
            nearest = (vectors @ self._vectors.T).argmax(axis=1)
            for i, topic in zip(bare, nearest, strict=True):
                labelled[i] = replace(prompts[i], topic=self.names[topic])
        return labelled

    @cached_property
    def _vectors(self) -> Floats:
        """Unit vectors of the names, (topics, D)."""
        return self.embed(self.names)


@dataclass(frozen=True, slots=True)
class Labelling:
    """Labels the children of another evolver; an `Evolver`."""

    evolver: Evolver
    topics: Topics

    @property
    def chain(self) -> bool:
        """Whether an accepted child is the next parent."""
        return self.evolver.chain

    def propose(self, parents: Sequence[Prompt], step: int, streams: Streams) -> list[Proposal]:
        """Return the evolver's proposals, every child with a topic.

        Raises:
            GenerationError: the rewriter is broken as a whole.
        """
        proposals = self.evolver.propose(parents, step, streams)
        children = iter(self.topics.label([p.child for p in proposals if p.child is not None]))
        return [p if p.child is None else replace(p, child=next(children)) for p in proposals]
