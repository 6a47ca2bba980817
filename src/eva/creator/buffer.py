"""The prioritised generative buffer of online eva (arXiv:2411.00062, sec. 3.3.2).

Prompts enter with a priority, are drawn in proportion to it, leave as they are drawn, and the
oldest are evicted where there is no room. It holds numbers alone, about 90 bytes a prompt: ids,
priorities, ages. What an id stands for is the population's business.

Departures from the paper, and what it leaves open

- A prompt leaves when it is drawn, not after its update: in step with the updates that is the
  same, and where prompts are fetched ahead of them (in a guest trainer) none is drawn twice.
- Added: `staleness`, a rate at which old priorities fade; 0 is the paper. And draws other than the
  proportional one, for ablations.
- Where no priority is positive, the draw is uniform.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from eva.creator.sampling import draw
from eva.errors import ConfigError, unknown_name
from eva.types import Floats, Ints

_SLACK = 4
"""There is room for a quarter more prompts than are alive, so that packing them is rare."""

State: TypeAlias = Mapping[str, NDArray[np.generic]]
"""What a checkpoint keeps of the buffer: `keys`, `priorities`, `steps`, in order of entry."""


def proportional(weights: Floats, k: int, rng: np.random.Generator) -> Ints:
    """Draw k distinct indices one after another, each in proportion to the weights left, (P,).

    One pass over the weights, whatever k is: those drawn are cut out of the cumulative sum. Fewer
    than k come back where fewer weights are positive.

    >>> proportional(np.array([0.0, 2.0, 0.0, 1.0]), 3, np.random.default_rng(0)).tolist()
    [1, 3]
    """
    ends = np.cumsum(weights)
    drawn: list[int] = []
    wanted = min(k, int(np.count_nonzero(weights > 0)))
    while len(drawn) < wanted:
        point = rng.random() * float(ends[-1] - sum(weights[i] for i in drawn))
        for i in sorted(drawn):
            if point >= ends[i] - weights[i]:
                point += weights[i]
        found = min(int(np.searchsorted(ends, point, side="right")), len(ends) - 1)
        if found in drawn or not weights[found] > 0:
            # rounding: what is left is too small beside what is gone to be seen in the sum
            left = np.setdiff1d(np.flatnonzero(weights > 0), drawn)
            drawn += left[draw(weights[left], wanted - len(drawn), rng)].tolist()
        else:
            drawn.append(found)
    return np.array(drawn, dtype=np.int64)


def uniform(weights: Floats, k: int, rng: np.random.Generator) -> Ints:
    """Draw k distinct indices with equal chances, whatever the weights, (P,) -> (k,)."""
    return rng.choice(len(weights), min(k, len(weights)), replace=False)


def greedy(weights: Floats, k: int, rng: np.random.Generator) -> Ints:
    """Take the k largest weights, the earlier of equals first, (P,) -> (k,)."""
    return np.argsort(-weights, kind="stable")[:k].astype(np.int64)


DRAWS: Mapping[str, Callable[[Floats, int, np.random.Generator], Ints]] = MappingProxyType(
    {"proportional": proportional, "uniform": uniform, "greedy": greedy}
)
"""How prompts are drawn from the buffer, by name; `proportional` is the paper's."""


