"""What can go wrong between a client and a named host, as values, and when it does."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable
from dataclasses import dataclass, fields
from random import Random
from typing import Any, TypeAlias

#: Seconds, a range of seconds, or a distribution: a function that is given a ``random.Random``.
Seconds: TypeAlias = float | tuple[float, float] | Callable[[Random], float]

#: Of these, nobody hears when they strike.
_DELAYS = ("latency", "connect_latency", "tls_latency", "bandwidth", "piece", "pieces")
#: What happens before a request says which route it is for: while its connection is made.
_BEFORE_ROUTES = ("refuse", "dns_failure", "dns_latency", "connect_latency", "tls_failure", "tls_latency")


@dataclass(frozen=True, slots=True)
class Faults:
    """How the way to a host is. The default is healthy.

    Bytes are counted in the answers of the host, for each connection, and under TLS as they are on the wire.
    """

    #: How long each byte is under way, in each direction; a connection takes twice as long to be made.
    latency: Seconds = 0.0
    #: How long the host's name takes to be looked up.
    dns_latency: Seconds = 0.0
    #: How much longer a connection takes to be made, …
    connect_latency: Seconds = 0.0
    #: … and its TLS to be agreed upon.
    tls_latency: Seconds = 0.0
    #: Bytes a second, in each direction.
    bandwidth: float | None = None
    #: The most bytes that come in at once, in each direction.
    piece: int | None = None
    #: The connection is reset after so many bytes, …
    reset_at: int | None = None
    #: … or ends as if all had been said, …
    close_at: int | None = None
    #: … or falls silent.
    hang_at: int | None = None
    #: Connections are refused.
    refuse: bool = False
    #: Nothing comes through, and connections are not made, until it is healed; nothing is lost.
    partition: bool = False
    #: The name cannot be looked up.
    dns_failure: bool = False
    #: The certificate is one that nobody trusts.
    tls_failure: bool = False
    #: The part of connections that is struck; the others are healthy.
    chance: float = 1.0
    #: As ``piece``, by how many pieces the host makes of what it sends at once.
    pieces: int | None = None
    #: As ``reset_at``, …, in parts of the answer as they come: 1.5 is the middle of the second.
    reset_part: float | None = None
    close_part: float | None = None
    hang_part: float | None = None

    def __post_init__(self) -> None:
        for name in ("reset_at", "close_at", "hang_at"):
            _check(name, getattr(self, name), lambda value: value >= 0, "a number of bytes")
        _check("piece", self.piece, lambda value: value >= 1, "a number of bytes, at least 1")
        _check("pieces", self.pieces, lambda value: value >= 1, "a number, at least 1")
        _check("bandwidth", self.bandwidth, lambda value: value > 0, "bytes a second, more than 0")
        _check("chance", self.chance, lambda value: 0 <= value <= 1, "between 0 and 1")
        for name in ("latency", "dns_latency", "connect_latency", "tls_latency"):
            _check_seconds(name, getattr(self, name))

    def cut(self, data: bytes, sent: int, part: int) -> tuple[bytes, str]:
        """Return what comes through of that part of an answer, ``sent`` bytes in it, and what strikes behind that."""
        for bytes_limit, part_limit, strike in (
            (self.reset_at, self.reset_part, "was reset"),
            (self.close_at, self.close_part, "was closed"),
            (self.hang_at, self.hang_part, "fell silent"),
        ):
            limit = len(data) + 1
            if bytes_limit is not None:
                limit = max(0, bytes_limit - sent)
            elif part_limit is not None:
                limit = max(0, int((part_limit - part) * len(data)))
            if limit <= len(data):
                return data[:limit], strike
        return data, ""

    def slice(self, data: bytes) -> list[bytes]:
        """Return the pieces in which that comes in."""
        size = self.piece or (-(-len(data) // self.pieces) if self.pieces else 0)
        return [data[start : start + size] for start in range(0, len(data), size)] if size else [data]

    @property
    def is_sliced(self) -> bool:
        """Whether each piece comes in by itself."""
        return self.piece is not None or self.pieces is not None

    @property
    def shared(self) -> Faults:
        """What holds for whoever has none of its own: of those with a chance, each has drawn for itself."""
        return self if self.chance == 1 else HEALTHY

    @property
    def is_of_connections(self) -> bool:
        """Whether any of these befalls a connection that is made already."""
        return not self._changed().keys() <= {*_BEFORE_ROUTES, "chance"}

    @property
    def is_of_tls(self) -> bool:
        """Whether it takes TLS to be struck."""
        return self.tls_failure or bool(self.tls_latency)

    def delays(self, *, tls: bool = False) -> str:
        """Return those that end nothing, of which nobody hears when they strike."""
        changed = self._changed()
        return ", ".join(
            f"{name}={changed[name]!r}" for name in _DELAYS if name in changed and (tls or name != "tls_latency")
        )

    def _changed(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}

    def __str__(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self._changed().items()) or "healthy"


def read_faults(values: dict[str, Any]) -> Faults:
    """Return the faults of that name; a misspelt one gets the name that was meant."""
    known = [field.name for field in fields(Faults)]
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            raise TypeError(
                f"there is no fault {name!r}: "
                + (f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}")
            )
    return Faults(**values)


def _check(name: str, value: Any, is_right: Callable[[Any], bool], what: str) -> None:
    if value is not None and (not isinstance(value, (int, float)) or isinstance(value, bool) or not is_right(value)):
        raise ValueError(f"{name}={value!r}: it must be {what}")


def _check_seconds(name: str, value: Any) -> None:
    what = "seconds, a range (0.01, 0.2), or a function of a random.Random"
    if isinstance(value, tuple):
        if len(value) != 2 or not all(isinstance(end, (int, float)) for end in value) or not 0 <= value[0] <= value[1]:
            raise ValueError(f"{name}={value!r}: it must be {what}")
    elif not callable(value):
        _check(name, value, lambda seconds: seconds >= 0, what)


HEALTHY = Faults()


@dataclass(slots=True)
class Period:
    """Faults from one moment of the loop's clock to another."""

    faults: Faults
    start: float
    end: float


