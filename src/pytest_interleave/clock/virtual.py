"""Clocks that follow a loop in virtual time.

``time.time``, ``time_ns``, ``datetime.now``, ``localtime`` and their kin are time-machine's business: it asks one
object what time it is. ``monotonic``, ``perf_counter`` and their ``_ns`` are ours, and so is ``sleep``.

The rules:

- A clock stands where it stood when the session began, plus the time of the loop. It is the same until the next await,
  unless somebody asks so often that it must be to wait: then it creeps.
- Each time that it is found to have moved, it is a microsecond later than the loop. No sleep ends on time, and programs
  may rely on that: ``monotonic() - start > ttl`` is true after ``sleep(ttl)``, always. (Sums of floats are not exact;
  without this even ``>=`` would not be. A microsecond is what ``datetime`` and a float of this century can tell.)
- ``time.sleep`` takes its time, really, and by the clocks. The loop's time does not count it.
- Who waits in real time, or measures the real time of a test, goes on to see the real clocks: see ``_REAL``. So do
  threads that were there before.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, contextmanager
from threading import Lock, get_ident
from types import FrameType
from typing import Any, Protocol

from pytest_interleave.clock.builtins import replaced
from pytest_interleave.clock.instants import next_second
from pytest_interleave.errors import ClocksUnavailable

INSTALL = "pip install 'pytest-interleave[clocks]'"
#: Modules and packages that wait in real time until a moment of these clocks (they pass the difference to a lock, a
#: socket or a selector), or measure what a test costs.
_REAL = frozenset(
    (
        *("asyncio", "concurrent.futures._base", "multiprocessing", "queue", "sched", "selectors", "socketserver"),
        *("subprocess", "threading", "cProfile", "profile", "timeit"),
        *("_pytest", "hypothesis", "pluggy", "pytest_interleave"),
    )
)
#: These call what others gave them: ``to_thread(time.sleep, 1)``, or any ``time.sleep`` that is listened to.
_PASS_ON = ("pytest_interleave.loop.jobs", "pytest_interleave.loop.idling")
#: After so many reads without an await each one more takes so many nanoseconds.
_MOST_READS = 10_000
_CREEP = 100_000
_MICROSECOND = 1_000
_SECOND = 1_000_000_000


def _load_time() -> Any:
    """Return a second copy of the module ``time``, whose functions nobody replaces."""
    spec = importlib.machinery.BuiltinImporter.find_spec("time")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_real: Any = _load_time()


#: Where the monotonic clocks stood when the session began. Not zero: a program that says ``last = 0`` and means "long
#: ago" relies on a machine that was not started just now.
_MONOTONIC = next_second(_real.monotonic_ns)
_PERF_COUNTER = next_second(_real.perf_counter_ns)


def find_library() -> Any:
    """Return time-machine; raise ``ClocksUnavailable`` if it is not there or too old."""
    try:
        library = importlib.import_module("time_machine")
    except ImportError:
        raise ClocksUnavailable(f"virtual clocks need time-machine, which is not installed: {INSTALL}") from None
    if not hasattr(library, "Traveller"):
        raise ClocksUnavailable(f"virtual clocks need time-machine 3 or newer, but this one is older: {INSTALL}")
    return library


class HasTime(Protocol):
    """A loop, for all that clocks know of it."""

    def time(self) -> float: ...  # noqa: D102


class Clocks:
    """Python's clocks, in the hands of a loop while they are ``installed`` and ``going``."""

    def __init__(self, start: int, resting_threads: AbstractSet[int] = frozenset()) -> None:
        self._start = start
        #: Threads that see the real clocks: they were there before, and wait for what is real.
        self._resting_threads = resting_threads - {get_ident()}
        self._is_going = False
        self._is_real_in: dict[str, bool] = {}
        self._number = 0
        self._lock = Lock()
        self.begin(0.0)
        self.end()

    # -- a run ---------------------------------------------------------------------------------------------------

    def begin(self, seconds: float, *loops: HasTime) -> None:
        """Begin a run with these loops; it goes on where a loop stands that has run for so long.

        Where it goes on, no clock is earlier than it was before.
        """
        self._is_begun = True
        self._number += 1
        self._reads = 0
        #: Time goes on, whichever of the loops it is that moves it: fixtures of wider scope have one of their own.
        self._loops: tuple[HasTime, ...] = loops
        self._base = seconds - sum(loop.time() for loop in loops)
        if not seconds:
            self._seen = 0.0
            self._late = 0
            #: Nanoseconds that somebody slept, or waited busily, and not by the loop.
            self._slept = 0

    def follow(self, loop: HasTime) -> None:
        """Let a loop that is new count from now on."""
        self._loops = (*self._loops, loop)
        self._base -= loop.time()

    def end(self) -> None:
        """Let the clocks be real until the next run begins."""
        self._is_begun = False
        self._loops = ()

    @contextmanager
    def going(self) -> Iterator[None]:
        """Let the clocks follow the run that was begun, if one was, and be real again afterwards."""
        was_going, self._is_going = self._is_going, self._is_begun
        try:
            yield
        finally:
            self._is_going = was_going

    # -- the clocks ----------------------------------------------------------------------------------------------

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Have the clocks ask this object. Raises ``ClocksUnavailable``."""
        library = find_library()
        with ExitStack() as stack:
            stack.enter_context(self._travelling(library))
            for name, start in (("monotonic", _MONOTONIC), ("perf_counter", _PERF_COUNTER)):
                stack.enter_context(replaced(name, self._clock(start, getattr(_real, name), is_float=True)))
                name += "_ns"
                stack.enter_context(replaced(name, self._clock(start, getattr(_real, name))))
            stack.enter_context(replaced("sleep", self._sleep))
            try:
                yield
            finally:
                self.end()

    @contextmanager
    def _travelling(self, library: Any) -> Iterator[None]:
        travel = library.travel(self._start / _SECOND, tick=False)
        try:
            traveller = travel.start()
        except RuntimeError:  # it knows when freezegun is at work, and then refuses
            raise ClocksUnavailable(
                "the clocks are stopped by freezegun, from before the test began, so they cannot follow virtual time"
            ) from None
        traveller.time_ns = self._clock(self._start, library.escape_hatch.time.time_ns)
        stack = library.traveller_stack
        stack.remove(traveller)
        stack.insert(0, traveller)  # where the test or a fixture travels itself, that counts
        try:
            yield
        finally:
            if stack == [traveller]:
                travel.stop()
            elif traveller in stack:
                stack.remove(traveller)

    def _clock(self, start: int, real: Callable[[], Any], *, is_float: bool = False) -> Callable[[], Any]:
        """Return a function that takes the place of a clock."""
        getframe, follows, elapsed = sys._getframe, self._follows, self._elapsed

        def clock() -> Any:
            if not follows(getframe(1)):
                return real()
            now = start + elapsed()
            return now / _SECOND if is_float else now

        return clock

    def _sleep(self, seconds: Any) -> None:
        """Take the place of ``time.sleep``; of several threads that sleep at once the longest sleep counts."""
        if not self._follows(sys._getframe(1)):
            _real.sleep(seconds)
            return
        number, start = self._number, self._elapsed()
        _real.sleep(seconds)
        with self._lock:
            if self._number == number:  # else it is the thread of a run that is over
                self._slept += max(start + round(seconds * _SECOND) + _MICROSECOND - self._elapsed(), 0)

    def _follows(self, caller: FrameType) -> bool:
        if not self._is_going or get_ident() in self._resting_threads:
            return False
        name = str(caller.f_globals.get("__name__"))
        is_real = self._is_real_in.get(name)
        if is_real is None:
            is_real = self._is_real_in[name] = (
                not _REAL.isdisjoint((name, name.partition(".")[0])) and name not in _PASS_ON
            )
        return not is_real

    def _elapsed(self) -> int:
        """Return how many nanoseconds the run has taken by its loops, and a microsecond for each time they moved."""
        seconds = self._base
        for loop in self._loops:
            seconds += loop.time()
        if seconds != self._seen:
            self._seen = seconds
            self._late += 1
            self._reads = 0
        self._reads += 1
        if self._reads > _MOST_READS:
            self._slept += _CREEP
        return (round(seconds * 1e6) + self._late) * _MICROSECOND + self._slept