class Buffer:
    """Ids of unanswered prompts with their priorities, oldest first."""

    def __init__(
        self, capacity: int, *, staleness: float = 0.0, draw: str = "proportional"
    ) -> None:
        """Make an empty buffer.

        Args:
            capacity: the most prompts that stay after `add`.
            staleness: a priority counts exp(-staleness) as much with every step since it entered.
            draw: a name of `DRAWS`.

        Raises:
            ConfigError: no such draw, or a number that makes no buffer.
        """
        if draw not in DRAWS:
            raise ConfigError(unknown_name("draw from the buffer", draw, DRAWS))
        if capacity < 1 or not staleness >= 0:
            raise ConfigError(
                f"buffer: capacity {capacity} and staleness {staleness}, expected at least 1 and 0"
            )
        self.capacity = capacity
        self.staleness = staleness
        self._draw = DRAWS[draw]
        self._inside: set[int] = set()
        self._allocate(1024)

    def __contains__(self, id: str) -> bool:
        return _key(id) in self._inside

    def __len__(self) -> int:
        return self._count

    @property
    def full(self) -> bool:
        """Whether the next prompt evicts one."""
        return self._count >= self.capacity

    @property
    def mean(self) -> float:
        """Mean priority, 0 of an empty buffer."""
        # summed one after another: the dead, at 0, change no bit of it, wherever they lie
        total = np.cumsum(self._priorities[: self._tail])
        return float(total[-1]) / self._count if self._count else 0.0

    def age(self, step: int) -> float:
        """Return how many steps ago prompts entered, on average; 0 of an empty buffer."""
        entered = int(self._steps[: self._tail].sum(dtype=np.int64))
        return step - entered / self._count if self._count else 0.0

    def add(self, ids: Sequence[str], priorities: Sequence[float], *, step: int) -> list[str]:
        """Let prompts in, then evict the oldest beyond the capacity; return the evicted.

        Raises:
            ValueError: a priority is negative or not finite, or an id is not 16 hex digits.
        """
        values = np.array(priorities, dtype=np.float64)
        if not (np.isfinite(values).all() and (values >= 0).all()):
            raise ValueError(f"priorities {list(priorities)}, expected finite numbers from 0")
        self._make_room(len(ids))
        entering = slice(self._tail, self._tail + len(ids))
        keys = [_key(id) for id in ids]
        self._keys[entering] = keys
        self._inside.update(keys)
        self._priorities[entering] = values
        self._steps[entering] = step
        self._alive[entering] = True
        self._tail += len(ids)
        self._count += len(ids)
        surplus = max(0, self._count - self.capacity)
        oldest = np.flatnonzero(self._alive[: self._tail])[:surplus] if surplus else ()
        return self._remove(np.asarray(oldest, dtype=np.int64))

    def draw(self, k: int, rng: np.random.Generator, *, step: int) -> list[str]:
        """Draw and remove up to k prompts; return their ids in order of drawing."""
        weights = self._priorities[: self._tail]
        if self.staleness:
            weights = weights * np.exp(-self.staleness * (step - self._steps[: self._tail]))
        alive = self._alive[: self._tail]
        if self._draw is proportional:
            drawn = proportional(weights, k, rng)
            if len(drawn) < min(k, self._count):
                rest = np.setdiff1d(np.flatnonzero(alive), drawn)
                more = rng.choice(rest, min(k - len(drawn), len(rest)), replace=False)
                drawn = np.concatenate([drawn, more])
        else:
            index = np.flatnonzero(alive)
            drawn = index[self._draw(weights[index], k, rng)]
        return self._remove(drawn)

    def clear(self) -> None:
        """Forget everything."""
        self._allocate(1024)

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Return what `restore` needs."""
        alive = self._alive[: self._tail]
        return {
            "keys": self._keys[: self._tail][alive],
            "priorities": self._priorities[: self._tail][alive],
            "steps": self._steps[: self._tail][alive],
        }

    def restore(self, state: State) -> None:
        """Hold what a buffer held when `state` was taken; what was there before is gone."""
        self._hold(state, room=0)

    def _hold(self, state: State, *, room: int) -> None:
        count = len(state["keys"])
        self._allocate(count + room + max(1024, count // _SLACK))
        self._keys[:count] = state["keys"]
        self._priorities[:count] = state["priorities"]
        self._steps[:count] = state["steps"]
        self._alive[:count] = True
        self._tail = self._count = count
        self._inside = set(self._keys[:count].tolist())

    def _allocate(self, size: int) -> None:
        # dead places have priority 0, so that the paper's draw need not look whether they are alive
        self._keys = np.zeros(size, dtype=np.uint64)
        self._priorities = np.zeros(size, dtype=np.float64)
        self._steps = np.zeros(size, dtype=np.int32)
        self._alive = np.zeros(size, dtype=np.bool_)
        self._tail = self._count = 0
        self._inside = set()

    def _make_room(self, wanted: int) -> None:
        """Pack what is alive to the front where the end is reached, with room for what comes."""
        if self._tail + wanted > len(self._keys):
            self._hold(self.state(), room=wanted)

    def _remove(self, places: Ints) -> list[str]:
        self._alive[places] = False
        self._priorities[places] = 0.0
        self._steps[places] = 0
        self._count -= len(places)
        keys = self._keys[places].tolist()
        self._inside.difference_update(keys)
        return [f"{key:016x}" for key in keys]


def _key(id: str) -> int:
    if len(id) != 16:
        raise ValueError(f"prompt id {id!r}: the buffer holds ids of 16 hexadecimal digits")
    return int(id, 16)
