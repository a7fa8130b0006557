"""Fifth layer: what comes in from outside between two turns, asyncio's way or as a decider says."""

from __future__ import annotations

from typing import Any

from pytest_interleave.clock.real import perf_counter
from pytest_interleave.errors import TimeLimit
from pytest_interleave.loop import pieces, threads
from pytest_interleave.loop._base import BUSY_TURNS
from pytest_interleave.loop._events import Timer, Watch
from pytest_interleave.loop._patience import PatientLoop
from pytest_interleave.loop._timers import RESOLUTION
from pytest_interleave.origins import rank
from pytest_interleave.schedule import CODE_SLEEP, DEADLINE, NESTED_SLEEP, SCRIPT_SLEEP, SMALL, TICK, Decider

_NEVER = float("inf")


class DeliveringLoop(PatientLoop):
    """Lets outside events into the queue."""

    def _deliver(self) -> None:
        """Let outside events in: asyncio's way, or as the decider says."""
        if self._read_short:
            self._read_all_again()
        ready = self._ready
        decider = self.decider
        is_watching = self._is_watching()
        is_busy = self.turns > self._busy_from
        is_creeping = ready and is_busy
        if is_creeping:
            self._creep()
        arrived = self._poll() if is_watching or self._inbox else []
        if self._new_ticks:
            self._look_at_ticks(bool(arrived))
        is_there = bool(ready or arrived or ((self._inbox or self._jobs) and self._has_letters()))
        if (
            is_there
            and decider is not None
            and not is_creeping
            and (threads.are_there(self.resting_threads) or (is_watching and self._outside.is_parent))
        ):
            self._wait_at_choice()
            arrived = self._poll()
        # A letter that comes just now, where nothing was, is found by _idle, which waits for the others as well.
        jobs = self._collect_inbox() if is_there and (self._inbox or self._jobs) else []
        if not ready:
            self._rests += 1
            if self.on_idle is not None:
                self.on_idle()
        if not (ready or arrived or jobs):
            arrived, jobs = self._idle()
        delivered = is_from_outside = False
        is_data_here = bool(arrived)
        if arrived and self.passing_on:
            arrived, passed = self._without_passing_on(arrived)
            delivered = is_from_outside = passed
        while True:
            timers = self._timer_options() if self._timers else []
            natural: Any = None
            if arrived:
                natural = arrived[0]
            elif jobs and (not ready or is_busy):
                natural = jobs[0]
            elif timers and (not ready or timers[0]._when <= self._now + RESOLUTION):
                # No connection is idle for which there is data, although asyncio looks for that in the next turn only.
                natural = None if is_data_here and timers[0].is_for_idle else timers[0]
            chosen = natural
            is_tick = False
            is_certain = is_busy and natural is not None  # who has looked so many times sees what is there
            if type(natural) is Timer:
                is_tick = natural.kind == TICK
                is_certain = is_certain or is_tick or natural._when <= natural.armed
            if decider is not None and not is_certain and not self._is_overdue(natural):
                options: list[Any] = [natural]
                is_work_internal = bool(ready) and not (arrived or jobs or delivered)
                if timers and timers[0].kind == TICK:
                    del timers[0]
                reachable = self._in_reach(timers, natural, is_work_internal)
                if delivered and not is_from_outside and not decider.holds_steps:
                    # Work of the test's own: its script waits for that, but in an order that gives a note.
                    reachable = [timer for timer in reachable if timer.stands_for != SCRIPT_SLEEP]
                options += [event for event in (*arrived, *jobs, *reachable) if event is not natural]
                if natural is not None and ready:
                    options.append(None)
                if len(options) > 1:
                    chosen = options[decider.deliver(options)]
            if chosen is None:
                if natural is not None:
                    self._fire_what_has_no_delay()
                return
            self._busy_from = self.turns + BUSY_TURNS
            if type(chosen) is not Timer or (chosen.stands_for == CODE_SLEEP and not is_tick):
                delivered = True
                if self.stretch or type(chosen) is not Timer:
                    self._outside_work_at = len(self.trace) + 1
                is_from_outside = is_from_outside or type(chosen) is not Timer or not chosen.is_given
            if type(chosen) is Timer:
                if chosen.stands_for == NESTED_SLEEP and not is_tick:
                    self._nested_sleep_at = len(self.trace) + 1
                is_forced = chosen is not natural or bool(jobs or arrived)
                if decider is not None and natural is not None and chosen is not natural:
                    natural.overtaken += chosen.armed > natural.here_since
                if is_forced and chosen._when > self._now:
                    self._late_seconds += chosen._when - self._now
                # Sleeps and deadlines that are due at the very same time come in together; outside work may lag.
                due = self._due_with(chosen)
                together = [chosen, *(each for each in due if not (is_data_here and each.is_for_idle))]
                self._note_deadlines(together, is_forced, chosen is natural and not (ready or arrived or jobs))
                arrived = []  # asyncio looks for I/O before it looks at its timers
                for timer in together:
                    self._fire(timer)
            elif type(chosen) is Watch:
                arrived.remove(chosen)
                self._take(chosen)
            else:
                self.trace.append(("thread", chosen.origin, chosen.ordinal))
                self._jobs.take(chosen)
                jobs = self._jobs.heads()
                ready.append(chosen.handle)

    def _fire_what_has_no_delay(self) -> None:
        """Let in what asyncio fires in its next turn whatever the time: its clock has reached those timers."""
        for timer in list(self._timers):
            if timer._when > self._now:
                break
            if timer._when <= timer.armed and not timer._cancelled:
                self._fire(timer)

    def _note_deadlines(self, together: list[Timer], is_forced: bool, is_alone: bool) -> None:
        """Note what the deadlines among timers that fire together say: that something was late, or would never come."""
        deadlines = [timer for timer in together if timer.stands_for == DEADLINE]
        for deadline in deadlines:
            # Also when its time came by itself, if lateness used up a good part of it before.
            late = self._late_seconds - deadline.late_before
            self.forced_deadlines += is_forced or late * 4 >= deadline._when - deadline.armed > 0
        if deadlines and self.decider is not None:  # the run has not ended
            self.has_hung = is_alone and len(deadlines) == len(together) and self._are_last(deadlines)

    def _are_last(self, deadlines: list[Timer]) -> bool:
        """Whether nothing but those timers would ever come in."""
        seconds = max(deadline._when - deadline.armed for deadline in deadlines)
        return (
            all(any(other is each for each in deadlines) or _is_no_answer(other, seconds) for other in self._timers)
            and not (self._jobs or self._outside.is_parent or threads.are_there(self.resting_threads))
            and not (self._is_watching() and self._owes())
        )

    def _look_at_ticks(self, has_sent: bool) -> None:
        """Take what was taken for ticks for timers after all if they have sent something."""
        if has_sent:
            for timer in self._new_ticks:
                timer.kind = "timer"
        self._new_ticks.clear()

    def _without_passing_on(self, arrived: list[Watch]) -> tuple[list[Watch], bool]:
        """Let in what has come for those that only pass it on; return the rest, and whether there was any."""
        passed = [watch for watch in arrived if watch.fd in self.passing_on]
        if not passed:
            return arrived, False
        self._busy_from = self.turns + BUSY_TURNS
        for watch in passed:
            self._take(watch)
        return [watch for watch in arrived if watch not in passed], True

    def _take(self, watch: Watch) -> None:
        decider = self.decider
        if decider is not None and decider.splits and watch.kind == "read":
            self._split(watch, decider)
        self.trace.append((watch.kind, watch.origin, watch.ordinal))
        watch.ordinal += 1
        watch.here_since = None
        watch.overtaken = 0
        self._ready.append(watch.handle)

    def _split(self, watch: Watch, decider: Decider) -> None:
        """Let the decider say whether only a part is read at once of what has come over a connection or a pipe."""
        handle: Any = watch.handle
        transport: Any = getattr(handle._callback, "__self__", None)
        if watch.is_rest:
            watch.rests += 1
            watch.is_rest = watch.piece > 0 and pieces.waiting(transport, watch.fd) > watch.piece
            if watch.is_rest:
                self._read_at_most(watch.piece, transport)
            return
        size = pieces.waiting(transport, watch.fd)
        way = decider.split(watch.origin, watch.whole_ordinal) if size > 1 else 0
        if way:
            watch.is_rest = True
            first = pieces.size_of_first(way, size)
            watch.piece = first if way == SMALL else 0
            self._read_at_most(first, transport)
            if self.observer is not None:
                self.observer.came_in_pieces(watch, first, size)

    def _read_at_most(self, size: int, transport: Any) -> None:
        transport.max_size = size
        self._read_short.append(transport)

    def _read_all_again(self) -> None:
        """Let the next reads take all there is."""
        for transport in self._read_short:
            del transport.max_size
        self._read_short.clear()

    def _deliver_what_is_here(self) -> None:
        """Let everything in that has come; the loop was told to stop before it ran, and asyncio runs one turn then."""
        self._let_in(self._poll())

    def _let_in(self, arrived: list[Watch]) -> None:
        for watch in arrived:
            self._take(watch)
        while jobs := self._collect_inbox():
            self._jobs.take(jobs[0])
            self._ready.append(jobs[0].handle)
        now = self.time()
        while (timers := self._timer_options()) and timers[0]._when <= now + RESOLUTION:
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


def _is_no_answer(timer: Timer, seconds: float) -> bool:
    """Whether that timer is nothing which a wait of at most so long waits for: a server's for idle connections, a tick.

    The heart of a client that beats more seldom does not answer it either (NATS: 120 s, websockets: 20 s).
    """
    if timer._cancelled or timer.is_for_idle or timer.kind == TICK:
        return True
    is_beat_of_library = timer.stands_for == NESTED_SLEEP and timer.place is not None and rank(timer.place[0]) < 2
    return is_beat_of_library and timer._when - timer.armed >= seconds
