"""POS: a random priority per event."""

from __future__ import annotations

from random import Random

from pytest_interleave.schedule import Event
from pytest_interleave.strategies.random_priority import RandomPriority


class Pos(RandomPriority):
    """Draw a priority for each event when it is first seen."""

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self._priorities: dict[tuple[str, int, int], float] = {}

    def priority(self, event: Event) -> float:
        key = event.kind, event.origin, event.ordinal
        value = self._priorities.get(key)
        if value is None:
            value = self._priorities[key] = self.random.random()
        return value
