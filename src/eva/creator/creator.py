"""The creator: estimate, sample, evolve, mix (arXiv:2411.00062, Algorithm 1).

Departures from the paper

- Gates may refuse a rewrite; the paper filters nothing.
- Without an evolver the solver trains on the informative subset itself: the paper's "no evolve".
- With `uniform` informativeness nobody's rewards are needed, so nobody is asked for answers: its
  "uniform evolving".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eva.creator.evolving import evolve
from eva.creator.lineage import ancestors
from eva.creator.mixing import mix
from eva.creator.noise import Correction
from eva.creator.sampling import TopicBlended
from eva.protocols import Evolver, Gate, Informativeness, Population, Sampler
from eva.rng import Streams
from eva.types import Estimates, Evolution, Floats, Ints, Prompt


@dataclass(frozen=True)
class EvaCreator:
    """A creator made of parts; `eva.protocols.Creator` says what each method promises."""

    informativeness: Informativeness
    sampler: Sampler
    evolver: Evolver | None
    """None trains on the informative subset."""
    gates: tuple[Gate, ...] = ()
    fraction: float = 0.25
    """Share of the prompts that is drawn."""
    children: int = 4
    """Rewrites per drawn prompt."""
    evolved_share: float = 0.8
    """Share of evolved prompts in what the solver trains on."""
    estimates: bool = True
    """Whether rewards are wanted; without them all prompts are equally informative."""
    correction: Correction | None = None
    """Takes the rewards' noise out of the estimates; None leaves it in."""

    def estimate(
        self, rewards: Sequence[Sequence[float | None]], noise: Sequence[float] = ()
    ) -> Estimates:
        """Return the informativeness of prompts from rewards, ragged (P, G), and noise, (P,)."""
        if not self.estimates:
            same = np.ones(len(rewards))
            return Estimates(same, np.zeros_like(same), np.zeros(len(rewards), dtype=np.int64))
        plain = self.informativeness(rewards)
        return self.correction(plain, rewards, noise) if self.correction else plain

    def sample(self, info: Floats, streams: Streams, prompts: Sequence[Prompt] = ()) -> Ints:
        """Draw the informative subset, at least one prompt."""
        k = max(1, round(self.fraction * len(info)))
        sampler = self.sampler
        if isinstance(sampler, TopicBlended) and prompts:
            sampler = sampler.among([prompt.topic for prompt in prompts])
        return sampler(info, k, streams.of())

    def evolve(
        self, seeds: Sequence[Prompt], population: Population, streams: Streams
    ) -> list[Evolution]:
        """Rewrite each seed `children` times; gates know the whole population."""
        if self.evolver is None:
            return [Evolution(seed.id, (), ()) for seed in seeds]
        known = population.prompts()
        for gate in self.gates:
            for prompt in known:
                gate.remember(prompt)
        lines = ancestors(seeds, population)
        return evolve(
            seeds,
            evolver=self.evolver,
            gates=self.gates,
            children=self.children,
            streams=streams,
            lineage=lambda seed: lines[seed.id],
        )

    def mix(
        self,
        evolutions: Sequence[Evolution],
        originals: Sequence[Prompt],
        streams: Streams,
    ) -> list[Prompt]:
        """Mix children and originals; without an evolver, return the drawn originals alone."""
        if self.evolver is None:
            drawn = {evolution.parent_id for evolution in evolutions}
            return [prompt for prompt in originals if prompt.id in drawn]
        mixture = mix(
            [evolution.children for evolution in evolutions],
            originals,
            size=len(originals),
            rng=streams.of(),
            share=self.evolved_share,
        )
        return list(mixture.prompts)