class Schedule:
    """Faults that come and go, and those who wait for that."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._periods: list[Period] = []
        self._waiting: set[asyncio.Future[None]] = set()

    def __bool__(self) -> bool:
        return bool(self._periods)

    def add(self, faults: Faults, after: float, lasting: float) -> None:
        """Let these hold from ``after`` seconds on, so long, before those that were added earlier."""
        start = self._clock() + after
        self._periods.append(Period(HEALTHY if faults == HEALTHY else faults, start, start + lasting))
        self._tell_of_change()

    def clear(self) -> None:
        """End all faults, those to come included."""
        self._periods.clear()
        self._tell_of_change()

    def faults_now(self) -> Faults:
        """Return what holds now."""
        if not self._periods:
            return HEALTHY
        now = self._clock()
        return next((period.faults for period in reversed(self._periods) if period.start <= now < period.end), HEALTHY)

    def next_change(self) -> float | None:
        """Return when a period begins or ends next; None if nobody knows."""
        now = self._clock()
        moments = [moment for period in self._periods for moment in (period.start, period.end)]
        return min((moment for moment in moments if now < moment < float("inf")), default=None)

    async def wait_for_change(self) -> None:
        """Wait until a period begins or ends, or one is added, or all are ended."""
        moment = self.next_change()
        future = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await asyncio.wait([future], timeout=None if moment is None else moment - self._clock())
        finally:
            self._waiting.discard(future)

    def _tell_of_change(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)


def check_for_route(faults: Faults) -> Faults:
    """Return the faults; raise ValueError if one strikes before it is known for which route a request is."""
    for name in _BEFORE_ROUTES:
        if getattr(faults, name):
            raise ValueError(f"{name} strikes before a route is known: say hosts[…].faults({name}=…)")
    return faults
