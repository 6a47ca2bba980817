"""The creator of online eva: where each batch of prompts comes from (arXiv:2411.00062, sec. 3.3.2).

D is the human set, B the prioritised generative buffer; sizes are the paper's defaults.

    warm-up     8 from D; the top 4 are evolved, 4 times each, into B, until B is full
    mix-up      4 from D and 4 from B; the same; the oldest leave B, so that it stays full
    bootstrap   once D is exhausted, 8 from B; the top 4 are evolved, 2 times each

Departures from the paper, and what it leaves open

- A child was never answered, so its priority is guessed: its seed's informativeness, shrunk towards
  the running mean of all informativeness seen (`shrink`; 0 takes the seed's own).
- Where gates refused so much that B cannot fill a batch, human prompts are taken again, in a new
  order: the count says how often (`recycled`). Without children that is training on a static set.
- Without an evolver the seeds themselves enter B: the paper's "no evolve", online. Nothing new is
  written then, and each batch is larger than what comes back of it; so instead of bootstrap the
  human set begins again (`recycled`), and mix-up goes on.
- With `uniform` informativeness the seeds are drawn blindly: "uniform evolving".
- Where D is exhausted before B is full, bootstrap follows warm-up.
- Added: gates, as offline.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from eva.creator.buffer import Buffer
from eva.creator.evolving import evolve
from eva.creator.lineage import ancestors
from eva.creator.noise import Correction
from eva.errors import ConfigError, RunError
from eva.protocols import Evolver, Gate, Informativeness, Population, Sampler
from eva.rng import Streams
from eva.types import Draw, Estimates, Evolution, Floats, Prompt

Phase: TypeAlias = Literal["warm-up", "mix-up", "bootstrap"]

STATE = "creator.safetensors"
"""The file of a checkpoint that holds the creator's state."""

