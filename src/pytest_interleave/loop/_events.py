"""What a turn runs or lets in: callbacks in the queue, timers, descriptors that are watched."""

from __future__ import annotations

import asyncio
from asyncio import futures
from typing import Any

#: What the timer of ``asyncio.sleep`` calls.
SLEEP_CALLBACK = futures._set_result_unless_cancelled


#: Arrivals are numbered within their watch.
_ARRIVALS = 10_000


class Step(asyncio.Handle):
    """A callback in the queue that remembers in whose name it was scheduled."""

    __slots__ = ("origin", "owner")

    #: Made empty, which is half the price of what ``Handle`` does, then filled by who makes it: see ``make_step``.
    __init__ = object.__init__  # type: ignore[assignment]

    #: What the callback is bound to: the task, where it is a step of one. Asked for in each turn in which it is queued.
    owner: Any

    def cancel(self) -> None:
        """Cancel it, and hold on to nothing that the callback held."""
        self.owner = None
        super().cancel()

    def _run(self) -> None:
        # asyncio's own turn calls this, the controlled one does not.
        self._loop.begin_step(self)
        super()._run()

    def _repr_info(self) -> list[str]:
        return ["Handle", *super()._repr_info()[1:]]  # logs are to read as they do on asyncio


def make_step(callback: Any, args: Any, loop: asyncio.AbstractEventLoop, context: Any = None) -> Step:
    """Make a step as ``Handle`` is made, in debug mode with the traceback of whoever calls the caller."""
    step: Step = Step()
    asyncio.Handle.__init__(step, callback, args, loop, context)
    step.owner = getattr(callback, "__self__", None)
    if step._source_traceback:  # type: ignore[attr-defined]
        del step._source_traceback[-2:]  # type: ignore[attr-defined]
    return step


class Timer(asyncio.TimerHandle):
    """A timer as an outside event."""

    __slots__ = (
        "armed",
        "fired_at",
        "here_since",
        "is_for_idle",
        "is_given",
        "kind",
        "late_before",
        "ordinal",
        "origin",
        "overtaken",
        "place",
        "rests_before",
        "set_at",
        "sort",
        "stands_for",
    )

    _when: float
    _scheduled: bool
    kind: str
    origin: int
    ordinal: int
    sort: tuple[float, int]
    stands_for: int
    #: A library waits so long for itself, and no less than ``GUARD_SECONDS``.
    is_for_idle: bool
    #: How many entries the trace had when it fired; -1 before.
    fired_at: int
    #: Set in a coroutine of the test's own that code under test has started.
    is_given: bool
    place: tuple[str, int] | None
    #: As of a `Watch`.
    here_since: float | None
    overtaken: int
    #: When it was set, and by how much events had been late in this run until then.
    armed: float
    late_before: float
    #: How often the loop had had nothing to run by then.
    rests_before: int
    #: How many entries the trace had by then.
    set_at: int

    def _repr_info(self) -> list[str]:
        return ["TimerHandle", *super()._repr_info()[1:]]

    @property
    def owner(self) -> Any:
        """What the callback is bound to, as of a step."""
        return getattr(self._callback, "__self__", None)  # type: ignore[attr-defined]

    def __lt__(self, other: Any) -> bool:
        return bool(self.sort < other.sort)


class Watch:
    """A file descriptor that is watched in one direction; the arrival of an event on it is an outside event."""

    __slots__ = (
        "_first_ordinal",
        "fd",
        "handle",
        "here_since",
        "is_rest",
        "kind",
        "number",
        "ordinal",
        "origin",
        "overtaken",
        "piece",
        "rests",
    )

    def __init__(self, fd: int, kind: str, number: int, origin: int, ordinal: int, handle: Step) -> None:
        self.fd = fd
        self.kind = kind
        self.number = number
        self.origin = origin
        self._first_ordinal = ordinal * _ARRIVALS + 1
        self.handle = handle
        self.start_again()

    def start_again(self) -> None:
        """Name arrivals as if none had come yet."""
        #: Of the next arrival.
        self.ordinal = self._first_ordinal
        #: When the loop could first have let it in, and by how many timers it was overtaken that were set since.
        self.here_since: float | None = None
        self.overtaken = 0
        #: Only a piece was read when it came in last.
        self.is_rest = False
        self.rests = 0
        #: The rest comes in pieces of that size; 0: as a whole.
        self.piece = 0

    @property
    def whole_ordinal(self) -> int:
        """The ordinal that it would have if nothing before had been read in pieces."""
        return self.ordinal - self.rests
