"""asyncio's private names, all of them, and the loop that is built on them.

Nothing else in this package may touch an underscored name of asyncio, so that a new Python means a look at one file.

``TurnLoop`` is asyncio's selector loop (CPython ``Lib/asyncio/base_events.py``, ``selector_events.py``) with three
things replaced: the turn (``_run_once``), the clock and the timers, and the way in for other threads. Sockets,
transports, TLS, subprocesses and signals are asyncio's own code. Its rules:

- the queue of ready callbacks is first in, first out, as asyncio documents;
- what comes from outside (I/O, timers, results of threads) enters between two turns, I/O before timers, and is the only
  thing that a ``Decider`` moves, unless it asks to hold steps back, which asyncio never does;
- timers of equal deadline fire in the order of their creation (asyncio's heap loses that order, but its real deadlines
  are never quite equal; virtual ones are);
- time is virtual and moves only to a timer's deadline.
"""

from __future__ import annotations

import asyncio
import inspect
import selectors
import signal
import sys
import threading
from asyncio import base_events, format_helpers, futures
from bisect import insort
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, perf_counter, sleep
from types import FrameType
from typing import Any, cast

from pytest_interleave.errors import Blocked, StepLimit, TimeLimit
from pytest_interleave.loop import _plain, keyed, ordered, threads
from pytest_interleave.loop.frames import is_user_code
from pytest_interleave.loop.jobs import Job, Jobs
from pytest_interleave.loop.outside import Outside
from pytest_interleave.loop.places import rank
from pytest_interleave.schedule import CODE_SLEEP, DEADLINE, NESTED_SLEEP, SCRIPT_SLEEP, Decider
from pytest_interleave.trace import Trace, repeating

_SLEEP_CALLBACK = futures._set_result_unless_cancelled
_EAGER = getattr(asyncio, "eager_task_factory", None)
_GATHER = asyncio.gather.__code__
_TASK_GROUP = asyncio.TaskGroup.create_task.__code__
_LIBRARIES = ("asyncio", "anyio")

#: asyncio fires timers that are due within the clock's resolution; virtual deadlines are sums of floats.
_RESOLUTION = 1e-9
#: After so many turns in which nothing came from outside, time creeps: someone polls the clock or a flag.
_BUSY_TURNS = 1000
_CREEP_SECONDS = 0.001
#: Tasks of a livelock that are named.
_MOST_REPEATING = 3
#: How long a thread at work is waited for in real time, although a timer would be due before.
_LEAST_PATIENCE = 0.05
#: More alternatives at one choice point than this are not offered.
_MOST_TIMERS = 32
_NEVER = float("inf")
#: A transport needs two turns to close its socket, TLS some more.
_LAST_TURNS = 4
#: Selectors round shorter times up to this.
_SELECTOR_SECONDS = 0.001
#: Nothing is late by more than this. Deadlines beyond it are the libraries' own (aiohttp's 300 s); one that the test's
#: own file sets may be passed however far it is.
_MOST_LATE_SECONDS = 10.0
#: A deadline so far off, for which no code of the user's waits, is a library's for itself, as a server's for idle
#: connections (uvicorn and hypercorn: 5 s). That a request may be as late as that is no news about the test.
_IDLE_SECONDS = 5.0 - 1e-6  # sums of floats
#: So long a run may take at the pace of the world.
_REAL_SECONDS = 60.0


class Step(asyncio.Handle):
    """A callback in the queue that remembers in whose name it was scheduled."""

    __slots__ = ("origin",)

    def _repr_info(self) -> list[str]:
        return ["Handle", *super()._repr_info()[1:]]  # logs are to read as they do on asyncio


class Timer(asyncio.TimerHandle):
    """A timer as an outside event."""

    __slots__ = ("armed", "is_for_idle", "kind", "late_before", "ordinal", "origin", "place", "sort", "stands_for")

    kind: str
    origin: int
    ordinal: int
    sort: tuple[float, int]
    stands_for: int
    #: A library waits so long for itself, and no less than ``_IDLE_SECONDS``.
    is_for_idle: bool
    place: tuple[str, int] | None
    #: When it was set, and by how much events had been late in this run until then.
    armed: float
    late_before: float

    def _repr_info(self) -> list[str]:
        return ["TimerHandle", *super()._repr_info()[1:]]

    def __lt__(self, other: Any) -> bool:
        return bool(self.sort < other.sort)


