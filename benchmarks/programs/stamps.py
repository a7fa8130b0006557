"""The cost of one of many equal pieces of work, on a processor that is shared with others.

Whoever shares the core slows a process by half for some tenths of a second, CPU time included. So the work is cut into
windows of some ten milliseconds, and the least of them counts: as ``timeit`` advises, what is more is the machine's.
A window is long enough to hold what pieces cost in turns, as the collections of young objects do; those of old ones
come too seldom.
"""

from __future__ import annotations

from itertools import islice
from time import process_time  # as it is now: what a tool may put in its place later is another clock

LEAST_RUNS_IN_A_WINDOW = 24
"""Explorers take turns between strategies, which do not cost the same."""


class Stamps:
    """The process's CPU time at the start of each window."""

    def __init__(self) -> None:
        self._seconds: list[float] = []

    def mark(self) -> None:
        """Note that a window starts here, and the one before ends."""
        self._seconds.append(process_time())

    def cost_of_a_run(self, windows: int) -> float:
        """Return the CPU seconds of a run that begins with a mark, in the cheapest of so many windows at most."""
        window = max(LEAST_RUNS_IN_A_WINDOW, len(self._seconds) // windows)
        return self.least(window) / window

    def least(self, marks: int = 1) -> float:
        """Return the CPU seconds of the cheapest window of so many marks."""
        windows = zip(self._seconds, islice(self._seconds, marks, None), strict=False)
        return min(end - start for start, end in windows)
