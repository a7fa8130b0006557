"""Third layer: which timers may fire now, and which of them could come in before others."""

from __future__ import annotations

import asyncio
from bisect import insort
from typing import Any, cast

from pytest_interleave.errors import TimeLimit
from pytest_interleave.loop._events import Timer, Watch
from pytest_interleave.loop._scheduling import SchedulingLoop
from pytest_interleave.loop.jobs import Job
from pytest_interleave.loop.sleeps import GUARD_SECONDS, LEAST_LEFT
from pytest_interleave.schedule import CODE_SLEEP, DEADLINE, NESTED_SLEEP, SCRIPT_SLEEP, TICK

#: asyncio fires timers that are due within the clock's resolution; virtual deadlines are sums of floats.
RESOLUTION = 1e-9
#: More alternatives at one choice point than this are not offered.
_MOST_TIMERS = 32
#: Nothing is late by more than this.
_MOST_LATE_SECONDS = 10.0
#: Nor by more than so many timers that were set when it was there already: who looks or ticks again and again (uvicorn
#: each 0.1 s) sees no more in a hundred turns than in ten.
_MOST_OVERTAKEN = 10
#: One that the test's own file sets may mean more than ``GUARD_SECONDS``.
_OWN_GUARD_SECONDS = 10 * LEAST_LEFT
#: One of a second or more does so where what comes in takes a small part of that: a service's double that answers in
#: 10 ms says nothing of what becomes of a client, and of its attempts, after 2 s.
_NEAR_GUARD_SECONDS = 1 * LEAST_LEFT
_LEAST_PART = 0.05
#: A test that lets tasks give way by ``sleep(0)`` means no work from outside that takes so long.
_LEAST_LIMIT_SECONDS = 0.5 - 1e-6
#: Where the test's own sleeps alone take time, they take no more than this many times as long as they say.
_MOST_STRETCH = 2
#: Those in tasks of the test's own may stand for work as well as for when somebody comes.
_MOST_STRETCH_OF_TASKS = 10
#: Where every sleep takes as long as it says, steps hold the loop up for so long at most.
_MOST_HELD_UP_SECONDS = 0.1
_ROUNDING = 1e-6  # sums of floats
#: So many timers that are set for the present fire before it is over: real clocks never stand.
_MOST_AT_ONCE = 100