class Watch:
    """A file descriptor that is watched in one direction; the arrival of an event on it is an outside event."""

    __slots__ = ("arrivals", "fd", "handle", "here_since", "kind", "number", "origin", "watch_ordinal")

    def __init__(self, fd: int, kind: str, number: int, origin: int, ordinal: int, handle: Step) -> None:
        self.fd = fd
        self.kind = kind
        self.number = number
        self.origin = origin
        self.watch_ordinal = ordinal
        self.handle = handle
        self.arrivals = 0
        self.here_since: float | None = None

    @property
    def ordinal(self) -> int:
        return self.watch_ordinal * 10_000 + self.arrivals + 1


class ControlledTask(asyncio.Task[Any]):
    """A task whose hash is its creation number within the run.

    Tasks hash by address otherwise, and ``TaskGroup``, ``asyncio.wait`` and ``all_tasks`` iterate sets of them: no run
    could be repeated.
    """

    __slots__ = ("number", "rank")

    def __init__(self, coro: Any, *, number: int, loop: TurnLoop, **options: Any) -> None:
        self.number = number
        self.rank = number - loop.first_number  # before the base class registers the task in a set
        super().__init__(coro, loop=loop, **options)

    def __hash__(self) -> int:
        return self.rank


class ControlledFuture(asyncio.Future[Any]):
    """A future whose hash says how many of its run were asked for theirs before.

    Libraries iterate sets of futures, too: aiohttp has one of those who wait for the same name to be looked up.
    """

    __slots__ = ("rank",)

    rank: int

    def __hash__(self) -> int:
        try:
            return self.rank
        except AttributeError:
            loop: Any = self.get_loop()
            loop.hashed_futures += 1
            self.rank = loop.hashed_futures
            return self.rank


ControlledFuture.__name__ = "Future"
ControlledTask.__name__ = "Task"  # what logs show


