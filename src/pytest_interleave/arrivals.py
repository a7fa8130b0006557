"""When requests arrive, whatever has become of the earlier ones: open load.

Each kind yields seconds from the start of the load, ascending. What is random in it comes from the ``Random`` it is
given, so the same seed gives the same times.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol


class Arrivals(Protocol):
    """Says when requests arrive."""

    def times(self, random: Random, duration: float) -> Iterator[float]:
        """Yield the times of arrival, in seconds, ascending and below ``duration``."""


@dataclass(frozen=True, slots=True)
class Poisson:
    """Independent visitors: ``rate`` a second on average, in clusters and gaps as chance will have it."""

    rate: float

    def __post_init__(self) -> None:
        check_rate("Poisson's rate", self.rate)

    def times(self, random: Random, duration: float) -> Iterator[float]:
        """Yield the times of arrival."""
        time = random.expovariate(self.rate)
        while time < duration:
            yield time
            time += random.expovariate(self.rate)


@dataclass(frozen=True, slots=True)
class Constant:
    """A metronome: ``rate`` a second, evenly spaced. It finds fewer queues than visitors who come as they like."""

    rate: float

    def __post_init__(self) -> None:
        check_rate("Constant's rate", self.rate)

    def times(self, random: Random, duration: float) -> Iterator[float]:
        """Yield the times of arrival."""
        number = 0
        while (time := number / self.rate) < duration:
            yield time
            number += 1


@dataclass(frozen=True, slots=True)
class Ramp:
    """Independent visitors, from ``start`` a second at first to ``end`` a second in the end."""

    start: float
    end: float

    def __post_init__(self) -> None:
        for name, rate in (("start", self.start), ("end", self.end)):
            if not 0 <= rate < math.inf:
                raise ValueError(f"{rate!r} is not a valid {name} of Ramp: it must be a rate of 0 or more a second.")
        if not self.start + self.end:
            raise ValueError("A Ramp from 0 to 0 brings nobody.")

    def times(self, random: Random, duration: float) -> Iterator[float]:
        """Yield the times of arrival: those of the higher rate, thinned out."""
        if math.isinf(duration):
            raise ValueError("A Ramp needs to know how long it takes: load(…, arrivals=Ramp(…), duration=60).")
        most = max(self.start, self.end)
        for time in Poisson(most).times(random, duration):
            if random.random() * most < self.start + (self.end - self.start) * time / duration:
                yield time


@dataclass(frozen=True, slots=True)
class Bursts:
    """``size`` requests at the very same time, once every ``every`` seconds, first at once."""

    size: int
    every: float

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < 1:
            raise ValueError(f"{self.size!r} is not a valid size of Bursts: it must be a whole number, 1 or more.")
        if not 0 < self.every < math.inf:
            raise ValueError(f"{self.every!r} is not a valid every of Bursts: it must be a number of seconds above 0.")

    def times(self, random: Random, duration: float) -> Iterator[float]:
        """Yield the times of arrival."""
        number = 0
        while (time := number * self.every) < duration:
            for _ in range(self.size):
                yield time
            number += 1


@dataclass(frozen=True, slots=True)
class Replay:
    """Requests at these times, in seconds from the first: what a log shows of a bad minute."""

    moments: Sequence[float]

    def __post_init__(self) -> None:
        if not self.moments:
            raise ValueError("Replay needs at least one time.")
        for moment in self.moments:
            if not isinstance(moment, int | float) or not math.isfinite(moment):
                raise ValueError(f"{moment!r} is not a valid time for Replay: times are numbers of seconds.")

    @property
    def duration(self) -> float:
        """How long it takes from the first to the last."""
        return max(self.moments) - min(self.moments)

    def times(self, random: Random, duration: float) -> Iterator[float]:
        """Yield the times of arrival."""
        first = min(self.moments)
        for moment in sorted(self.moments):
            if moment - first <= duration:
                yield moment - first


def check_rate(what: str, rate: float) -> None:
    """Raise a ValueError unless it is a rate."""
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < math.inf:
        raise ValueError(f"{rate!r} is not a valid {what}: it must be a number of requests a second, above 0.")
