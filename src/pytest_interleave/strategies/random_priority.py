"""Random strategies over outside events, in one class: which of them is drawn is a matter of four parameters.

*POS* (Yuan et al., "Partial order aware concurrency sampling", CAV 2018) gives each event a random priority.
*PCT* (Burckhardt et al., "A randomized scheduler with probabilistic guarantees of finding bugs", ASPLOS 2010) gives
each task one, and lowers the winner's at a few random points. *Random latency* (NACD, ECOOP 2025) lets each event take
a random number of turns longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from pytest_interleave.schedule import CODE_SLEEP, DEADLINE, Event


class RandomPriority:
    """Common part: weigh what could come in now against running what is queued."""

    holds_steps = False
    passes = 0
    splits = False

    def __init__(self, random: Random) -> None:
        self.random = random
        # How willing this run is to let a timer fire although work is ready. Deadlines that fire too early mostly end
        # a run with an honest TimeoutError, so that half of the runs leave them alone.
        self.early_timers = random.choice((0.0, 0.1, 0.4, 1.0))
        self.early_deadlines = random.choice((0.0, 0.0, 0.05, 0.3))
        self._cancels: float | None = None

    def priority(self, event: Event) -> float:
        """Return the event's priority, from 0 to 1."""
        raise NotImplementedError

    def queue_priority(self) -> float:
        """Return the priority of running what is queued."""
        return self.random.random()

    def won(self, event: Event | None) -> None:
        """Hear what was chosen."""

    def deliver(self, options: Sequence[Event | None]) -> int:
        natural = options[0]
        queued = natural is None or None in options
        best, best_index = -1.0, 0
        for index, event in enumerate(options):
            if event is None:
                value = self.queue_priority()
            else:
                value = self.priority(event)
                if event.kind == "timer" and event is not natural and not self._may_fire(event, queued):
                    continue
            if value > best:
                best, best_index = value, index
        self.won(options[best_index])
        return best_index

    def _may_fire(self, event: Event, queued: bool) -> bool:
        stands_for = getattr(event, "stands_for", DEADLINE)
        if stands_for == CODE_SLEEP:
            return True  # outside work: it may well be done by now
        if stands_for == DEADLINE:
            return self.random.random() < self.early_deadlines
        return not queued or self.random.random() < self.early_timers

    def order(self, origins: Sequence[int]) -> int:
        return 0

    def hold(self, origins: Sequence[int], turns: int) -> Sequence[int]:
        return ()

    def data(self, alternatives: int, *, is_fault: bool = False) -> int:
        # As often healthy as not: a test with ten connections must come to the last one, too.
        return 0 if is_fault and self.random.random() < 0.5 else self.random.randrange(alternatives)

    def cancel(self, kind: str, origin: int, ordinal: int, alternatives: int) -> int:
        if self._cancels is None:  # drawn late: the other choices of a seed do not depend on it
            self._cancels = self.random.choice((0.0, 0.05, 0.2))
        return self.random.randrange(1, alternatives) if self.random.random() < self._cancels else 0

    def split(self, origin: int, ordinal: int) -> int:
        return 0
