"""What can go wrong between a client and a named host, as values, and the draw of it for each connection.

Whatever is drawn is a choice of the search where a run is explored, with 0 for the healthy case; elsewhere it comes
from a generator with a fixed seed. So a plain run is the same every time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from random import Random
from typing import Any, TypeAlias

#: Seconds, a range of seconds, or a distribution: a function that is given a ``random.Random``.
Seconds: TypeAlias = float | tuple[float, float] | Callable[[Random], float]

#: In how many values a search cuts a range of seconds.
_GRID = 4
#: What ``may_fail`` can be asked for, and where in an answer it may strike: before it, in the middle of its first part,
#: after that, in the middle of the second.
CHOICES = ("refused", "dns", "reset", "closed", "slow", "short")
CUTS = (0.0, 0.5, 1.0, 1.5)
_SLOW_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Faults:
    """How the way to a host is. The default is healthy.

    Bytes are counted in the answers of the host, for each connection, and under TLS as they are on the wire.
    """

    #: How long each byte is under way, in each direction; a connection takes twice as long to be made.
    latency: Seconds = 0.0
    #: How long the host's name takes to be looked up.
    dns_latency: Seconds = 0.0
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
    #: As ``reset_at`` and ``close_at``, in parts of the answer as they come: 1.5 is the middle of the second.
    reset_part: float | None = None
    close_part: float | None = None

    def __post_init__(self) -> None:
        for name in ("reset_at", "close_at", "hang_at"):
            _check(name, getattr(self, name), lambda value: value >= 0, "a number of bytes")
        _check("piece", self.piece, lambda value: value >= 1, "a number of bytes, at least 1")
        _check("bandwidth", self.bandwidth, lambda value: value > 0, "bytes a second, more than 0")
        _check("chance", self.chance, lambda value: 0 <= value <= 1, "between 0 and 1")
        for name in ("latency", "dns_latency"):
            _check_seconds(name, getattr(self, name))

    def cut(self, data: bytes, sent: int, part: int) -> tuple[bytes, str]:
        """Return what comes through of that part of an answer, ``sent`` bytes in it, and what strikes behind that."""
        for bytes_limit, part_limit, strike in (
            (self.reset_at, self.reset_part, "was reset"),
            (self.close_at, self.close_part, "was closed"),
            (self.hang_at, None, "fell silent"),
        ):
            limit = len(data) + 1
            if bytes_limit is not None:
                limit = max(0, bytes_limit - sent)
            elif part_limit is not None:
                limit = max(0, int((part_limit - part) * len(data)))
            if limit <= len(data):
                return data[:limit], strike
        return data, ""

    def __str__(self) -> str:
        changed = [(f.name, getattr(self, f.name)) for f in fields(self) if getattr(self, f.name) != f.default]
        return ", ".join(f"{name}={value!r}" for name, value in changed) or "healthy"


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
        self._periods.append(Period(faults, start, start + lasting))
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


#: What happens before a request says which route it is for.
_BEFORE_ROUTES = ("refuse", "dns_failure", "dns_latency", "tls_failure")
#: Kinds of ``CHOICES`` that a route can fail with.
CHOICES_OF_ROUTES = tuple(kind for kind in CHOICES if kind not in ("refused", "dns"))


def check_kinds(kinds: tuple[str, ...], valid: tuple[str, ...] = CHOICES) -> tuple[str, ...]:
    """Return the kinds that a search may choose from, all if none is named; raise ValueError if one is none."""
    wrong = [kind for kind in kinds if kind not in valid]
    if not wrong:
        return kinds or valid
    if wrong[0] in CHOICES:
        raise ValueError(f"{wrong[0]!r} strikes before a route is known: say hosts[…].may_fail({wrong[0]!r})")
    raise ValueError(f"{wrong[0]!r} is no fault that may be chosen; these are: {', '.join(valid)}")


def check_for_route(faults: Faults) -> Faults:
    """Return the faults; raise ValueError if one strikes before it is known for which route a request is."""
    for name in _BEFORE_ROUTES:
        if getattr(faults, name):
            raise ValueError(f"{name} strikes before a route is known: say hosts[…].faults({name}=…)")
    return faults


@dataclass(slots=True)
class Draw:
    """Makes the draws of one ``Hosts``."""

    random: Random = field(default_factory=lambda: Random(0))

    def choose(self, alternatives: int, describe: Callable[[int], str]) -> int | None:
        """Ask the search; None if no search is on, or nothing to choose. ``describe`` says what an answer means."""
        try:
            loop: Any = asyncio.get_running_loop()
        except RuntimeError:
            return None
        decider = getattr(loop, "decider", None)
        if decider is None:
            return None
        answer = int(decider.data(alternatives))
        if loop.observer is not None:
            loop.observer.drew_of_network(describe(answer))
        return answer

    def seconds(self, value: Seconds) -> float:
        """Return the seconds of one connection."""
        if isinstance(value, tuple):
            low, high = value

            def at(share: float) -> float:
                return low + (high - low) * share

            step = self.choose(_GRID, lambda step: _lasting(at(step / (_GRID - 1)))) if high > low else 0
            return at(self.random.random() if step is None else step / (_GRID - 1))
        if callable(value):
            seed = self.choose(_GRID, lambda seed: _lasting(value(Random(seed))))
            return max(0.0, value(self.random if seed is None else Random(seed)))
        return value

    def is_struck(self, chance: float) -> bool:
        """Whether a connection is struck."""
        if chance in (0, 1):
            return chance == 1
        answer = self.choose(2, lambda answer: "its faults" if answer else "none of its faults")
        return self.random.random() < chance if answer is None else answer == 1

    def fault(self, kinds: tuple[str, ...]) -> Faults:
        """Return one of those that a connection may fail with, or none; none outside a search."""
        options = [HEALTHY]
        for kind in kinds:
            options += alternatives_of(kind)
        # As often healthy as not: a test with ten connections must come to the last one, too.

        def option(answer: int) -> Faults:
            return options[answer] if answer < len(options) else HEALTHY

        answer = self.choose(2 * len(options), lambda answer: str(option(answer))) if kinds else 0
        return HEALTHY if answer is None else option(answer)


def _lasting(seconds: float) -> str:
    return f"a latency of {seconds:.3g} s"


def alternatives_of(kind: str) -> list[Faults]:
    """Return what a connection may get for one of ``CHOICES``."""
    if kind == "refused":
        return [Faults(refuse=True)]
    if kind == "dns":
        return []  # asked when the name is looked up
    if kind == "reset":
        return [Faults(reset_part=part) for part in CUTS]
    if kind == "closed":
        return [Faults(close_part=part) for part in CUTS]
    if kind == "slow":
        return [Faults(latency=_SLOW_SECONDS)]
    return [Faults(piece=1)]