_MEMORY = 0.95
"""Weight of what was seen before in the running mean of informativeness: about 20 batches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineSizes:
    """How many prompts go where; the defaults are the paper's."""

    batch: int = 8
    """Prompts of a step."""
    buffer: int = 3200
    """Most prompts in the buffer."""
    replayed: float = 0.5
    """Share of a mix-up batch that comes from the buffer."""
    evolved: float = 0.5
    """Share of a batch that is evolved."""
    children: int = 4
    """Rewrites of each seed; 0 trains on the human set alone."""
    bootstrap_children: int = 2
    """Rewrites of each seed once the human set is exhausted."""
    shrink: float = 0.5
    """How far a child's priority is drawn from its seed's informativeness to the mean."""
    staleness: float = 0.0
    """Rate at which a priority fades with every step; 0 is the paper."""
    draw: str = "proportional"
    """How prompts are drawn from the buffer; see `eva.creator.buffer.DRAWS`."""

    def __post_init__(self) -> None:
        for name in ("replayed", "evolved", "shrink"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} = {getattr(self, name)}, expected a share from 0 to 1")
        for name, least in (("batch", 1), ("children", 0), ("bootstrap_children", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} = {getattr(self, name)}, expected at least {least}")


class BufferCreator:
    """A creator with a living buffer; see `eva.protocols_online.OnlineCreator`."""

    def __init__(
        self,
        human: Sequence[Prompt],
        *,
        informativeness: Informativeness,
        sampler: Sampler,
        evolver: Evolver | None,
        gates: Sequence[Gate] = (),
        sizes: OnlineSizes | None = None,
        correction: Correction | None = None,
    ) -> None:
        """Make a creator whose buffer is empty.

        Args:
            human: the human set D, in order of use.
            informativeness: ranks the prompts of a batch; the paper's is `a_avg`.
            sampler: picks the seeds by it; the paper's is `greedy`, the top half.
            evolver: writes the children; None puts the seeds themselves into the buffer.
            gates: judge the children.
            sizes: how many prompts go where.
            correction: takes the rewards' noise out of the ranking; None leaves it in.

        Raises:
            ConfigError: there is no human prompt.
        """
        if not human:
            raise ConfigError("got no human prompts, expected at least one")
        self.human = tuple(human)
        self.sizes = sizes = sizes or OnlineSizes()
        self.buffer = Buffer(sizes.buffer, staleness=sizes.staleness, draw=sizes.draw)
        self._informativeness = informativeness
        self._correction = correction
        self._sampler = sampler
        self._evolver = evolver
        self._gates = tuple(gates)
        self._taken = 0
        self._filled = False
        self._mean = math.nan

    @property
    def phase(self) -> Phase:
        """The phase that the next batch belongs to."""
        bootstraps = self._evolver is not None and (self._filled or len(self.buffer))
        if self._taken >= len(self.human) and bootstraps:
            return "bootstrap"
        return "mix-up" if self._filled else "warm-up"

    def draw(
        self,
        population: Population,
        streams: Streams,
        *,
        step: int,
        count: int = 0,
        beside: Sequence[str] = (),
    ) -> Draw:
        """Return a batch of prompts, which leave the human set or the buffer; see the protocol."""
        phase, size = self.phase, count or self.sizes.batch
        share = {"warm-up": 0.0, "mix-up": self.sizes.replayed, "bootstrap": 1.0}[phase]
        fresh = max(0, len(self.human) - self._taken)
        wanted = round(share * size)
        if self._evolver is not None:
            # where the human set runs out within a batch, the buffer fills it
            wanted = max(wanted, size - fresh)
        replayed = self.buffer.draw(wanted, streams.of(), step=step)
        human = self._next_human(size - len(replayed), streams.seed, beside={*replayed, *beside})
        return Draw(
            prompts=(*human, *population.prompts(replayed)),
            phase=phase,
            replayed=len(replayed),
            recycled=max(0, len(human) - fresh),
        )

    def rank(
        self, rewards: Sequence[Sequence[float | None]], noise: Sequence[float] = ()
    ) -> Estimates:
        """Return the informativeness of a batch's prompts from their rewards, ragged (P, G)."""
        estimates = self._informativeness(rewards)
        if self._correction:
            estimates = self._correction(estimates, rewards, noise)
        seen = estimates.values[~np.isnan(estimates.values)]
        if len(seen):
            memory = 0.0 if math.isnan(self._mean) else _MEMORY
            past = memory * self._mean if memory else 0.0
            self._mean = past + (1 - memory) * float(seen.mean())
        return estimates

    def seeds(self, info: Floats, streams: Streams) -> tuple[int, ...]:
        """Return which of a batch's prompts are evolved, most informative first."""
        k = math.ceil(self.sizes.evolved * len(info))
        return tuple(int(i) for i in self._sampler(info, k, streams.of()))

    def evolve(
        self, seeds: Sequence[Prompt], population: Population, streams: Streams, *, phase: str
    ) -> list[Evolution]:
        """Rewrite each seed; without an evolver it is its own child."""
        if self._evolver is None:
            return [Evolution(seed.id, (seed,), ()) for seed in seeds]
        sizes = self.sizes
        children = sizes.bootstrap_children if phase == "bootstrap" else sizes.children
        lines = ancestors(seeds, population)
        return evolve(
            seeds,
            evolver=self._evolver,
            gates=self._gates,
            children=children,
            streams=streams,
            lineage=lambda seed: lines[seed.id],
        )

    def add(
        self, evolutions: Sequence[Evolution], info: Mapping[str, float], *, step: int
    ) -> list[str]:
        """Let children into the buffer; return the ids of those evicted.

        `info` is the informativeness of the seeds by id.
        """
        entering: dict[str, float] = {}
        for evolution in evolutions:
            priority = self._priority(info.get(evolution.parent_id, math.nan))
            for child in evolution.children:
                # without a gate against duplicates a child may be there already
                if child.id not in self.buffer:
                    entering.setdefault(child.id, priority)
        evicted = self.buffer.add(list(entering), list(entering.values()), step=step)
        self._filled = self._filled or self.buffer.full
        return evicted

    def remember(self, prompts: Sequence[Prompt]) -> None:
        """Let the gates know prompts that are in the population."""
        for gate in self._gates:
            for prompt in prompts:
                gate.remember(prompt)

    def figures(self, *, step: int) -> dict[str, float]:
        """Return size, mean age and mean priority of the buffer."""
        return {
            "creator/buffer": float(len(self.buffer)),
            "creator/buffer_age": self.buffer.age(step),
            "creator/buffer_priority": self.buffer.mean,
        }

    def save(self, folder: Path) -> None:
        """Write buffer and counters into a checkpoint's folder."""
        from safetensors.numpy import save_file

        save_file(self.state(), folder / STATE)

    def load(self, folder: Path | None) -> None:
        """Go on as the creator that wrote there; None begins anew.

        Raises:
            RunError: it is not there, or damaged.
        """
        if folder is None:
            self._taken, self._filled, self._mean = 0, False, math.nan
            self.buffer.clear()
            return
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            self.restore(load_file(folder / STATE))
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise RunError(
                f"{folder / STATE}: the creator's state cannot be read: {error}; put back a copy "
                "of it, or begin a new run from the policy beside it"
            ) from error

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Return what `restore` needs, as arrays."""
        numbers = np.array([self._taken, self._filled, self._mean], dtype=np.float64)
        return {**self.buffer.state(), "numbers": numbers}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Go on as the creator whose `state` it is; gates are told by `remember`."""
        taken, filled, mean = (float(number) for number in state["numbers"])
        self._taken, self._filled, self._mean = int(taken), bool(filled), mean
        self.buffer.restore(state)

    def _priority(self, info: float) -> float:
        """Return what a child is guessed to be worth, given its seed's informativeness."""
        mean = 0.0 if math.isnan(self._mean) else self._mean
        own = mean if math.isnan(info) else info
        return max(0.0, own + self.sizes.shrink * (mean - own))

    def _next_human(self, count: int, seed: int, *, beside: Collection[str]) -> list[Prompt]:
        """Take human prompts in order; each further pass over them has an order of its own.

        A batch holds no prompt twice, so it is smaller where there are too few.
        """
        size = len(self.human)
        chosen: dict[str, Prompt] = {}
        for place in range(self._taken, self._taken + 2 * size):
            if len(chosen) == count:
                break
            again, index = divmod(place, size)
            if again:
                order = Streams(seed, 0, "online/human").of(again).permutation(size)
                index = int(order[index])
            prompt = self.human[index]
            self._taken += 1
            if prompt.id not in beside:
                chosen[prompt.id] = prompt
        return list(chosen.values())
