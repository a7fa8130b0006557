"""Second layer: what code asks of a loop. Callbacks, timers, descriptors and work for threads, each with its origin."""

from __future__ import annotations

import asyncio
import selectors
import sys
import threading
from bisect import insort
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, cast

from pytest_interleave.loop import ordered
from pytest_interleave.loop._base import BaseLoop
from pytest_interleave.loop._events import Step, Timer, Watch, make_step
from pytest_interleave.loop.jobs import Job
from pytest_interleave.loop.sleeps import GUARD_SECONDS, classify
from pytest_interleave.origins import rank
from pytest_interleave.schedule import CODE_SLEEP, DEADLINE, NESTED_SLEEP, TICK

_NEVER = float("inf")
_ROUNDING = 1e-6  # sums of floats
_SLEEPS = (CODE_SLEEP, NESTED_SLEEP)


class SchedulingLoop(BaseLoop):
    """Takes what is to be done, and notes in whose name."""

    def call_soon(self, /, callback: Any, *args: Any, context: Any = None) -> Step:
        if self._debug or self._closed:
            step = self._step_in_debug_mode(callback, args, context)
        else:
            step = Step()
            # What Handle.__init__ does. Half of the time that a step costs beside its own went there.
            step._context = copy_context() if context is None else context
            step._loop = self
            step._callback = callback
            step._args = args
            step._cancelled = False
            step._repr = step._source_traceback = None
            step.owner = getattr(callback, "__self__", None)
        step.origin = self._origin
        self._ready.append(step)
        return step

    def _step_in_debug_mode(self, callback: Any, args: Any, context: Any) -> Step:
        self._check_closed()
        self._check_thread()
        self._check_callback(callback, "call_soon")
        step = make_step(callback, args, self, context)
        if step._source_traceback:
            del step._source_traceback[-1]
        return step

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> Step:
        self._check_closed()
        if self._debug:
            self._check_callback(callback, "call_soon_threadsafe")
        step = make_step(callback, args, self, context)
        if self._thread_id in (None, threading.get_ident()):
            step.origin = self._origin
            self._ready.append(step)
        else:
            step.origin = 0
            self._inbox.append((threading.get_native_id(), step))
            self._write_to_self()
        return step

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> None:
        super().add_signal_handler(sig, callback, *args)
        step = make_step(callback, args, self)
        step.origin = self._origin
        self._signal_handlers[sig] = step

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> Timer:
        if delay is None:
            raise TypeError("delay must not be None")
        timer = self.call_at(self.time() + delay, callback, *args, context=context)
        if timer._source_traceback:
            del timer._source_traceback[-1]
        return timer

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Timer:
        if when is None:
            raise TypeError("when cannot be None")
        self._check_closed()
        if self._debug:
            self._check_thread()
            self._check_callback(callback, "call_at")
        timer = Timer(when, callback, args, self, context)
        if timer._source_traceback:
            del timer._source_traceback[-1]
        timer._scheduled = True
        origin = self._origin
        counters = self._counters[origin]
        counters[0] += 1
        self._sequence += 1
        timer.kind = "timer"
        timer.origin = origin
        timer.ordinal = counters[0]
        timer.sort = (when, self._sequence)
        timer.armed = self._now
        timer.late_before = self._late_seconds
        timer.rests_before = self._rests
        timer.set_at = len(self.trace)
        timer.here_since = None
        timer.overtaken = 0
        timer.fired_at = -1
        timer.is_for_idle = timer.is_given = False
        setter = sys._getframe(1)
        classify(timer, callback, setter.f_back if setter.f_globals is globals() else setter, self)
        is_explored = self.decider is not None
        if is_explored and timer.stands_for in _SLEEPS and timer.place is not None and rank(timer.place[0]) < 2:
            self._note_library_sleep(timer)
        timers = self._timers
        if when == _NEVER:
            timer._scheduled = False
        elif not timers or timers[-1].sort < timer.sort:
            timers.append(timer)
        else:
            insort(timers, timer)
        return timer

    def _note_library_sleep(self, timer: Timer) -> None:
        """Tell a tick: the sleep of a library after one like it, between which it did nothing, as far as can be seen.

        It has queued nothing, and taken a single step. Whether it has sent anything shows in what comes in next.
        """
        last = self._library_sleeps.get(timer.origin)
        self._library_sleeps[timer.origin] = timer
        if (
            last is not None
            and last.place == timer.place
            and last.fired_at >= 0
            and abs((timer.when() - timer.armed) - (last.when() - last.armed)) < _ROUNDING
            and self.trace[last.fired_at :].count(timer.origin) == 1
            and not any(step.origin == timer.origin for step in self._ready)
        ):
            timer.kind = TICK
            self._new_ticks.append(timer)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        if not handle._scheduled:  # type: ignore[attr-defined]
            return
        self._cancelled_timers += 1
        timer = cast(Timer, handle)
        # A deadline that was not reached, or the beat of a heart that had no time to come.
        if timer.stands_for in (DEADLINE, NESTED_SLEEP) and self.decider is not None and timer.place:
            whose = rank(timer.place[0])
            if whose == 2 or (whose == 1 and timer.when() - timer.armed < GUARD_SECONDS):
                self.unfired.append((timer.origin, timer.ordinal, timer.set_at, len(self.trace), whose))
        if self._cancelled_timers > 100 and self._cancelled_timers * 2 > len(self._timers):
            self._timers[:] = [timer for timer in self._timers if not timer._cancelled]
            self._cancelled_timers = 0

    def _watch(self, fd: Any, kind: str, callback: Any, args: Any) -> Step:
        handle = make_step(callback, args, self)
        handle.origin = self._origin
        counters = self._counters[self._origin]
        counters[1] += 1
        self._sequence += 1
        number = fd if isinstance(fd, int) else fd.fileno()
        self._watches[number, kind] = Watch(number, kind, self._sequence, self._origin, counters[1], handle)
        return handle

    def _add_reader(self, fd: Any, callback: Any, *args: Any) -> Step:
        self._check_closed()
        handle = self._watch(fd, "read", callback, args)
        key = self._selector.get_map().get(fd)
        if key is None:
            self._selector.register(fd, selectors.EVENT_READ, (handle, None))
        else:
            reader, writer = key.data
            self._selector.modify(fd, key.events | selectors.EVENT_READ, (handle, writer))
            if reader is not None:
                reader.cancel()
        return handle

    def _add_writer(self, fd: Any, callback: Any, *args: Any) -> Step:
        self._check_closed()
        handle = self._watch(fd, "write", callback, args)
        key = self._selector.get_map().get(fd)
        if key is None:
            self._selector.register(fd, selectors.EVENT_WRITE, (None, handle))
        else:
            reader, writer = key.data
            self._selector.modify(fd, key.events | selectors.EVENT_WRITE, (reader, handle))
            if writer is not None:
                writer.cancel()
        return handle

    def _poll(self, timeout: float | None = 0) -> list[Watch]:
        """Return the watches with something to deliver, oldest watch first."""
        found: list[Watch] = []
        for key, mask in self._selector.select(timeout):
            reader, writer = key.data
            if mask & selectors.EVENT_READ and reader is not None:
                if reader._cancelled:
                    self._remove_reader(key.fd)
                elif key.fd == self._self_pipe_fd:
                    self._read_from_self()
                else:
                    found.append(self._watches[key.fd, "read"])
            if mask & selectors.EVENT_WRITE and writer is not None:
                if writer._cancelled:
                    self._remove_writer(key.fd)
                else:
                    found.append(self._watches[key.fd, "write"])
        if len(found) > 1:
            found.sort(key=lambda watch: watch.number)
        return found

    async def _ensure_resolved(self, *args: Any, **options: Any) -> Any:
        infos = await cast(Any, super())._ensure_resolved(*args, **options)
        return [ordered.Resolved(info) for info in infos] if infos else infos

    def _make_subprocess_transport(self, *args: Any, **options: Any) -> Any:
        self._outside.is_parent = True
        return super()._make_subprocess_transport(*args, **options)

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        counters = self._counters[self._origin]
        counters[3] += 1
        job = Job(self._origin, counters[3])
        if self._debug:
            self._check_callback(func, "run_in_executor")
        if executor is None or isinstance(executor, ThreadPoolExecutor):
            func = job.wrap(func)
        future = super().run_in_executor(executor, func, *args)
        self._jobs.add(job, cast(Any, future), executor or self._default_executor)
        return future