class TimerLoop(SchedulingLoop):
    """Keeps the timers in the order of their deadlines."""

    def _fire(self, timer: Timer) -> None:
        self._timers.remove(timer)
        timer._scheduled = False
        if timer._when > self._now:
            if timer._when > self.time_limit:
                if self.observer is not None:
                    self.observer.blocked()
                raise TimeLimit("something", self._now, is_real=False)
            self._now = timer._when
            self._at_once = 0
        elif timer.armed >= timer._when:
            # Who sets it again until its time is over (aiohttp 3.11, for idle connections) needs a clock that moves.
            self._at_once += 1
            if self._at_once > _MOST_AT_ONCE:
                self._at_once = 0
                self._now += RESOLUTION
        timer.fired_at = len(self.trace)
        self.trace.append((timer.kind, timer.origin, timer.ordinal))
        step = cast(Any, timer)
        self._ready.append(step)

    def _due_with(self, fired: Timer) -> list[Timer]:
        found = []
        for timer in self._timers:
            if timer._when > fired._when:
                break
            if (
                timer is not fired
                and timer._when == fired._when
                and timer.stands_for != CODE_SLEEP
                and not timer._cancelled
            ):
                found.append(timer)
        return found

    def _timer_options(self) -> list[Timer]:
        """Return the timers that could fire next, asyncio's choice first.

        Timers fire in the order of their deadlines, but a sleep that stands for outside work may take longer and be
        overtaken. The test's own sleeps are its script: they keep their order among themselves, and with those of
        coroutines that stand beside them and were given to code under test.
        """
        options: list[Timer] = []
        timers = self._timers
        while timers and (timers[0]._cancelled or (timers[0].is_for_idle and self._is_idle_longer(timers[0]))):
            first = timers.pop(0)
            if first._cancelled:
                first._scheduled = False
                self._cancelled_timers -= 1
            else:
                insort(timers, first)
        nested = given = False
        for timer in timers:
            if timer._cancelled:
                continue
            if timer.kind == TICK:  # never but as asyncio does
                if not options:
                    options.append(timer)
                continue
            stands_for = timer.stands_for
            if given and stands_for == SCRIPT_SLEEP:
                break
            if not nested or stands_for == DEADLINE:
                options.append(timer)
            if stands_for in (DEADLINE, SCRIPT_SLEEP) or not self.stretch or len(options) == _MOST_TIMERS:
                break
            nested = nested or stands_for == NESTED_SLEEP
            given = given or timer.is_given
        return options

    def _is_idle_longer(self, timer: Timer) -> bool:
        """Let the timer wait longer if events have been late since it was set: that is no time in which all is idle."""
        late = self._late_seconds - timer.late_before
        if late <= 0:
            return False
        timer._when += late
        timer.late_before = self._late_seconds
        timer.sort = (timer._when, timer.sort[1])
        return True

    def _is_overdue(self, event: Timer | Watch | Job | None) -> bool:
        """Whether the event is as late as anything may be."""
        if event is None:
            return False
        if event.here_since is None:
            event.here_since = event._when if isinstance(event, Timer) else self._now
        return self._now - event.here_since > _MOST_LATE_SECONDS or event.overtaken >= _MOST_OVERTAKEN

    def _in_reach(self, timers: list[Timer], natural: Any, is_work_internal: bool) -> list[Timer]:
        """Return those that may come in now.

        What they overtake must not become too late. The test's own sleeps say "by now the others have done what they
        could", so they do not overtake work that waits for nothing outside; ``sleep(0)`` stands for outside work there.
        Nor does a deadline if there was always something to run since it was set: steps alone do not take as long. If
        the test's own sleeps are all that has taken time since then, they leave a deadline alone that is far off.
        """
        # First, for it leaves nothing of what servers and clients set, and the rest is dear.
        timers = [timer for timer in timers if not self._is_guard(timer, natural)]
        if not timers:
            return timers
        is_odd = self.decider is not None and self.decider.holds_steps
        has_yields = bool(self._ready) and self._has_yields()
        if natural is None or self._lasts_as_it_says(natural):
            timers = [
                timer
                for timer in timers
                if self._may_lag(timer, is_odd)
                or self._is_near(timer, natural)
                or (has_yields and not self._is_limit_of_the_test(timer))
            ]
        if self._ready:
            timers = [
                timer
                for timer in timers
                if timer.stands_for == CODE_SLEEP
                or (timer.rests_before < self._rests if timer.stands_for == DEADLINE else not is_work_internal)
                or (is_odd and timer.stands_for != DEADLINE)
                or (timer.stands_for != SCRIPT_SLEEP and has_yields and not self._is_limit_of_the_test(timer))
            ]
        since = natural._when if type(natural) is Timer else self._now
        limit = since + _MOST_LATE_SECONDS
        return [timer for timer in timers if timer._when < limit]

    def _is_guard(self, timer: Timer, natural: Timer | Watch | Job | None) -> bool:
        """Whether that deadline is there for what never comes, and not for what comes late."""
        if timer.is_for_idle or timer.stands_for != DEADLINE:
            return timer.is_for_idle
        seconds = timer._when - timer.armed
        if self._is_of_test(timer):
            return seconds >= _OWN_GUARD_SECONDS
        return seconds >= GUARD_SECONDS or (seconds >= _NEAR_GUARD_SECONDS and self._is_far(timer, natural))

    def _is_far(self, timer: Timer, natural: Timer | Watch | Job | None) -> bool:
        """Whether what would come in now comes in a small part of the time that the deadline gives."""
        came = self._now if natural is None else natural.here_since
        seconds = timer._when - timer.armed
        # What the test gives as a timeout is no guard, whoever sets it, and with what their clock has left of it.
        if any(given * LEAST_LEFT <= seconds <= given + _ROUNDING for given in self.given_timeouts):
            return False
        return came is not None and came - timer.armed < seconds * _LEAST_PART - _ROUNDING

    def _is_limit_of_the_test(self, timer: Timer) -> bool:
        """Whether the test says by that timer how long all may take, which turns of the loop alone do not use up."""
        seconds = timer._when - timer.armed
        says_when = timer.stands_for in (DEADLINE, NESTED_SLEEP)
        return says_when and seconds >= _LEAST_LIMIT_SECONDS and self._is_of_test(timer)

    def _is_of_test(self, timer: Timer) -> bool:
        return self.script is not None and timer.place is not None and timer.place[0] == self.script.co_filename

    def _may_lag(self, timer: Timer, is_odd: bool) -> bool:
        """Whether what comes before that timer may take as long as you like."""
        return (self.stretch or is_odd) and timer.stands_for != DEADLINE

    def _lasts_as_it_says(self, event: Any) -> bool:
        """Whether that event is a sleep which stands for nothing from outside."""
        kinds = (SCRIPT_SLEEP, NESTED_SLEEP) if self.stretch else (SCRIPT_SLEEP, NESTED_SLEEP, CODE_SLEEP)
        return type(event) is Timer and event.stands_for in kinds

    def _is_near(self, timer: Timer, natural: Timer | None) -> bool:
        """Whether what has come in from outside since it was set may be as late as the timer, or else the sleeps."""
        if self._outside_work_at > timer.set_at:
            return True
        when = self._now if natural is None else natural._when
        is_of_task = self._nested_sleep_at > timer.set_at or (
            natural is not None and natural.stands_for == NESTED_SLEEP
        )
        most = _MOST_STRETCH_OF_TASKS if is_of_task else _MOST_STRETCH
        if not self.stretch and timer._when - when > _MOST_HELD_UP_SECONDS:
            return False
        return timer._when - timer.armed <= (when - timer.armed) * most + _ROUNDING

    def _has_yields(self) -> bool:
        """Whether a task is queued that has run before and gave way by ``sleep(0)``."""
        for step in self._ready:
            callback = step._callback
            if type(callback).__name__ == "TaskStepMethWrapper" or getattr(callback, "__name__", "") == "__step":
                task = getattr(callback, "__self__", None)
                if isinstance(task, asyncio.Task) and getattr(task.get_coro(), "cr_suspended", False):
                    return True
        return False
