"""Fourth layer: waiting in real time, for threads and for what is outside this process, where nothing else is due."""

from __future__ import annotations

import signal
from time import sleep

from pytest_interleave.clock.real import perf_counter
from pytest_interleave.errors import Blocked, TimeLimit
from pytest_interleave.loop import threads, under_way
from pytest_interleave.loop._events import Watch
from pytest_interleave.loop._timers import RESOLUTION, TimerLoop
from pytest_interleave.loop.jobs import Job
from pytest_interleave.schedule import DEADLINE

_NEVER = float("inf")
_CREEP_SECONDS = 0.001
#: How long a thread at work is waited for in real time, although a timer would be due before.
_LEAST_PATIENCE = 0.05
#: And a process at work: Python alone takes a good part of this to start.
_CHILD_PATIENCE = 0.5
#: On a busy machine it may take this long until it has had as much of a processor.
_BUSY_PATIENCE = 5.0
#: How long bytes on their way may stand still. One that is lost is sent again after a fifth of a second.
_WAY_PATIENCE = 1.0
#: Selectors round shorter times up to this.
_SELECTOR_SECONDS = 0.001


class PatientLoop(TimerLoop):
    """Knows who may still owe an answer."""

    @property
    def heeds_real_time(self) -> bool:
        """Whether threads or other processes may have had a say in the order of this run, by how fast they were."""
        return self._has_waited or self._is_hurried or self._outside.is_parent

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

    def _settle(self, patience: float, horizon: float) -> bool:
        """Wait, in real time, until every thread and child that may owe an answer has given it or rests.

        Returns whether it did not take longer than ``patience``. In ``horizon`` seconds something else will happen: a
        job that waits with a shorter timeout than that will go on by itself.
        """
        start = perf_counter()
        end = min(start + patience, self.real_limit)
        pause, calm, has_come = 0.0, 0, False
        is_parent = self._outside.is_parent
        while True:
            if 0 < pause < _SELECTOR_SECONDS or has_come:
                sleep(pause)
                found = self._selector.select(0)
            else:
                found = self._selector.select(pause)
            has_come = any(key.fd != self._self_pipe_fd for key, _ in found)
            if has_come and not is_parent:  # of two children that answer, one is only just the first
                return True
            if has_come or self._has_letters():  # others may be about to answer
                end = min(end, start if self._is_hurried else start + self._least_patience())
            is_busy = self._jobs.is_one_to_begin() or threads.are_busy(
                self.resting_threads, self._jobs.threads(), horizon
            )
            calm = 0 if is_busy or self._outside.are_children_at_work() else calm + 1
            if calm == 3:
                return True
            now = perf_counter()
            if now > end:
                if end == self.real_limit:
                    raise TimeLimit("a thread", self._now)
                has_time = is_parent and not is_busy and now < min(start + _BUSY_PATIENCE, self.real_limit)
                if not has_time or self._is_hurried or self._outside.computed_seconds() >= _CHILD_PATIENCE:
                    return False
            # To see whether all rest takes no longer since somebody has worked for long.
            pause = min(pause * 2 + 0.00005, 0.002) if calm != 1 else 0.00005

    def _wait_at_choice(self) -> None:
        """Let threads and children answer before a choice is made: the alternatives would depend on their speed.

        One that takes long is not waited for again in this run, unless nothing else can go on.
        """
        if self._is_hurried:
            return
        if (
            self._jobs.are_asked()
            or threads.are_busy(self.resting_threads, frozenset(), 0)
            or self._outside.are_children_at_work()
        ):
            self._is_hurried = not self._settle(self._least_patience(), 0)

    def _least_patience(self) -> float:
        return _CHILD_PATIENCE if self._outside.is_parent else _LEAST_PATIENCE

    def _is_watching(self) -> bool:
        """Whether something might come in through the selector that a thread does not announce."""
        return len(self._watched_fds) > self._quiet_fds or bool(self._signal_handlers)

    def _idle(self) -> tuple[list[Watch], list[Job]]:
        """Nothing can run. Return what came in from outside meanwhile; nothing at all if a timer is next."""
        if self.observer is not None:
            self.observer.idle()
        while True:
            start = perf_counter()
            timers = self._timer_options()
            # As long as asyncio would: it fires the timer then, whoever is at work.
            horizon = timers[0]._when - self._now if timers else _NEVER
            if self._jobs or threads.are_there(self.resting_threads) or self._outside.is_parent:
                # A deadline may be there to end what takes too long; a sleep can wait.
                is_deadline = bool(timers) and timers[0].stands_for == DEADLINE
                least = _LEAST_PATIENCE if is_deadline else self._least_patience()
                is_calm = self._settle(max(horizon, least), horizon)
                arrived, jobs = self._poll(), self._collect_inbox()
                self._is_hurried = self._is_hurried or (bool(jobs) and not is_calm)
                if arrived or jobs or self._ready or not is_calm:
                    return arrived, jobs
            owes = (self._is_watching() and self._owes()) or threads.are_waiting_for_children()
            if self._outside.has_pushed:
                self._outside.has_pushed = False
                arrived = self._poll()
                if arrived:
                    return arrived, []
            if not owes:
                if self._is_watching():
                    if self._let_bytes_come():
                        continue  # they may have woken a thread
                    arrived = self._poll_behind_all()
                    if arrived:
                        return arrived, []
                if timers:
                    return [], []
                if self.observer is not None:
                    self.observer.blocked()
                raise Blocked(self._now, self._steps)
            arrived, jobs = self._wait_outside(start, horizon)
            if arrived or jobs or self._ready or (timers and timers[0]._when <= self._now + RESOLUTION):
                return arrived, jobs

    def _owes(self) -> bool:
        """Whether a descriptor or a signal may come to life without anything from this process."""
        fds = set(self._selector.get_map()) - {self._self_pipe_fd}  # its values would be dear
        if self._signal_handlers and (self._outside.has_children() or signal.getitimer(signal.ITIMER_REAL)[0]):
            return True
        return self._outside.owes(fds)

    def _let_bytes_come(self) -> bool:
        """Wait, in real time, for what the system has on its way within this process; return whether there was any.

        On a quiet machine it is there at once, and so it takes no virtual time.
        """
        pause, last, end = 0.00005, None, 0.0
        while moving := self._outside.under_way(self._watched_fds):
            now = perf_counter()
            if moving != last:
                last, end = moving, now + _WAY_PATIENCE
            elif now > end:
                self._outside.give_up(moving)
            if now > self.real_limit:
                raise TimeLimit("bytes on their way", self._now)
            sleep(pause)
            pause = min(pause * 2, _SELECTOR_SECONDS)
        return last is not None

    def _poll_behind_all(self) -> list[Watch]:
        """Poll for what came while that was asked, and for what the system does not tell of."""
        arrived = self._poll()
        for _ in range(self._outside.marks):
            if arrived or not under_way.follow():
                break
            arrived = self._poll()
        return arrived

    def _wait_outside(self, start: float, horizon: float) -> tuple[list[Watch], list[Job]]:
        """Wait for the outside in real time, which counts as virtual time then, from ``start`` on."""
        self._has_waited = True
        now = perf_counter()
        if now > self.real_limit:
            raise TimeLimit("the outside", self._now)
        seconds = min(horizon - (now - start), self.real_limit - now)
        arrived = self._poll(None if seconds == _NEVER else max(seconds, 0))
        self._now += min(perf_counter() - start, horizon)
        if self._outside.is_parent and (arrived or self._has_letters()):
            self._settle(self._least_patience(), 0)
            arrived = self._poll()
        return arrived, self._collect_inbox()

    def _creep(self) -> None:
        """Let time pass under work that never rests: someone polls, and waits for a deadline or a thread."""
        if threads.are_there(self.resting_threads):
            self._settle(_LEAST_PATIENCE, 0)
            if self._has_letters():
                return
        if self._is_watching() and not self._owes() and self._let_bytes_come():
            return
        self._now += _CREEP_SECONDS
        if self._now > self.time_limit:
            if self.observer is not None:
                self.observer.blocked()
            raise TimeLimit("something", self._now, is_real=False)
        if perf_counter() > self.real_limit:
            raise TimeLimit("real time", self._now)
