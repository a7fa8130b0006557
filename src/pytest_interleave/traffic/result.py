"""What a load came to, as values: latencies, errors, and how many requests were in flight when."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from pytest_interleave.traffic import chart

#: The kind of error of a request that had not ended when the load was given up.
UNFINISHED = "unfinished"


class Request(NamedTuple):
    """One request: when it was to start and when it ended, in seconds of the load, and how."""

    number: int
    intended: float
    ended: float
    #: The name of the exception's type; None if it ended well.
    error: str | None

    @property
    def latency(self) -> float:
        """Seconds from when it was to start; infinite if it never ended."""
        return math.inf if self.error == UNFINISHED else self.ended - self.intended

    @property
    def has_latency(self) -> bool:
        """Whether it counts in the percentiles: it ended well, or never."""
        return self.error is None or self.error == UNFINISHED


@dataclass(frozen=True, repr=False, eq=False)
class LoadResult:
    """The numbers of one load. Latencies are seconds; percentiles are of requests that ended well, or never."""

    name: str
    requests: tuple[Request, ...]
    #: Seconds in which requests arrived.
    duration: float
    #: Seconds until the last one had ended.
    elapsed: float
    seed: int
    #: ``virtual`` or ``real``: whose seconds these are.
    clock: str
    real_seconds: float
    #: What each gauge showed: pairs of seconds and value.
    gauges: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    #: For each kind of error the first of it, in words.
    examples: dict[str, str] = field(default_factory=dict)

    @cached_property
    def latencies(self) -> tuple[float, ...]:
        """Those of the requests that ended well, or never (infinite), ascending."""
        return tuple(sorted(each.latency for each in self.requests if each.has_latency))

    @cached_property
    def errors(self) -> dict[str, int]:
        """How many requests failed, by the name of the exception's type; ``unfinished``: were given up."""
        counts: dict[str, int] = {}
        for request in self.requests:
            if request.error is not None:
                counts[request.error] = counts.get(request.error, 0) + 1
        return counts

    @property
    def failed(self) -> int:
        """How many requests did not end well."""
        return sum(self.errors.values())

    @property
    def error_rate(self) -> float:
        """The share of requests that did not end well, from 0 to 1."""
        return self.failed / len(self.requests) if self.requests else 0.0

    def percentile(self, percent: float) -> float:
        """Return the latency that so many per cent of the requests did not exceed; infinite if none ended well."""
        if not 0 < percent <= 100:
            raise ValueError(f"{percent!r} is not a percentile: it must be above 0, and at most 100.")
        if not self.latencies:
            return math.inf
        return self.latencies[math.ceil(percent / 100 * len(self.latencies) - 1e-9) - 1]

    @property
    def p50(self) -> float:
        """The median latency."""
        return self.percentile(50)

    @property
    def p95(self) -> float:
        """The latency that 95 % of the requests did not exceed."""
        return self.percentile(95)

    @property
    def p99(self) -> float:
        """The latency that 99 % of the requests did not exceed."""
        return self.percentile(99)

    @property
    def slowest(self) -> float:
        """The highest latency."""
        return self.percentile(100)

    @property
    def throughput(self) -> float:
        """Requests a second that ended well, until the last had ended."""
        return (len(self.requests) - self.failed) / self.elapsed if self.elapsed else 0.0

    @cached_property
    def in_flight(self) -> list[tuple[float, int]]:
        """How many requests were in flight, from when on: pairs of seconds and number, one for each change."""
        changes = [(each.intended, 1) for each in self.requests] + [(each.ended, -1) for each in self.requests]
        changes.sort()  # of those at the same time, ends come first
        found: list[tuple[float, int]] = []
        count = 0
        for time, change in changes:
            count += change
            if found and found[-1][0] == time:
                found[-1] = time, count
            else:
                found.append((time, count))
        return found

    @cached_property
    def max_in_flight(self) -> int:
        """How many requests were in flight at most."""
        return max((count for _, count in self.in_flight), default=0)

    def in_flight_at(self, seconds: float) -> int:
        """Return how many requests were in flight at that time."""
        index = bisect_right(self.in_flight, (seconds, math.inf)) - 1
        return self.in_flight[index][1] if index >= 0 else 0

    def between(self, start: float, end: float) -> LoadResult:
        """Return the result of the requests that were to start in this part of the load: during a fault, say."""
        chosen = tuple(each for each in self.requests if start <= each.intended < end)
        if not chosen:  # it would have no errors, and prove nothing
            raise ValueError(
                f"between({start:g}, {end:g}): no request was to start then. The load had {len(self.requests):,}, "
                f"from {self.requests[0].intended:.4g} s to {self.requests[-1].intended:.4g} s."
            )
        last = max(each.ended for each in chosen)
        part = f"{self.name}, {start:g} s to {end:g} s"
        return LoadResult(part, chosen, end - start, max(end, last) - start, self.seed, self.clock, self.real_seconds)

    @property
    def title(self) -> str:
        """A few words for a heading."""
        return f"load of {self.name}"

    def describe(self) -> str:
        """Return a histogram of the latencies and what happened over time, in lines."""
        lines = [
            f"{len(self.requests):,} requests in {self.duration:g} s of {self.clock} time (seed {self.seed}); "
            f"{self.throughput:.4g} a second ended well. It took {self.real_seconds:.2g} real seconds.",
            "",
            *self._describe_latency(),
            "",
            *self._timeline(),
        ]
        for kind, count in self.errors.items():
            example = self.examples.get(kind, "")
            first = ", " if kind == UNFINISHED else ", first "
            lines.append(f"{kind}: {count:,}{first if example else ''}{example}")
        return "\n".join(lines)

    def _describe_latency(self) -> list[str]:
        if not self.latencies:
            return ["latency    no request ended well"]
        percentiles = "   ".join(f"{name} {seconds(value)}" for name, value in self.percentiles())
        return [f"latency    {percentiles}", *chart.histogram(self.latencies)]

    def _timeline(self) -> list[str]:
        end = max(self.elapsed, self.duration)
        rows = [("in flight", chart.highest(self.in_flight, end, holds=True), f"at most {self.max_in_flight:,}")]
        if self.latencies:
            slow = [(each.intended, each.ended - each.intended) for each in self.requests if each.has_latency]
            rows.append(("slowest", chart.highest(slow, end), "at most " + seconds(self.slowest) + ", by arrival"))
        bad = [(each.ended, 1.0) for each in self.requests if each.error is not None]
        if bad:
            rows.append(("errors", chart.totals(bad, end), f"{len(bad):,} in all"))
        for name, values in self.gauges.items():
            rows.append(
                (name, chart.highest(values, end), f"at most {max((value for _, value in values), default=0.0):g}")
            )
        return chart.timeline(rows, end)

    def percentiles(self) -> list[tuple[str, float]]:
        """Return the usual ones with their names."""
        return [("p50", self.p50), ("p95", self.p95), ("p99", self.p99), ("slowest", self.slowest)]

    def __repr__(self) -> str:
        # One short line: pytest shows it beside a comparison that failed, and cuts what is longer than 240 characters.
        latency = ", ".join(f"{name} {seconds(value)}" for name, value in self.percentiles()[:3])
        counts = ", ".join(f"{count:,} {kind}" for kind, count in list(self.errors.items())[:3])
        return (
            f"<Load of {len(self.requests):,} requests in {self.duration:g} {self.clock} s: {latency}; "
            f"{self.throughput:.4g}/s; max {self.max_in_flight:,} in flight; "
            f"{counts or 'no errors'}; seed {self.seed}>"
        )


def seconds(value: float) -> str:
    """Return a time as people write it."""
    if math.isinf(value):
        return "never"
    if value < 0.0005:
        return "0 ms" if value < 0.0000005 else f"{value * 1000:.2g} ms"
    return f"{value * 1000:.3g} ms" if value < 0.9995 else f"{value:.3g} s"
