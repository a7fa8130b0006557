"""Random latency: each event may come in some choice points late."""

from __future__ import annotations

from random import Random

from pytest_interleave.schedule import Event
from pytest_interleave.strategies.random_priority import RandomPriority


class Latency(RandomPriority):
    """Half of the events are on time; the others wait for a geometric number of choice points."""

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self._left: dict[tuple[str, int, int], int] = {}

    def priority(self, event: Event) -> float:
        key = event.kind, event.origin, event.ordinal
        left = self._left.get(key)
        if left is None:
            left = 0
            while left < 16 and self.random.random() < 0.5:
                left += 1
        self._left[key] = left - 1
        return 1.0 if left <= 0 else 0.5 / (1 + left)

    def queue_priority(self) -> float:
        return 0.6
