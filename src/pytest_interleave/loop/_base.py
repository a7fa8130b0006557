"""The loop under control, first layer: the state of one run, and the tasks that it makes."""

from __future__ import annotations

import asyncio
import selectors
import sys
from collections import deque
from functools import lru_cache
from operator import attrgetter
from types import FrameType, MethodType
from typing import Any

from pytest_interleave.clock.real import monotonic, perf_counter
from pytest_interleave.errors import StepLimit
from pytest_interleave.loop import _plain, keyed, ordered
from pytest_interleave.loop._events import Step, Timer, Watch
from pytest_interleave.loop.jobs import Jobs
from pytest_interleave.loop.outside import Outside
from pytest_interleave.loop.sleeps import is_local_to, is_started_beside
from pytest_interleave.loop.tasks import ControlledFuture, ControlledTask, initialize, new_task
from pytest_interleave.schedule import Decider

_EAGER = getattr(asyncio, "eager_task_factory", None)
_GATHER = asyncio.gather.__code__
_TASK_GROUP = asyncio.TaskGroup.create_task.__code__
_CREATE_TASK = asyncio.create_task.__code__
_current_task = asyncio.current_task

#: A transport needs two turns to close its socket, TLS some more.
_LAST_TURNS = 4
#: So long a run may take at the pace of the world.
_REAL_SECONDS = 60.0
#: Timers, watches, tasks made in its own steps, jobs in threads, and tasks that callbacks make in its name.
_KINDS_COUNTED = 5
#: After so many turns in which nothing came from outside, time creeps: someone polls the clock or a flag.
BUSY_TURNS = 1000
#: What callbacks make is numbered from here.
_BY_CALLBACK = 10_000


