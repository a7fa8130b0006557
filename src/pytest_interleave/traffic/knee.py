"""The highest rate at which a service still does what it must, by bisection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pytest_interleave.arrivals import check_rate
from pytest_interleave.traffic import made
from pytest_interleave.traffic.result import LoadResult, seconds


@dataclass(frozen=True, repr=False)
class Knee:
    """Where a service gives way."""

    #: The highest rate tried at which it held; 0 if it did not even at the lowest.
    rate: float
    #: The lowest rate tried at which it gave way; infinite if it held at the highest.
    broke_at: float
    #: Each rate tried, what came of it, and whether it held, in order of the rates.
    tries: tuple[tuple[float, LoadResult, bool], ...]

    @property
    def title(self) -> str:
        """A few words for a heading."""
        return "knee"

    def describe(self) -> str:
        """Return what came of each rate, a line for each."""
        names = [name for name, _ in self.tries[0][1].percentiles()]
        rows = [["rate", *names, "most in flight", "errors", ""]]
        for rate, result, is_held in self.tries:
            latency = [seconds(value) for _, value in result.percentiles()]
            counts = [f"{result.max_in_flight:,}", f"{result.failed:,}"]
            rows.append([f"{rate:.4g}/s", *latency, *counts, "holds" if is_held else "gives way"])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("   ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)
        return "\n".join(line.rstrip() for line in lines)

    def __repr__(self) -> str:
        lowest, highest = self.tries[0][0], self.tries[-1][0]
        if not self.rate:
            return f"<Knee: gives way at {lowest:g} a second already, the lowest rate tried>"
        if self.broke_at == float("inf"):
            return f"<Knee: holds at {highest:g} a second, the highest rate tried>"
        return f"<Knee: holds at {self.rate:g} a second, gives way at {self.broke_at:g}>"


async def find_knee(
    at_rate: Callable[[float], Awaitable[LoadResult]],
    holds: Callable[[LoadResult], bool | None],
    *,
    between: tuple[float, float],
    precision: float = 0.05,
) -> Knee:
    """Find the highest rate at which ``holds`` says yes, to within ``precision`` of it.

    ``at_rate`` runs a load at that rate, on a fresh service if need be. ``holds`` returns whether the result will do,
    or makes assertions about it.
    """
    low, high = between
    check_rate("lower bound of between", low)
    check_rate("upper bound of between", high)
    if not low < high:
        raise ValueError(f"{between!r} is not a valid between: the first rate must be below the second.")
    if not 0 < precision < 1:
        raise ValueError(f"{precision!r} is not a valid precision: it must be between 0 and 1.")
    tries: dict[float, tuple[LoadResult, bool]] = {}

    async def does_hold(rate: float) -> bool:
        before = list(made.recent)
        result = await at_rate(rate)
        made.recent.clear()  # the knee stands for its loads
        made.recent.extend(before)
        try:
            answer = holds(result)
            is_held = answer is None or bool(answer)
        except AssertionError:
            is_held = False
        tries[rate] = result, is_held
        return is_held

    if not await does_hold(low):
        low, high = 0.0, low
    elif await does_hold(high):
        low, high = high, float("inf")
    else:
        while high - low > precision * high:
            middle = (low + high) / 2
            if await does_hold(middle):
                low = middle
            else:
                high = middle
    knee = Knee(low, high, tuple((rate, *tries[rate]) for rate in sorted(tries)))
    made.recent.append(knee)
    return knee
