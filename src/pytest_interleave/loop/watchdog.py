"""A thread that looks at the loop's thread now and then, and notices steps that take long.

It costs the loop one time stamp a turn. What counts is not how long a turn takes, which on a busy machine says little:

- processor time that the loop's thread used in one and the same callback;
- time for which it stood at one and the same instruction, as it does in a call that waits, and was not ready to run.

A pause of the whole process, or of this thread, counts for little. Importing modules, pytest's own work and debuggers
do not count at all. The thread is not one of ``threading``'s; it ends before a fork, because Python warns of forks in
processes with threads, and goes on when it is started again.
"""

from __future__ import annotations

import _thread
import gc
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any
from weakref import WeakSet

from pytest_interleave.clock.real import monotonic
from pytest_interleave.loop import _plain, own
from pytest_interleave.loop.frames import DEBUGGERS, is_frame_of
from pytest_interleave.loop.states import RUNNABLE, read_state

#: Where a frame of a step stands: its code, and the instruction in it.
Spot = tuple[CodeType, int]

_LOOKS_PER_THRESHOLD = 5
_MOST_FRAMES = 60
#: The share of the time that a call which waits may compute.
_MOST_COMPUTING = 0.05
#: What happens in these is nobody's fault, or a person is looking.
EXCUSED = DEBUGGERS.union(
    ("importlib", "_frozen_importlib", "_frozen_importlib_external", "zipimport", "_pytest", "pluggy")
)
#: Waits until the new thread has begun.
START_OF_THREAD = threading.Thread.start.__code__
_RUN_CALLBACK = _plain.RUN_CALLBACK
_clock_of = getattr(time, "pthread_getcpuclockid", None)  # Unix, but not macOS


@dataclass(slots=True)
class LongStep:
    """A step of the loop that kept everything else waiting. It grows while it lasts."""

    owner: Any
    #: The ``asyncio.Handle`` whose callback it is.
    handle: Any
    seconds: float = 0.0
    computing_seconds: float = 0.0
    #: Where it was seen, innermost frame first, the one that called the callback last; and for how long.
    spots: dict[tuple[Spot, ...], float] = field(default_factory=dict)

    @property
    def longest(self) -> tuple[Spot, ...]:
        """Where it was longest."""
        return max(self.spots, key=self.spots.__getitem__)


class Watchdog:
    """Looks at the loops of the thread in which it was made.

    ``owner`` tells for whom, or None. ``found`` takes a step as soon as it has lasted for ``threshold_seconds``. Both
    are called in the watchdog's thread.
    """

    def __init__(
        self,
        threshold_seconds: float,
        owner: Callable[[], Any],
        found: Callable[[LongStep], object],
        *,
        is_told_again: bool = False,
    ) -> None:
        self._threshold = threshold_seconds
        self._owner = owner
        self._found = found
        self._interval = threshold_seconds / _LOOKS_PER_THRESHOLD
        self._watched = threading.get_ident()
        self._stop: Any = None  # a lock that is held while the thread is to run
        self._ended: Any = None
        self._thread = 0
        self._look = _Look(self._watched, threshold_seconds, found)
        self._look.is_told_again = is_told_again

    @property
    def is_running(self) -> bool:
        """Whether it looks."""
        return self._stop is not None

    def start(self) -> None:
        """Begin to look."""
        if self._stop is None:
            _stop_before_fork()
            _running.add(self)
            self._look.task = f"/proc/self/task/{threading.get_native_id()}/stat"  # another one in a forked process
            self._stop, self._ended = _thread.allocate_lock(), _thread.allocate_lock()
            self._stop.acquire()
            self._ended.acquire()
            started = _thread.allocate_lock()
            started.acquire()
            _thread.start_new_thread(self._run, (self._stop, self._ended, started))
            started.acquire()  # from now on, its number is known to be ours

    def forget_collections(self) -> None:
        """Let the garbage that was collected so far be no excuse for what comes."""
        self._look.forget_collections()

    def stop(self) -> None:
        """Look no longer; the thread is gone when this returns."""
        if self._stop is None:
            return
        _running.discard(self)
        self._stop.release()
        self._ended.acquire()
        self._stop = None
        for _ in range(100):  # the lock is released a moment before the system's thread ends
            if not os.path.exists(f"/proc/self/task/{self._thread}"):
                break
            time.sleep(0.001)
        own.threads.discard(str(self._thread))

    def _run(self, stop: Any, ended: Any, started: Any) -> None:
        self._thread = _thread.get_native_id()
        own.threads.add(str(self._thread))
        started.release()
        try:
            look = self._look
            while not stop.acquire(timeout=self._interval):
                owner = self._owner()
                if owner is not None:
                    look.again(owner)
        finally:
            ended.release()