class BaseLoop(asyncio.SelectorEventLoop):
    """What a run is: its clock, its queues, the numbers of its tasks. How it goes on is for the other layers."""

    #: Asked by those who may not know this class: whether it jumps over waits, and with them over the real network.
    is_virtual = True
    #: Somebody let it watch a descriptor, and was made to forget: who does so once a loop (gRPC) would wait in vain.
    is_spent = False
    #: Whether the threads of its default executor outlive the host of the loop.
    keeps_executor = False

    _selector: Any
    _default_executor: Any
    _thread_id: Any
    _stopping: bool

    def __init__(self, selector: selectors.BaseSelector | None = None) -> None:
        self._watches: dict[tuple[int, str], Watch] = {}
        self._origin = 0
        self._sequence = 0
        self._counters: list[list[int]] = [[0] * _KINDS_COUNTED]
        ordered.order_as_completed(BaseLoop)
        super().__init__(selector)  # watches its own pipe already
        self._self_pipe_fd: int = self._ssock.fileno()
        self._ready: deque[Any]
        self._signal_handlers: dict[int, Any]
        self._inbox: deque[tuple[int, Step]] = deque()
        self._outside = Outside()
        self._task_classes: set[type] = {ControlledTask}
        # Looked at in each turn, and the mapping that the selector shows has a __len__ in Python.
        self._watched_fds = getattr(self._selector, "_fd_to_key", self._selector.get_map())
        self._quiet_fds = len(self._watched_fds)
        #: Threads that never owe an answer: those of the test runner itself.
        self.resting_threads: frozenset[int] = frozenset()
        self._jobs = Jobs()
        self.start_of_time = 0.0
        self._first_debug = self.get_debug()
        # asyncio's tasks and futures, which are in C, each ask for this; a function in Python takes five times as long.
        self.get_debug = MethodType(attrgetter("_debug"), self)  # type: ignore[method-assign]
        #: By asyncio's own name too: tests fire them by hand (Home Assistant's, zeroconf's).
        self._timers: list[Timer] = self._scheduled
        self._held: list[tuple[int, Step]] = []
        self._starts: list[tuple[Any, Step, int]] = []
        #: Descriptors of what only passes on, inside of this process, what comes: not when they do is chosen, but when
        #: that arrives behind them.
        self.passing_on: set[int] = set()
        #: The last sleep that a library set, by who set it; those that were taken for ticks in this turn.
        self._library_sleeps: dict[int, Timer] = {}
        self._new_ticks: list[Timer] = []
        #: Transports of which only a piece is read in this turn.
        self._read_short: list[Any] = []
        #: Tasks of the test's own code that code under test has started: work, and nobody's arrival.
        self.given_tasks: set[int] = set()
        self.reset()

    def reset(self) -> None:
        """Forget the last run. The default executor stays."""
        keyed.forget(self)
        self._now = self.start_of_time
        self._timers.clear()
        self._cancelled_timers = 0
        self._ready.clear()
        self._asyncgens_shutdown_called = False  # of the last run; a generator would be warned of
        self._held.clear()
        #: The first turn in which one of these goes on.
        self._held_until = sys.maxsize
        if self._jobs.were_used:
            self._jobs = Jobs()
        self._is_hurried = self._has_waited = False
        self._outside.reset()
        self._starts.clear()
        self._origin = 0
        self._sequence = 0
        self._steps = 0
        self.turns = 0
        #: How many turns there may be until something must have come in from outside.
        self._busy_from = BUSY_TURNS
        #: How many timers have fired that were set for this very instant.
        self._at_once = 0
        self.forced_deadlines = 0
        #: The last deadline ended what would have waited for ever.
        self.has_hung = False
        self._late_seconds = 0.0
        self._rests = 0
        #: How long the trace was when work from outside came in last, and when a sleep in a task of the test's ended.
        self._outside_work_at = self._nested_sleep_at = 0
        #: Deadlines that were not reached: origin, ordinal, the part of the trace in which they were set, and the rank
        #: of whoever set them.
        self.unfired: list[tuple[int, int, int, int, int]] = []
        self.passing_on.clear()
        self._library_sleeps.clear()
        self._new_ticks.clear()
        self._read_short.clear()
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
        #: Called with the loop before what the run leaves is cleared away.
        self.at_end: Any = None
        self.suspensions: dict[tuple[int, str], int] = {}
        self.strikes: dict[int, Any] = {}
        self.stretch = False
        #: Whether mocks may answer late, where that is wanted.
        self.may_mocks_lag = False
        #: A watchdog wants to know when a turn begins.
        self.is_watched = False
        self.step_limit = sys.maxsize
        #: What a step did that was cut since it did not give way.
        self.spun: StepLimit | None = None
        self.time_limit = float("inf")
        self.real_limit = float("inf")
        #: When it was over, but for what has to be cleaned up.
        self.end_time: float | None = None
        self.script: Any = None
        #: Seconds that the script gives as a timeout to code that sets the deadline itself.
        self.given_timeouts: frozenset[float] = frozenset()
        self.trace: list[Any] = []
        self._start: list[list[int]] | None = None
        #: The number of the last task that was there when the run began.
        self.first_number = 0
        #: The number of the last watch or timer that was there.
        self._first_sequence = 0
        #: What was watched when the first such run began.
        self._lasting: list[Watch] = []
        self.given_tasks.clear()
        self.hashed_futures = 0
        self._by_callback: list[bool] = [False]
        #: For each task by number: its parent's number, its ordinal there.
        self.parents: list[int] = [0]
        self.ordinals: list[int] = [0]
        self.task_names: list[str] = [""]
        self.task_codes: list[Any] = [None]
        self._counters = [[0] * _KINDS_COUNTED]
        self._number = 0
        #: Of the runner's task, which asyncio does not list between two jobs.
        self._adopted_number = 0
        ordered.order_cancel_scopes()
        self._task_factory = None
        self._debug = self._first_debug  # set_debug would tell a loop that runs; this one does not
        if self._signal_handlers:
            for number in list(self._signal_handlers):
                self.remove_signal_handler(number)

    def has_nothing_left(self) -> bool:
        """Whether no task is alive, no async generator suspended, and nothing watched."""
        return not (_plain.count_tasks() or self.has_descriptors() or self._asyncgens)

    def has_nothing_to_finish(self) -> bool:
        """Whether a host need not even turn the loop before it closes it, where nothing is left."""
        is_executor_used = self._default_executor is not None and not self.keeps_executor
        return not (self._ready or is_executor_used or "shutdown_asyncgens" in self.__dict__)

    def has_descriptors(self) -> bool:
        """Whether anything is watched but the loop's own pipe."""
        return len(self._watched_fds) > self._quiet_fds

    def close_servers(self, *, of_this_run: bool = False) -> None:
        """Close servers that are left open: they hold ports that the test needs again in its next run."""
        for watch in list(self._watches.values()):
            server = _plain.server_of(watch.handle)
            if server is not None and (not of_this_run or watch.number > self._first_sequence):
                server.close()

    def drop_descriptors(self) -> None:
        """Forget what is watched, and close the connections: what runs leave open would speak in the next ones."""
        fds = [key.fd for key in self._selector.get_map().values() if key.fd != self._self_pipe_fd]
        for fd in fds:
            transport = self._transports.get(fd)
            if transport is not None:
                transport.abort()
            else:
                self.is_spent = True
            self._remove_reader(fd)
            self._remove_writer(fd)
        self._watches = {key: watch for key, watch in self._watches.items() if watch.fd == self._self_pipe_fd}
        self.settle()

    def settle(self) -> None:
        """Let in what has come, and what follows at once, as where a server sees that a connection is closed."""
        for _ in range(_LAST_TURNS):
            self.call_soon(self.stop)
            self.run_forever()

    def close(self) -> None:
        super().close()
        self.__dict__.pop("get_debug", None)  # it holds the loop
        self._timers.clear()
        self._inbox.clear()

    def rewind(self) -> None:
        """Begin a new run on what is there, and name what it makes as the first such run did.

        Tasks that earlier runs left (a server's, for a connection that is kept) live on under names of their own.
        """
        if self._start is None:
            self._start = [list(counters) for counters in self._counters]
            self._lasting = list(self._watches.values())
        for watch in self._lasting:
            watch.start_again()
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
        self._first_sequence = self._sequence
        self.hashed_futures = 0
        self.trace = []
        self.given_tasks.clear()
        self._steps = 0
        self._busy_from = self.turns + BUSY_TURNS
        self.forced_deadlines = 0
        self.has_hung = False
        self._late_seconds = 0.0
        self._rests = 0
        self._outside_work_at = self._nested_sleep_at = 0
        self.unfired = []
        self.after_step = self.at_end = None
        self.interruptions, self.suspensions, self.strikes = [], {}, {}
        self._is_hurried = self._has_waited = False
        self._library_sleeps.clear()
        self._new_ticks.clear()
        self._outside.reset()
        ordered.order_cancel_scopes()
        if not self._jobs:
            self._jobs = Jobs()

    def _last_origin_alive(self) -> int:
        numbers = [getattr(task, "number", 0) for task in asyncio.all_tasks(self)] + [self._adopted_number]
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
    def is_origin_by_callback(self) -> bool:
        """Whether what runs now is a callback's work, or that of a task that a callback made."""
        return self._by_callback[self._origin]

    @property
    def is_origin_given(self) -> bool:
        """Whether what runs now is a task of the test's own code that code under test has started."""
        return self._origin in self.given_tasks

    @property
    def steps(self) -> int:
        """Steps so far in this run."""
        return self._steps

    def time(self) -> float:
        if self.is_in_real_time:
            self._now = perf_counter() - self._real_start
        return self._now

    def go_in_real_time(self) -> None:
        """Let time pass by itself until the end of the run, as it does on asyncio's own loop."""
        self.is_in_real_time = True
        self.real_limit = perf_counter() + _REAL_SECONDS
        if self._start is None and self._now == self.start_of_time and not self._timers:
            # As of asyncio's own loops, whose time is Python's monotonic clock: some code takes one for the other.
            self._now = monotonic()
            self.time_limit += self._now - self.start_of_time
        self._real_start = perf_counter() - self._now

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None, **options: Any) -> Any:
        if self._task_factory is not None:
            if self._task_factory is _EAGER:
                return self._create_eager_task(coro, name, context)
            return super().create_task(coro, name=name, context=context, **options)
        if self._closed:
            self._check_closed()
        number = self._enroll(name, coro)
        name = self.task_names[number]
        ready = self._ready
        task = new_task(ControlledTask)
        task.number = number
        task.rank = number - self.first_number
        if options:
            initialize(task, coro, loop=self, name=name, context=context, **options)
        else:
            initialize(task, coro, loop=self, name=name, context=context)
        if task._source_traceback:
            del task._source_traceback[-1]
        if self.decider is not None and ready and self._thread_id is not None:  # the run's own is nobody's sibling
            group = _group_of(sys._getframe(1))
            if group is not None:
                self._starts.append((group, ready[-1], number))
        return task

    def _create_eager_task(self, coro: Any, name: Any, context: Any) -> Any:
        self._check_closed()
        number = self._enroll(name, coro)
        name = self.task_names[number]
        origin, self._origin = self._origin, number
        try:
            task = new_task(ControlledTask)
            task.number = number
            task.rank = number - self.first_number
            initialize(task, coro, loop=self, name=name, context=context, eager_start=True)
            return task
        finally:
            self._origin = origin

    def _enroll(self, name: str | None, coro: Any) -> int:
        """Give a task a number, and note whose child it is."""
        self._number = number = self._number + 1
        origin = self._origin
        counters = self._counters[origin]
        if self._thread_id is None or _current_task(self) is not None:
            counters[2] = ordinal = counters[2] + 1
            self._by_callback.append(self._by_callback[origin])
        else:
            # Whether a connection came in before or behind what its listener's task makes is no matter of its name.
            counters[4] += 1
            ordinal = counters[4] + _BY_CALLBACK
            self._by_callback.append(True)
        self.parents.append(origin)
        self.ordinals.append(ordinal)
        self._counters.append([0] * _KINDS_COUNTED)
        self.task_names.append(_usual_name(number) if name is None else name)
        code = getattr(coro, "cr_code", None)
        self.task_codes.append(code)
        script = self.script
        if (
            script is not None
            and code is not None
            and is_local_to(code, script)
            and not is_started_beside(script, sys._getframe(2))
        ):
            self.given_tasks.add(number)
        if self.cutting is not None:
            self.cutting.note_task(number)
        return number

    def adopt(self, task: Any, name: str) -> None:
        """Give a number to a task that was not made by ``create_task``: the runner's own."""
        task.number = self._adopted_number = self._enroll(name, task.get_coro())
        self._task_classes.add(type(task))

    def create_future(self) -> asyncio.Future[Any]:
        return ControlledFuture(loop=self)

    def abandon(self, task: asyncio.Task[Any]) -> None:
        """Forget a task that will not end: no complaint when it is collected, and no step any more."""
        _plain.take_out(task)
        kept = [step for step in self._ready if getattr(step._callback, "__self__", None) is not task]
        self._ready.clear()
        self._ready.extend(kept)


@lru_cache(1024)
def _usual_name(number: int) -> str:
    return f"Task-{number}"


def _group_of(frame: FrameType | None) -> Any:
    """Return what starts several tasks at once, if that frame makes a task for it: a task group, the frame of a gather.

    Whoever keeps it can tell it from the next one, which its address alone does not.
    """
    for _ in (1, 2, 3):
        if frame is None or (code := frame.f_code) is _CREATE_TASK:
            return None
        if code is _GATHER:
            return frame
        if code is _TASK_GROUP:
            return frame.f_locals["self"]
        frame = frame.f_back
    return None
