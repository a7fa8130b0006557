"""PCT: a random priority per task, lowered at a few random points."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from pytest_interleave.schedule import Event
from pytest_interleave.strategies.random_priority import RandomPriority


class Pct(RandomPriority):
    """``depth - 1`` changes, spread over as many choice points as asyncio's own run had.

    The number of points must come from the test: a horizon too large made PCT 5 to 360 times worse in two peers.
    """

    def __init__(self, random: Random, depth: int, points: int) -> None:
        super().__init__(random)
        self._lanes: dict[int, float] = {}
        self._queue = random.random()
        self._changes = {random.randrange(max(points, 1)) for _ in range(depth - 1)}
        self._asked = 0
        self._lowest = 0.0

    def priority(self, event: Event) -> float:
        value = self._lanes.get(event.origin)
        if value is None:
            value = self._lanes[event.origin] = 0.5 + self.random.random() / 2
        return value

    def queue_priority(self) -> float:
        return 0.5 + self._queue / 2

    def deliver(self, options: Sequence[Event | None]) -> int:
        choice = super().deliver(options)
        if self._asked in self._changes:
            self._lowest += 0.01
            event = options[choice]
            if event is None:
                self._queue = -1 - self._lowest
            else:
                self._lanes[event.origin] = 0.25 - self._lowest
            choice = super().deliver(options)
        self._asked += 1
        return choice
