"""Random latency: some events come in only after a number of others."""

from __future__ import annotations

from random import Random

from pytest_interleave.schedule import Event
from pytest_interleave.strategies.random_priority import RandomPriority


class Latency(RandomPriority):
    """A share of the events, drawn anew for each run, is late by events, not by seconds.

    By how many is drawn evenly over the orders of magnitude, up to the length of the test.
    """

    def __init__(self, random: Random, points: int) -> None:
        super().__init__(random)
        self.share = random.choice((0.1, 0.25, 0.5))
        self._points = max(points, 2)
        self._due: dict[tuple[str, int, int], int] = {}
        self._delivered = 0

    def priority(self, event: Event) -> float:
        key = event.kind, event.origin, event.ordinal
        due = self._due.get(key)
        if due is None:
            is_late = self.random.random() < self.share
            due = self._delivered + (int(self._points ** self.random.random()) if is_late else 0)
            self._due[key] = due
        return 1.0 if due <= self._delivered else 0.5 / (1 + due - self._delivered)

    def queue_priority(self) -> float:
        return 0.6

    def won(self, event: Event | None) -> None:
        self._delivered += event is not None