class TurnLoop(asyncio.SelectorEventLoop):
    """The loop under control; see the module's text for its rules."""

    #: Asked by those who may not know this class: whether it jumps over waits, and with them over the real network.
    is_virtual = True

    def __init__(self, selector: selectors.BaseSelector | None = None) -> None:
        self._watches: dict[tuple[int, str], Watch] = {}
        self._origin = 0
        self._sequence = 0
        self._counters: list[list[int]] = [[0, 0, 0, 0]]
        ordered.order_as_completed(TurnLoop)
        super().__init__(selector)  # watches its own pipe already
        self._ready: deque[Any]
        self._signal_handlers: dict[int, Any]
        self._inbox: deque[tuple[int, Step]] = deque()
        self._outside = Outside()
        self._task_classes: set[type] = {ControlledTask}
        self._quiet_fds = len(self._selector.get_map())
        #: Threads that never owe an answer: those of the test runner itself.
        self.resting_threads: frozenset[int] = frozenset()
        self.start_of_time = 0.0
        self._first_debug = self.get_debug()
        self.reset()

    # -- a run ---------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Forget the last run. The default executor stays."""
        keyed.forget(self)
        self._now = self.start_of_time
        self._timers: list[Timer] = []
        self._cancelled_timers = 0
        self._ready.clear()
        self._asyncgens_shutdown_called = False  # of the last run; a generator would be warned of
        self._held: list[tuple[int, Step]] = []
        self._jobs = Jobs()
        self._is_hurried = False
        self._outside.reset()
        self._starts: list[tuple[Any, Step, int]] = []
        self._origin = 0
        self._sequence = 0
        self._busy = 0
        self._steps = 0
        self.turns = 0
        self.forced_deadlines = 0
        self._late_seconds = 0.0
        self.decider: Decider | None = None
        self.is_in_real_time = False
        self._real_start = 0.0
        #: Runs each step in the loop's place, and may look at it before and after. None when exploring: it costs time.
        self.observer: Any = None
        #: Called when no step is queued, before anything comes in from outside.
        self.on_idle: Any = None
        #: Is told after each step whose it was (a task, or what a callback is bound to), while one may be cancelled.
        self.after_step: Any = None
        #: What may be interrupted now, who was asked how often, and what was: see ``loop/interruption.py``.
        self.interruptions: list[Any] = []
        #: To be asked what the run leaves behind, before that is cleared away.
        self.cutting: Any = None
        #: Called before what the run leaves is cleared away.
        self.at_end: Any = None
        self.suspensions: dict[tuple[int, str], int] = {}
        self.strikes: dict[int, Any] = {}
        self.stretch = False
        #: A watchdog wants to know when a turn begins.
        self.is_watched = False
        self.step_limit = sys.maxsize
        self.time_limit = float("inf")
        self.real_limit = float("inf")
        self.script: Any = None
        self.trace: list[Any] = []
        self._start: list[list[int]] | None = None
        #: The number of the last task that was there when the run began.
        self.first_number = 0
        self.hashed_futures = 0
        self._by_callback: list[bool] = [False]
        #: For each task by number: its parent's number, its ordinal there.
        self.parents: list[int] = [0]
        self.ordinals: list[int] = [0]
        self.task_names: list[str] = [""]
        self.task_codes: list[Any] = [None]
        self._counters = [[0, 0, 0, 0]]
        self._number = 0
        ordered.order_cancel_scopes()
        self.set_task_factory(None)
        self.set_debug(self._first_debug)
        for number in list(self._signal_handlers):
            self.remove_signal_handler(number)

    def drop_descriptors(self) -> None:
        """Forget what is watched, and close the connections: what runs leave open would speak in the next ones."""
        fds = [key.fd for key in self._selector.get_map().values() if key.fd != self._self_pipe_fd]
        if not fds:
            return
        for fd in fds:
            transport = self._transports.get(fd)
            if transport is not None:
                transport.abort()
            self._remove_reader(fd)
            self._remove_writer(fd)
        self._watches = {key: watch for key, watch in self._watches.items() if watch.fd == self._self_pipe_fd}
        for _ in range(_LAST_TURNS):
            self.call_soon(self.stop)
            self.run_forever()

    def close(self) -> None:
        super().close()
        self._timers.clear()
        self._inbox.clear()

    def rewind(self) -> None:
        """Begin a new run on what is there, and name what it makes as the first such run did.

        Tasks that earlier runs left (a server's, for a connection that is kept) live on under names of their own.
        """
        if self._start is None:
            self._start = [list(counters) for counters in self._counters]
        first = len(self._start)
        # What nothing alive was made by is forgotten: the numbers of ten thousand runs would only grow.
        self._number = last = max(first - 1, self._last_origin_alive())
        self.parents = self.parents[: last + 1]
        self.ordinals = self.ordinals[:first] + [-number for number in range(first, last + 1)]
        self.task_names = self.task_names[: last + 1]
        self.task_codes = self.task_codes[: last + 1]
        del self._counters[last + 1 :]
        del self._by_callback[last + 1 :]
        self._counters[:first] = [list(counters) for counters in self._start]
        self.first_number = self._number
        self.hashed_futures = 0
        self.trace = []
        self._steps = self._busy = 0
        self.forced_deadlines = 0
        self._late_seconds = 0.0
        self.after_step = self.at_end = None
        self.interruptions, self.suspensions, self.strikes = [], {}, {}
        self._is_hurried = False
        self._outside.reset()
        ordered.order_cancel_scopes()
        if not self._jobs:
            self._jobs = Jobs()

    def _last_origin_alive(self) -> int:
        numbers = [getattr(task, "number", 0) for task in asyncio.all_tasks(self)]
        numbers += [step.origin for step in (*self._ready, *self._timers) if not step._cancelled]
        watched = self._selector.get_map()
        numbers += [watch.origin for watch in self._watches.values() if watch.fd in watched]
        return max(numbers, default=0)

    def forget_start(self) -> None:
        """Let the next ``rewind`` find a new start: wider fixtures came or went."""
        self._start = None

    def is_of_this_run(self, task: Any) -> bool:
        """Whether the run itself made that task, rather than a callback of something that lives longer (a server)."""
        number = getattr(task, "number", 0)
        return bool(number > self.first_number and not self._by_callback[number])

    def is_made_by_callback(self, task: Any) -> bool:
        """Whether a callback made that task, or who made it: as a server does for a connection."""
        number = getattr(task, "number", 0)
        return number < len(self._by_callback) and self._by_callback[number]

    @property
    def steps(self) -> int:
        """Steps so far in this run."""
        return self._steps

    # -- scheduling ----------------------------------------------------------------------------------------------

    def time(self) -> float:
        if self.is_in_real_time:
            self._now = perf_counter() - self._real_start
        return self._now

    def go_in_real_time(self) -> None:
        """Let time pass by itself until the end of the run, as it does on asyncio's own loop."""
        self.is_in_real_time = True
        self.real_limit = perf_counter() + _REAL_SECONDS
        self._real_start = perf_counter() - self._now

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Step:
        if self._closed:
            self._check_closed()
        if self._debug:
            self._check_thread()
            self._check_callback(callback, "call_soon")
        step = Step(callback, args, self, context)
        if step._source_traceback:
            del step._source_traceback[-1]
        step.origin = self._origin
        self._ready.append(step)
        return step

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> Step:
        self._check_closed()
        if self._debug:
            self._check_callback(callback, "call_soon_threadsafe")
        step = Step(callback, args, self, context)
        if step._source_traceback:
            del step._source_traceback[-1]
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
        step = Step(callback, args, self, None)
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
        timer.is_for_idle = False
        self._classify(timer, callback)
        timers = self._timers
        if when == _NEVER:
            timer._scheduled = False
        elif not timers or timers[-1].sort < timer.sort:
            timers.append(timer)
        else:
            insort(timers, timer)
        return timer

    def _classify(self, timer: Timer, callback: Any) -> None:
        """Tell a sleep in the test's own frames, a sleep elsewhere and a deadline apart, and find the user's line."""
        frame: FrameType | None = sys._getframe(2)
        if frame is not None and frame.f_globals is globals():  # call_later
            frame = frame.f_back
        while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _LIBRARIES:
            frame = frame.f_back
        if frame is None or frame.f_globals.get("__name__", "").startswith("pytest_interleave."):
            timer.place = None
            if frame is not None and frame.f_globals.get("__name__", "").startswith("pytest_interleave.net."):
                timer.stands_for = CODE_SLEEP  # bytes that are under way
                return
            # A task that is nothing but a sleep.
            timer.stands_for = DEADLINE if callback is not _SLEEP_CALLBACK else NESTED_SLEEP
            return
        code = frame.f_code
        timer.place = (code.co_filename, frame.f_lineno)
        if callback is not _SLEEP_CALLBACK:
            timer.stands_for = DEADLINE
            timer.is_for_idle = timer._when - timer.armed >= _IDLE_SECONDS and self._is_library_waiting(frame)
            return
        script = self.script
        timer.stands_for = CODE_SLEEP
        if script is not None and code.co_filename == script.co_filename:
            if code is script:
                timer.stands_for = SCRIPT_SLEEP
            elif code.co_qualname.startswith(script.co_qualname + ".<locals>."):
                # In the first frame of a task it says when somebody comes; deeper, it is a double of outside work.
                caller = frame.f_back
                is_first = caller is None or caller.f_code is script or not is_user_code(caller.f_code.co_filename)
                timer.stands_for = NESTED_SLEEP if is_first else CODE_SLEEP

    def _is_library_waiting(self, setter: FrameType) -> bool:
        """Whether a library that sets a deadline does so for itself, and not for code of the user's that calls it.

        A handler of the user's also calls the server that it works for, in a task that a callback made.
        """
        if rank(setter.f_code.co_filename) == 2:
            return False
        if self._by_callback[self._origin]:
            return True
        frame = setter.f_back
        while frame is not None and frame.f_globals is not globals():
            if rank(frame.f_code.co_filename) == 2:
                return False
            frame = frame.f_back
        return True

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        if not handle._scheduled:  # type: ignore[attr-defined]
            return
        self._cancelled_timers += 1
        if self._cancelled_timers > 100 and self._cancelled_timers * 2 > len(self._timers):
            self._timers = [timer for timer in self._timers if not timer._cancelled]
            self._cancelled_timers = 0

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None, **options: Any) -> Any:
        if self._task_factory is not None:
            if self._task_factory is _EAGER:
                return self._create_eager_task(coro, name, context)
            return super().create_task(coro, name=name, context=context, **options)
        self._check_closed()
        number = self._enroll(name, coro)
        name = self.task_names[number]
        ready = self._ready
        task = ControlledTask(coro, number=number, loop=self, name=name, context=context, **options)
        if task._source_traceback:
            del task._source_traceback[-2:]
        if self.decider is not None and ready:
            group = self._start_group(sys._getframe(1))
            if group is not None:
                self._starts.append((group, ready[-1], number))
        return task

    def _create_eager_task(self, coro: Any, name: Any, context: Any) -> Any:
        self._check_closed()
        number = self._enroll(name, coro)
        name = self.task_names[number]
        origin, self._origin = self._origin, number
        try:
            return ControlledTask(coro, number=number, loop=self, name=name, context=context, eager_start=True)
        finally:
            self._origin = origin

    def _enroll(self, name: str | None, coro: Any) -> int:
        """Give a task a number, and note whose child it is."""
        self._number = number = self._number + 1
        origin = self._origin
        counters = self._counters[origin]
        counters[2] += 1
        self.parents.append(origin)
        self.ordinals.append(counters[2])
        self._counters.append([0, 0, 0, 0])
        in_callback = self._thread_id is not None and asyncio.current_task(self) is None
        self._by_callback.append(self._by_callback[origin] or in_callback)
        self.task_names.append(name if name is not None else f"Task-{number}")
        self.task_codes.append(getattr(coro, "cr_code", None))
        if self.cutting is not None:
            self.cutting.note_task(number)
        return number

    def adopt(self, task: Any, name: str) -> None:
        """Give a number to a task that was not made by ``create_task``: the runner's own."""
        task.number = self._enroll(name, task.get_coro())
        self._task_classes.add(type(task))

    def _start_group(self, frame: FrameType | None) -> Any:
        """Name the call that starts several tasks at once, if the new task comes from one."""
        for _ in range(3):
            if frame is None:
                return None
            if frame.f_code is _GATHER:
                return ("gather", id(frame), self._steps)
            if frame.f_code is _TASK_GROUP:
                return ("group", id(frame.f_locals["self"]), self._steps)
            frame = frame.f_back
        return None

    # -- descriptors ---------------------------------------------------------------------------------------------

    def _watch(self, fd: Any, kind: str, callback: Any, args: Any) -> Step:
        handle = Step(callback, args, self, None)
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

    @property
    def _self_pipe_fd(self) -> int:
        return int(self._ssock.fileno())

    # -- threads -------------------------------------------------------------------------------------------------

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

    def create_future(self) -> asyncio.Future[Any]:
        return ControlledFuture(loop=self)

    def _collect_inbox(self) -> list[Job]:
        """Sort what other threads sent; return what could come in next."""
        while self._inbox:
            self._jobs.post(*self._inbox.popleft())
        return self._jobs.heads()

    def _has_letters(self) -> bool:
        """Whether other threads have sent anything that was not delivered yet."""
        while self._inbox:
            self._jobs.post(*self._inbox.popleft())
        return self._jobs.has_letters()

    def _settle_threads(self, patience: float, horizon: float) -> bool:
        """Wait, in real time, until every thread that may owe an answer has given it or rests.

        Returns whether it did not take longer than ``patience``. In ``horizon`` seconds something else will happen: a
        job that waits with a shorter timeout than that will go on by itself.
        """
        start = perf_counter()
        end = min(start + patience, self.real_limit)
        pause, calm = 0.0, 0
        while True:
            if 0 < pause < _SELECTOR_SECONDS:
                sleep(pause)
                found = self._selector.select(0)
            else:
                found = self._selector.select(pause)
            if any(key.fd != self._self_pipe_fd for key, _ in found):
                return True
            if self._has_letters():  # others may be about to answer
                end = min(end, start if self._is_hurried else start + _LEAST_PATIENCE)
            is_calm = not self._jobs.is_one_to_begin() and not threads.are_busy(
                self.resting_threads, self._jobs.threads(), horizon
            )
            calm = calm + 1 if is_calm else 0
            if calm == 3:
                return True
            if perf_counter() > end:
                if end == self.real_limit:
                    raise TimeLimit("a thread", self._now)
                return False
            pause = min(pause * 2 + 0.00005, 0.002)

    def _wait_at_choice(self) -> None:
        """Let threads give their answers before a choice is made: the alternatives would depend on their speed.

        One that takes long is not waited for again in this run, unless nothing else can go on.
        """
        if self._is_hurried:
            return
        if self._jobs.are_asked() or threads.are_busy(self.resting_threads, frozenset(), 0):
            self._is_hurried = not self._settle_threads(_LEAST_PATIENCE, 0)

    # -- the turn ------------------------------------------------------------------------------------------------

    def _run_once(self) -> None:
        ready = self._ready
        if self._held:
            self._release_held()
        if self.is_in_real_time:
            self._deliver_in_real_time()
        elif self._stopping:
            self._deliver_what_is_here()
        elif (
            not ready
            or self.decider is not None
            or self._inbox
            or (self._timers and self._timers[0]._when <= self._now + _RESOLUTION)
            or len(self._selector.get_map()) > self._quiet_fds
            or self._busy > _BUSY_TURNS
            or self._signal_handlers
        ):
            self._deliver()
        if self._starts:
            self._order_starts()
        if self.decider is not None and self.decider.holds_steps:
            self._hold_steps(self.decider)
        self.turns += 1
        self._busy += 1
        if self.is_watched:
            _plain.beat[0] = monotonic()
        todo = len(ready)
        self._steps += todo
        if self._steps > self.step_limit:
            raise StepLimit(self._steps, self._now, self._describe_repeating())
        note = self.trace.append
        observer = self.observer
        is_timed = observer is None and self._debug
        is_plain = observer is None and not is_timed
        after_step = self.after_step
        tasks = self._task_classes
        popleft = ready.popleft
        while todo:
            todo -= 1
            step = popleft()
            if step._cancelled:
                continue
            callback = step._callback
            owner = getattr(callback, "__self__", None)
            if owner.__class__ in tasks:
                origin = owner.number
                if origin > self._number:  # an abandoned task of an earlier run
                    origin = 0
                    note(-1)
                else:
                    note(origin)
            else:
                origin = step.origin
                if origin > self._number:
                    origin = 0
                note(-origin - 1)
            self._origin = origin
            try:
                if is_plain:
                    step._context.run(callback, *step._args)
                elif is_timed:
                    self._run_timed(step)
                else:
                    observer.run(step._context, callback, step._args, owner, origin)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:
                self._report_callback(step, error)
            if after_step is not None:
                after_step(owner)
        self._origin = 0
        step = callback = owner = cast(Any, None)  # break reference cycles

    def _run_timed(self, step: Step) -> None:
        """Run it as in asyncio's debug mode, which complains of what blocks: in real time, for virtual time stands."""
        start = perf_counter()
        self._current_handle = step
        try:
            step._context.run(step._callback, *step._args)
        finally:
            self._current_handle = cast(Any, None)
            seconds = perf_counter() - start
            if seconds >= self.slow_callback_duration:
                base_events.logger.warning("Executing %s took %.3f seconds", base_events._format_handle(step), seconds)
            del step  # an error's traceback keeps this frame

    def _report_callback(self, step: Step, error: BaseException) -> None:
        text = format_helpers._format_callback_source(step._callback, step._args)
        self.call_exception_handler({"message": f"Exception in callback {text}", "exception": error, "handle": step})

    def _order_starts(self) -> None:
        """Let the decider permute the first steps of tasks that were started together, in their own places."""
        starts, self._starts = self._starts, []
        decider = self.decider
        if decider is None or len(starts) < 2:
            return
        groups: dict[Any, list[tuple[Step, int]]] = {}
        for group, step, number in starts:
            groups.setdefault(group, []).append((step, number))
        for members in groups.values():
            if len(members) < 2:
                continue
            ready = list(self._ready)
            places = sorted(ready.index(step) for step, _ in members if step in ready)
            if len(places) != len(members):
                continue
            rest = list(members)
            for place in places:
                choice = decider.order([number for _, number in rest]) if len(rest) > 1 else 0
                ready[place] = rest.pop(choice)[0]
            self._ready.clear()
            self._ready.extend(ready)

    def _hold_steps(self, decider: Decider) -> None:
        """Offer to keep steps of tasks back for some turns: schedules that asyncio does not make."""
        ready = self._ready
        if len(ready) < 2:
            return
        kept: list[Any] = []
        for step in ready:
            owner = getattr(step._callback, "__self__", None)
            if owner.__class__ in self._task_classes and owner.number > 1 and not step._cancelled:
                turns = decider.hold(owner.number, 4)
                if turns:
                    self._held.append((self.turns + turns, step))
                    continue
            kept.append(step)
        if not kept:  # someone must go on
            kept.append(self._held.pop()[1])
        ready.clear()
        ready.extend(kept)

    def _release_held(self) -> None:
        due = [step for turn, step in self._held if turn <= self.turns or not self._ready]
        if due:
            self._held = [(turn, step) for turn, step in self._held if step not in due]
            self._ready.extend(due)

    # -- what comes from outside ---------------------------------------------------------------------------------

    def _deliver(self) -> None:
        """Let outside events in: asyncio's way, or as the decider says."""
        ready = self._ready
        decider = self.decider
        if ready and self._busy > _BUSY_TURNS:
            self._creep()
        elif decider is not None and threads.are_there(self.resting_threads) and (ready or self._has_letters()):
            self._wait_at_choice()
        arrived = self._poll() if self._inbox or self._is_watching() else []
        jobs = self._collect_inbox() if self._inbox or self._jobs else []
        if not ready and self.on_idle is not None:
            self.on_idle()
        if not (ready or arrived or jobs):
            arrived, jobs = self._idle()
        is_busy = self._busy > _BUSY_TURNS
        delivered = False
        is_data_here = bool(arrived)
        note = self.trace.append
        while True:
            timers = self._timer_options() if self._timers else []
            natural: Any = None
            if arrived:
                natural = arrived[0]
            elif jobs and (not ready or is_busy):
                natural = jobs[0]
            elif timers and (not ready or timers[0]._when <= self._now + _RESOLUTION):
                # No connection is idle for which there is data, although asyncio looks for that in the next turn only.
                natural = None if is_data_here and timers[0].is_for_idle else timers[0]
            chosen = natural
            if decider is not None and not self._is_overdue(natural):
                options: list[Any] = [natural]
                is_work_internal = bool(ready) and not (arrived or jobs or delivered)
                reachable = self._in_reach(timers, natural, is_work_internal)
                options += [event for event in (*arrived, *jobs, *reachable) if event is not natural]
                if natural is not None and ready:
                    options.append(None)
                if len(options) > 1:
                    chosen = options[decider.deliver(options)]
            if chosen is None:
                return
            self._busy = 0
            delivered = delivered or chosen.__class__ is not Timer or chosen.stands_for == CODE_SLEEP
            if chosen.__class__ is Timer:
                is_forced = chosen is not natural or bool(jobs or arrived)
                if is_forced and chosen._when > self._now:
                    self._late_seconds += chosen._when - self._now
                if chosen.stands_for == DEADLINE:
                    # Also when its time came by itself, if lateness used up a good part of it before.
                    late = self._late_seconds - chosen.late_before
                    self.forced_deadlines += is_forced or late * 4 >= chosen._when - chosen.armed > 0
                arrived = []  # asyncio looks for I/O before it looks at its timers
                self._fire(chosen)
                # Sleeps and deadlines that are due at the very same time come in together; outside work may lag.
                for timer in self._due_with(chosen):
                    if not (is_data_here and timer.is_for_idle):
                        self._fire(timer)
            elif chosen.__class__ is Watch:
                note((chosen.kind, chosen.origin, chosen.ordinal))
                chosen.arrivals += 1
                chosen.here_since = None
                arrived.remove(chosen)
                ready.append(chosen.handle)
            else:
                note(("thread", chosen.origin, chosen.ordinal))
                self._jobs.take(chosen)
                jobs = self._jobs.heads()
                ready.append(chosen.handle)

    def _deliver_what_is_here(self) -> None:
        """Let everything in that has come; the loop was told to stop before it ran, and asyncio runs one turn then."""
        self._let_in(self._poll())

    def _let_in(self, arrived: list[Watch]) -> None:
        for watch in arrived:
            self.trace.append((watch.kind, watch.origin, watch.ordinal))
            watch.arrivals += 1
            self._ready.append(watch.handle)
        while jobs := self._collect_inbox():
            self._jobs.take(jobs[0])
            self._ready.append(jobs[0].handle)
        now = self.time()
        while (timers := self._timer_options()) and timers[0]._when <= now + _RESOLUTION:
            self._fire(timers[0])

    def _deliver_in_real_time(self) -> None:
        """Do what asyncio does between two turns: wait for what comes first, then let in all that has come."""
        timers = self._timer_options()
        seconds = timers[0]._when - self.time() if timers else _NEVER
        if self._ready or self._stopping or self._has_letters():
            seconds = 0
        elif perf_counter() > self.real_limit:
            raise TimeLimit("something in real time", self._now)
        arrived = self._poll(min(max(seconds, 0), max(self.real_limit - perf_counter(), 0)))
        self._let_in(arrived)

    def _is_watching(self) -> bool:
        """Whether something might come in through the selector that a thread does not announce."""
        return len(self._selector.get_map()) > self._quiet_fds or bool(self._signal_handlers)

    def _idle(self) -> tuple[list[Watch], list[Job]]:
        """Nothing can run. Return what came in from outside meanwhile; nothing at all if a timer is next."""
        if self.observer is not None:
            self.observer.idle()
        while True:
            start = perf_counter()
            timers = self._timer_options()
            # As long as asyncio would: it fires the timer then, whoever is at work.
            horizon = timers[0]._when - self._now if timers else _NEVER
            if self._jobs or threads.are_there(self.resting_threads):
                is_calm = self._settle_threads(max(horizon, _LEAST_PATIENCE), horizon)
                arrived, jobs = self._poll(), self._collect_inbox()
                self._is_hurried = self._is_hurried or (bool(jobs) and not is_calm)
                if arrived or jobs or self._ready or not is_calm:
                    return arrived, jobs
            owes = self._is_watching() and self._owes()
            if self._outside.has_pushed:
                self._outside.has_pushed = False
                arrived = self._poll()
                if arrived:
                    return arrived, []
            if not owes:
                if timers:
                    return [], []
                if self.observer is not None:
                    self.observer.blocked()
                raise Blocked(self._now, self._steps)
            arrived, jobs = self._wait_outside(start, horizon)
            if arrived or jobs or self._ready or (timers and timers[0]._when <= self._now + _RESOLUTION):
                return arrived, jobs

    def _owes(self) -> bool:
        """Whether a descriptor or a signal may come to life without anything from this process."""
        fds = set(self._selector.get_map()) - {self._self_pipe_fd}  # its values would be dear
        if self._signal_handlers and (self._outside.has_children() or signal.getitimer(signal.ITIMER_REAL)[0]):
            return True
        return bool(fds) and self._outside.owes(fds)

    def _wait_outside(self, start: float, horizon: float) -> tuple[list[Watch], list[Job]]:
        """Wait for the outside in real time, which counts as virtual time then, from ``start`` on."""
        now = perf_counter()
        if now > self.real_limit:
            raise TimeLimit("the outside", self._now)
        seconds = min(horizon - (now - start), self.real_limit - now)
        arrived = self._poll(None if seconds == _NEVER else max(seconds, 0))
        self._now += min(perf_counter() - start, horizon)
        return arrived, self._collect_inbox()

    def _fire(self, timer: Timer) -> None:
        self._timers.remove(timer)
        timer._scheduled = False
        if timer._when > self._now:
            if timer._when > self.time_limit:
                raise TimeLimit("something", self._now, is_real=False)
            self._now = timer._when
        self.trace.append(("timer", timer.origin, timer.ordinal))
        step = cast(Any, timer)
        self._ready.append(step)

    def _due_with(self, fired: Timer) -> list[Timer]:
        found = []
        for timer in self._timers:
            if timer._when > fired._when:
                break
            if timer._when == fired._when and timer.stands_for != CODE_SLEEP and not timer._cancelled:
                found.append(timer)
        return found

    def _timer_options(self) -> list[Timer]:
        """Return the timers that could fire next, asyncio's choice first.

        Timers fire in the order of their deadlines, but a sleep that stands for outside work may take longer and be
        overtaken. The test's own sleeps are its script: they keep their order among themselves.
        """
        options: list[Timer] = []
        timers = self._timers
        while timers and timers[0]._cancelled:
            timers[0]._scheduled = False
            del timers[0]
            self._cancelled_timers -= 1
        nested = False
        for timer in timers:
            if timer._cancelled:
                continue
            stands_for = timer.stands_for
            if not nested or stands_for == DEADLINE:
                options.append(timer)
            if stands_for in (DEADLINE, SCRIPT_SLEEP) or not self.stretch or len(options) == _MOST_TIMERS:
                break
            nested = nested or stands_for == NESTED_SLEEP
        return options

    def _is_overdue(self, event: Any) -> bool:
        """Whether the event is as late as anything may be."""
        if event.__class__ is Timer:
            return bool(self._now - event._when > _MOST_LATE_SECONDS)
        if event.__class__ is Watch:
            if event.here_since is None:
                event.here_since = self._now
            return bool(self._now - event.here_since > _MOST_LATE_SECONDS)
        return False

    def _in_reach(self, timers: list[Timer], natural: Any, is_work_internal: bool) -> list[Timer]:
        """Return those that may come in now.

        What they overtake must not become too late. The test's own sleeps say "by now the others have done what they
        could", so they do not overtake work that waits for nothing outside; ``sleep(0)`` stands for outside work there.
        """
        if not timers:
            return timers
        if is_work_internal:
            timers = [
                timer
                for timer in timers
                if timer.stands_for in (DEADLINE, CODE_SLEEP)
                or (timer.stands_for == NESTED_SLEEP and self._has_yields())
            ]
        since = natural._when if natural.__class__ is Timer else self._now
        limit = since + _MOST_LATE_SECONDS
        script = self.script
        return [
            timer
            for timer in timers
            if (timer._when < limit and not timer.is_for_idle)
            or (
                timer.stands_for == DEADLINE
                and script is not None
                and timer.place
                and timer.place[0] == script.co_filename
                and timer._when <= self.time_limit  # else it would be the choice that ends the run
            )
        ]

    def _has_yields(self) -> bool:
        """Whether a task is queued that has run before and gave way by ``sleep(0)``."""
        for step in self._ready:
            callback = step._callback
            if type(callback).__name__ == "TaskStepMethWrapper" or getattr(callback, "__name__", "") == "__step":
                task = getattr(callback, "__self__", None)
                coro = task.get_coro() if isinstance(task, asyncio.Task) else None
                if (
                    coro is not None
                    and inspect.iscoroutine(coro)
                    and inspect.getcoroutinestate(coro) == inspect.CORO_SUSPENDED
                ):
                    return True
        return False

    def _describe_repeating(self) -> tuple[str, ...]:
        numbers = repeating(self.trace)
        trace = Trace(self.trace, self.parents, self.ordinals, self.task_names, self.task_codes)
        names = [trace.name_of(trace.path(number)) for number in numbers[:_MOST_REPEATING]]
        rest = len(numbers) - len(names)
        return (*names, f"{rest} more") if rest else tuple(names)

    def _creep(self) -> None:
        """Let time pass under work that never rests: someone polls, and waits for a deadline or a thread."""
        if threads.are_there(self.resting_threads):
            self._settle_threads(_LEAST_PATIENCE, 0)
            if self._has_letters():
                return
        self._now += _CREEP_SECONDS
        if self._now > self.time_limit:
            raise TimeLimit("something", self._now, is_real=False)
        if perf_counter() > self.real_limit:
            raise TimeLimit("real time", self._now)

    def abandon(self, task: asyncio.Task[Any]) -> None:
        """Forget a task that will not end: no complaint when it is collected, and no step any more."""
        _plain.take_out(task)
        kept = [step for step in self._ready if getattr(step._callback, "__self__", None) is not task]
        self._ready.clear()
        self._ready.extend(kept)


_plain.turns.add(TurnLoop._run_once.__code__)
