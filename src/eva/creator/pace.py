"""When seeds are evolved: at once, or in the background while the policy trains on.

At once is exact and repeatable. In the background, for rewriters that are another model or a
server, updates never wait: what has arrived is taken up at the next step, its delay on record.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from eva.types import Arrival, Evolution


class AtOnce:
    """Evolves within the step; implements `eva.protocols_online.Pace`."""

    dropped = 0
    """Nothing ever waits."""

    def evolve(
        self, evolve: Callable[[], list[Evolution]], *, step: int, worth: Sequence[float]
    ) -> list[Arrival]:
        """Return what became of the step's seeds."""
        return [Arrival(step, tuple(evolve()), tuple(worth))]

    def finish(self) -> list[Arrival]:
        """Return nothing: all arrived in its own step."""
        return []

    def close(self) -> None:
        """Nothing is under way."""


class Background:
    """Evolves in a thread, one batch after another; implements `eva.protocols_online.Pace`.

    Batches arrive in the order in which they were given. Where the rewriter falls behind, at most
    `waiting` batches queue; seeds beyond that are not evolved, and counted as `dropped`. What is
    under way when a run is interrupted is lost, and not begun again.
    """

    def __init__(self, *, waiting: int = 16) -> None:
        self.waiting = waiting
        self.dropped = 0
        """Batches of seeds for which there was no room, or no time before the end."""
        # a thread of its own for each object: the one thread keeps batches in order
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="eva-rewriter")
        self._under_way: deque[tuple[int, Future[list[Evolution]], tuple[float, ...]]] = deque()

    def evolve(
        self, evolve: Callable[[], list[Evolution]], *, step: int, worth: Sequence[float]
    ) -> list[Arrival]:
        """Begin with the step's seeds, and return those that are done, without waiting.

        Raises:
            Exception: what the rewriter raised, at the step in which it would have arrived.
        """
        if len(self._under_way) < self.waiting:
            self._under_way.append((step, self._pool.submit(evolve), tuple(worth)))
        else:
            self.dropped += 1
        arrivals = []
        while self._under_way and self._under_way[0][1].done():
            arrivals.append(self._arrived())
        return arrivals

    def finish(self) -> list[Arrival]:
        """Drop what has not begun, counted as `dropped`; wait for the rest and return it.

        Raises:
            Exception: what the rewriter raised.
        """
        while self._under_way and self._under_way[-1][1].cancel():
            self._under_way.pop()
            self.dropped += 1
        return [self._arrived() for _ in range(len(self._under_way))]

    def _arrived(self) -> Arrival:
        step, future, worth = self._under_way.popleft()
        return Arrival(step, tuple(future.result()), worth)

    def close(self) -> None:
        """Drop what has not begun and wait for the rest."""
        self._pool.shutdown(cancel_futures=True)
        self._under_way.clear()
