"""asyncio's own loop in real time, on which what was late in a failing run is late indeed.

The turn, the clock, the heap of timers and the callbacks are asyncio's own code. What is inherited gives tasks and
outside events the names by which the failing run knows them, and ends what is left. Rules:

- nothing comes in sooner than on asyncio: no timer before its time, no data before it is there;
- an outside event is held back until those have come in that came before it in the failing run;
- where one came in although work was queued, the loop stands still until it is there, as on a busy machine;
- once the run goes another way than the failing one, nothing is held back any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import math
import selectors
from collections.abc import Iterator, Sequence
from time import sleep
from typing import Any, cast

from pytest_interleave.clock.real import perf_counter
from pytest_interleave.errors import Blocked, TimeLimit
from pytest_interleave.loop import threads
from pytest_interleave.loop._events import Watch
from pytest_interleave.loop.controlled import ControlledLoop, RunLimits
from pytest_interleave.loop.jobs import Job
from pytest_interleave.schedule import OUTSIDE, Decider, EventId
from pytest_interleave.trace import Reader

#: How long data or a thread's answer is waited for, in real time, before the run is left to itself.
_PATIENCE = 0.2
_PAUSE = 0.0005
#: What is left when a run ends has so long to clean up, a few times.
_GRACE = 0.1


class HeldTimer(asyncio.TimerHandle):
    """A timer of asyncio's that knows its name."""

    __slots__ = ("is_noted", "ordinal", "origin")

    origin: int
    ordinal: int
    #: The trace has it.
    is_noted: bool

    def _run(self) -> None:
        cast(Any, self)._loop.begin_step(self)
        super()._run()


class _Selector(selectors.DefaultSelector):
    """Waits shorter where the loop's time goes faster."""

    speed = 1.0

    def select(self, timeout: float | None = None) -> Any:
        return super().select(timeout if timeout is None else timeout / self.speed)