class _Look:
    """What was seen at the last look, to be compared with the next."""

    def __init__(self, thread: int, threshold_seconds: float, found: Callable[[LongStep], object]) -> None:
        self._thread = thread
        self.task = ""
        self._threshold = threshold_seconds
        self._found = found
        #: ``found`` takes a step at each look while it lasts.
        self.is_told_again = False
        #: More between two looks: the whole process stood still.
        self._most_waiting = 3 * threshold_seconds / _LOOKS_PER_THRESHOLD
        self._clock = None if _clock_of is None else _clock_of(self._thread)
        self._computed = self._read_clock()
        self._beat = 0.0
        self._forget(0.0)
        self.forget_collections()

    def forget_collections(self) -> None:
        """Begin to count collections."""
        self._collections = gc.get_stats()[2]["collections"]

    def _read_clock(self) -> float:
        return 0.0 if self._clock is None else time.clock_gettime(self._clock)

    def _forget(self, now: float) -> None:
        #: The frame that runs the current callback, or its step. As long as it is held, no other is the same object.
        self._callback: Any = None
        self._spots: tuple[Spot, ...] = ()
        self._step: LongStep | None = None
        self._counted_until = now
        self._computing = 0.0
        #: For how long the innermost instruction has been the same, and what of it was computing and was counted.
        self._stand_seconds = self._stand_computing = self._stand_counted = 0.0
        #: What was computed since the last count, but before it came to that instruction.
        self._computed_before = 0.0

    def again(self, owner: Any) -> None:
        """Count the time since the last look."""
        now = monotonic()
        computed = self._read_clock()
        self._computing += computed - self._computed
        self._computed = computed
        collections = gc.get_stats()[2]["collections"]
        has_collected = collections != self._collections
        self._collections = collections
        if _plain.beat[0] != self._beat:
            # The loop came to its selector since the last look. This turn can only be long already if a call that does
            # not release the interpreter's lock has kept us from looking.
            self._beat = _plain.beat[0]
            computing = self._computing
            self._forget(self._beat)
            self._computing = min(computing, now - self._beat)
            if self._computing < self._threshold:
                return
        callback, spots, is_excused = _read_stack(self._thread)
        if callback is None or callback is not (self._callback or callback) or is_excused or has_collected:
            self._forget(now)
            self._callback = callback
            return
        self._callback = callback
        is_first = not self._spots
        if self._clock is not None and spots[:1] != self._spots[:1]:
            self._stand_seconds = self._stand_computing = self._stand_counted = 0.0
            self._computed_before = self._computing
            is_still = False
        else:
            is_still = True
        self._spots = spots
        if is_first and self._computing < self._threshold:
            return
        waits = is_still and read_state(self.task) != RUNNABLE  # else it computes, or has no processor to
        self._count(min(now - self._counted_until, self._most_waiting) if waits else 0.0, now, owner)

    def _count(self, waiting: float, now: float, owner: Any) -> None:
        computing = min(self._computing, now - self._counted_until)
        before = min(self._computed_before, computing)
        self._counted_until = now
        self._computing = self._computed_before = 0.0
        step = self._step
        if step is None:
            callback = self._callback
            handle = callback.f_locals.get("self") if isinstance(callback, FrameType) else callback
            step = self._step = LongStep(owner, handle)
        was_short = step.seconds < self._threshold
        # Who waits does not compute. On a busy machine a call that computes stands still for long, too, but uses some
        # of the processor meanwhile; of that one only the processor's time counts.
        self._stand_seconds += max(waiting, computing) - before
        self._stand_computing += computing - before
        is_waiting = self._stand_computing <= _MOST_COMPUTING * self._stand_seconds
        counted = self._stand_seconds if is_waiting or self._clock is None else self._stand_computing
        seconds, self._stand_counted = before + counted - self._stand_counted, counted
        step.seconds += seconds
        step.computing_seconds += computing
        step.spots[self._spots] = step.spots.get(self._spots, 0.0) + seconds
        if (was_short or self.is_told_again) and step.seconds >= self._threshold:
            self._found(step)


def _read_stack(thread: int) -> tuple[Any, tuple[Spot, ...], bool]:
    """Return what stands for the loop's current callback, the frames in it, and whether they are excused.

    asyncio runs each callback in a frame of its own; a controlled loop runs all those of a turn in one, by steps.
    """
    frame = sys._current_frames().get(thread)
    spots: list[Spot] = []
    is_excused = False
    while frame is not None:
        spot = (frame.f_code, frame.f_lasti)
        if frame.f_code is _RUN_CALLBACK:
            return frame, (*spots[:_MOST_FRAMES], spot), is_excused
        if frame.f_code in _plain.turns:
            return frame.f_locals.get("step"), (*spots[:_MOST_FRAMES], spot), is_excused
        spots.append(spot)
        is_excused = is_excused or is_frame_of(frame, EXCUSED)
        frame = frame.f_back
    return None, (), False


_running: WeakSet[Watchdog] = WeakSet()
_is_registered = False


def _stop_before_fork() -> None:
    global _is_registered
    if not _is_registered and hasattr(os, "register_at_fork"):
        _is_registered = True
        os.register_at_fork(before=_stop_all)


def _stop_all() -> None:
    for watchdog in list(_running):
        watchdog.stop()
