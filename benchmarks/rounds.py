"""Measure many subjects turn by turn: A B C, A B C, …

A figure is computed within each round, from processes that ran within a minute of each other, and the table shows the
median over rounds. So a machine that gets slower, or a neighbour that wakes up, touches both sides of a ratio. Readings
that are of the cheapest of many windows (``programs/stamps.py``) are compared by the least of all rounds.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from benchmarks.errors import UnmeasuredError

Key = TypeVar("Key")


@dataclass(frozen=True)
class Series:
    """One value a round. Arithmetic goes round by round."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The figure to show."""
        return statistics.median(self.values)

    def least(self) -> Series:
        """Return the least value, alone: what the machine's neighbours add is never less than nothing."""
        return Series((min(self.values),))

    def __sub__(self, other: Series) -> Series:
        return Series(tuple(mine - its for mine, its in zip(self.values, other.values, strict=True)))

    def __mul__(self, factor: float) -> Series:
        return Series(tuple(value * factor for value in self.values))

    def __truediv__(self, other: Series | float) -> Series:
        if isinstance(other, Series):
            return Series(tuple(mine / its for mine, its in zip(self.values, other.values, strict=True)))
        return self * (1 / other)

    def inverse(self) -> Series:
        """Turn seconds a run into runs a second."""
        return Series(tuple(1 / value for value in self.values))


class Readings(Generic[Key]):
    """What each subject measured, and why some did not."""

    def __init__(self, taken: Mapping[Key, list[float]], missing: Mapping[Key, str]) -> None:
        self._taken = taken
        self._missing = missing

    def __getitem__(self, key: Key) -> Series:
        """Return the subject's values, or raise `UnmeasuredError` with the reason it gave."""
        if key in self._missing:
            raise UnmeasuredError(self._missing[key])
        return Series(tuple(self._taken[key]))


def measure(subjects: Mapping[Key, Callable[[], float]], *, rounds: int, name: str) -> Readings[Key]:
    """Call each subject once unmeasured, to warm caches and find those that fail, then once in each round."""
    taken: dict[Key, list[float]] = {key: [] for key in subjects}
    missing: dict[Key, str] = {}
    for number in range(rounds + 1):
        label = f"round {number} of {rounds}" if number else "warm-up"
        for position, (key, subject) in enumerate(subjects.items(), 1):
            if key in missing:
                continue
            _say(f"{name}: {label}, {position} of {len(subjects)}")
            try:
                value = subject()
            except UnmeasuredError as error:
                missing[key] = str(error)
            else:
                if number:
                    taken[key].append(value)
    _say("")
    return Readings(taken, missing)


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