class DelayedLoop(ControlledLoop):
    """Runs a test once; ``order`` is what happened in the failing run, ``speed`` how fast the loop's clock goes."""

    is_virtual = False
    #: Nobody waits for its threads, which end with the process at the latest.
    keeps_executor = True
    #: Bound where libraries that freeze time in a test (freezegun) do not look for it.
    _clock = staticmethod(perf_counter)

    def __init__(self, order: Sequence[EventId], *, speed: float, decider: Decider | None, limits: RunLimits) -> None:
        self._order = order
        self._next = 0
        self._is_steering = bool(order)
        self._happened: set[EventId] = set()
        self._parked: dict[EventId, HeldTimer] = {}
        self._is_clear = False
        selector = _Selector()
        selector.speed = self._speed = speed
        super().__init__(selector)
        self._wake_up = self._watches[self._self_pipe_fd, "read"].handle
        trace = self.begin(decider, script=None, stretch=False, limits=limits)
        self.may_mocks_lag = True
        if decider is not None and hasattr(decider, "attach"):
            decider.attach(trace)
        self._names = Reader(trace)
        self._real_start = self._clock()

    # -- asyncio's own -------------------------------------------------------------------------------------------

    _timer_handle_cancelled = asyncio.SelectorEventLoop._timer_handle_cancelled

    def time(self) -> float:
        return (self._clock() - self._real_start) * self._speed

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:
        if when is None:
            raise TypeError("when cannot be None")
        self._check_closed()
        timer = HeldTimer(when, callback, args, self, context)
        counters = self._counters[self._origin]
        counters[0] += 1
        timer.origin, timer.ordinal = self._origin, counters[0]
        timer.is_noted = False
        if self._is_steering and when > self.time():  # else it is due in the next turn, whatever else is late
            self._parked[self._name(timer.origin, "timer", timer.ordinal)] = timer
        else:
            self._schedule(timer)
        return timer

    def _schedule(self, timer: asyncio.TimerHandle) -> None:
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True

    def _run_once(self, is_single: bool = True) -> None:
        if self._clock() > self.real_limit:
            raise TimeLimit("real time", self.time())
        self._starts.clear()
        if self._is_steering and not self._stopping:
            self._steer()
        if not self._is_steering:
            self._let_threads_in()
            self._look_whether_blocked()
        if self._ready or self._stopping or not self._is_steering:
            asyncio.SelectorEventLoop._run_once(self)
        self._origin = 0

    def _process_events(self, events: Any) -> None:
        if self._is_steering:
            events = [event for event in events if event[0].fd == self._self_pipe_fd]
        super()._process_events(events)

    def begin_step(self, step: Any) -> None:
        """Note whose step it is that begins, as the controlled loop does."""
        owner: Any = getattr(step._callback, "__self__", None)
        if step is self._wake_up:
            return
        if type(owner) in self._task_classes:
            self._origin = owner.number
            self.trace.append(self._origin)
        else:
            self._origin = step.origin
            if isinstance(step, HeldTimer) and not step.is_noted:
                self.trace.append(("timer", step.origin, step.ordinal))
            self.trace.append(-self._origin - 1)

    # -- delays --------------------------------------------------------------------------------------------------

    def _steer(self) -> None:
        """Let in what came in next in the failing run, once all that was before it has been."""
        self._happened.update(self._names.read())
        order = self._order
        while self._next < len(order) and (order[self._next][1] not in OUTSIDE or order[self._next] in self._happened):
            self._next += 1
        end = self._next
        while end < len(order) and order[end][1] in OUTSIDE:
            end += 1
        together = order[self._next : end]
        if not together:
            self._let_go()
        elif not self._ready or self._next == 0 or order[self._next - 1] in self._happened:
            self._wait_for(together)

    def _wait_for(self, together: Sequence[EventId]) -> None:
        """Stand still until all these are there, and let them in."""
        was_idle = not self._ready
        patience = min(self._clock() + _PATIENCE, self.real_limit)
        while True:
            here = self._what_is_here()
            missing = [name for name in together if name not in here]
            if not missing:
                for name in together:
                    self._bring_in(name, here[name])
                return
            if was_idle and self._ready:  # a signal
                return
            if not all(map(self._may_come, missing)):
                if was_idle:
                    self._let_go()
                return
            now = self._clock()
            if now > self.real_limit:
                return
            if now > patience and any(name[1] != "timer" for name in missing):
                self._let_go()
                return
            sleep(_PAUSE)

    def _what_is_here(self) -> dict[EventId, Watch | Job | HeldTimer]:
        now = self.time()
        here: dict[EventId, Watch | Job | HeldTimer] = {
            name: timer for name, timer in self._parked.items() if timer.when() <= now
        }
        for event in [*self._poll(), *cast(Any, self._collect_inbox())]:
            here[self._name(event.origin, event.kind, event.ordinal)] = event
        return here

    def _may_come(self, name: EventId) -> bool:
        """Whether there is anything that the event could come from."""
        kind = name[1]
        if kind == "timer":
            return name in self._parked and not self._parked[name].cancelled()
        if kind == "thread":
            return bool(self._jobs) or threads.are_there(self.resting_threads)
        watched = self._selector.get_map()
        return any(
            watch.fd in watched and self._name(watch.origin, watch.kind, watch.ordinal) == name
            for watch in self._watches.values()
        )

    def _bring_in(self, name: EventId, event: Any) -> None:
        self.trace.append((name[1], event.origin, event.ordinal))
        if isinstance(event, HeldTimer):
            del self._parked[name]
            event.is_noted = True
            self._ready.append(event)
            return
        if isinstance(event, Watch):
            event.ordinal += 1
        else:
            self._jobs.take(event)
        self._ready.append(event.handle)

    def _let_go(self) -> None:
        """Hold nothing back any more."""
        self._is_steering = False
        for timer in self._parked.values():
            if not timer.cancelled():
                self._schedule(timer)
        self._parked.clear()
        self._bound_wait()

    def _bound_wait(self) -> None:
        """Have asyncio wake up at the limit."""
        when = (self.real_limit - self._real_start) * self._speed
        self._schedule(asyncio.TimerHandle(when, _do_nothing, (), self))

    def _let_threads_in(self) -> None:
        while jobs := self._collect_inbox():
            self._jobs.take(jobs[0])
            self._ready.append(jobs[0].handle)

    def _look_whether_blocked(self) -> None:
        if self._ready or self._stopping or any(isinstance(timer, HeldTimer) for timer in self._scheduled):
            return
        if self._jobs or threads.are_there(self.resting_threads):
            # One that a library keeps for itself only rests.
            self._settle(self.real_limit - self._clock(), math.inf)
            self._let_threads_in()
        if self._ready or (self._is_watching() and self._owes()):
            return
        if self._is_watching() and self._let_bytes_come():
            self._look_whether_blocked()  # they may have woken a thread
        elif not self._poll_behind_all():
            raise Blocked(self.time(), self.steps)

    def _name(self, origin: int, kind: str, ordinal: int) -> EventId:
        return self._names.trace.path(origin), kind, ordinal

    # -- the end -------------------------------------------------------------------------------------------------

    def relax(self, grace_steps: int = 0) -> None:
        """Give what is left a moment to clean up."""
        super().relax(grace_steps)
        self.real_limit = self._clock() + _GRACE
        self._let_go()

    @contextlib.contextmanager
    def undecided(self) -> Iterator[None]:
        """Go on as ever: nothing is decided here, and time is limited."""
        yield

    def clear(self, *args: Any, **options: Any) -> bool:
        """End the run."""
        is_empty = super().clear(*args, **options)
        self._is_clear = True
        return is_empty

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for no thread."""

    def close(self) -> None:
        """End what is left, and close the loop."""
        if not self._is_clear and not self.is_closed():
            self.clear()
        super().close()


def _do_nothing() -> None:
    """Wake the selector."""
