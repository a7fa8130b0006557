"""The loop that is built on asyncio's private names, top layer: its turn.

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

import sys
from asyncio import base_events, format_helpers
from typing import Any

from pytest_interleave.clock.real import monotonic, perf_counter
from pytest_interleave.errors import StepLimit
from pytest_interleave.loop import _plain, threads
from pytest_interleave.loop._delivery import DeliveringLoop
from pytest_interleave.loop._events import Step
from pytest_interleave.loop._timers import RESOLUTION
from pytest_interleave.loop.tasks import ControlledTask
from pytest_interleave.schedule import Decider
from pytest_interleave.trace import Trace, repeating

#: Tasks of a livelock that are named.
_MOST_REPEATING = 3
#: So long a step may be kept back.
_MOST_TURNS = 4
_NONE: Any = None


class TurnLoop(DeliveringLoop):
    """The loop under control; see the module's text for its rules."""

    def _turn_until_stopped(self) -> None:
        if not _plain.turn_until_stopped(self, self._run_turns):
            super().run_forever()

    def _run_turns(self) -> None:
        """Turn, once or more; at the latest until somebody stops the loop."""
        if "_run_once" in self.__dict__:  # somebody counts the turns
            self._run_once()
        else:
            self._run_once(is_single=False)

    def _run_once(self, is_single: bool = True) -> None:
        # What is the same in all turns of a run is looked up once.
        ready, trace, tasks = self._ready, self.trace, self._task_classes
        inbox, letters, handlers = self._inbox, self._jobs.letters, self._signal_handlers
        watched, quiet_fds, living_threads = self._watched_fds, self._quiet_fds, threads.active
        while True:
            turns = self.turns
            if self._held and (turns >= self._held_until or not ready):
                self._release_held()
            decider = self.decider
            if self.is_in_real_time:
                self._deliver_in_real_time()
            elif self._stopping:
                self._deliver_what_is_here()
            elif (
                not ready
                or (self._timers and (decider is not None or self._timers[0]._when <= self._now + RESOLUTION))
                or len(watched) > quiet_fds
                or inbox
                or turns > self._busy_from
                or handlers
                or (decider is not None and (letters or len(living_threads) > 1))
            ):
                step = callback = owner = args = _NONE  # it may wait, and nothing is to live for that
                self._deliver()
            if self._starts:
                self._order_starts()
            todo = len(ready)
            passing: Decider | None = None
            if todo > 1 and decider is not None and decider.holds_steps:
                if todo > decider.passes:
                    self._hold_steps(decider)
                    todo = len(ready)
                else:
                    passing, passed = decider, 0
            self.turns = turns + 1
            if self.is_watched:
                _plain.beat[0] = monotonic()
            self._steps = steps = self._steps + todo
            if steps > self.step_limit:
                raise self._step_limit_passed()
            observer = self.observer
            is_plain = False if self._debug else observer is None
            last = self._number  # what is queued is not younger
            after_step = self.after_step
            while todo:
                todo -= 1
                step = ready.popleft()
                callback = step._callback
                if callback is None and step._cancelled:
                    continue
                owner = step.owner
                if (kind := type(owner)) is ControlledTask or kind in tasks:
                    origin = owner.number
                    if passing is not None and origin > 1:
                        passed += 1
                    if origin > last:  # an abandoned task of an earlier run
                        origin = 0
                        trace.append(-1)
                    else:
                        trace.append(origin)
                else:
                    origin = step.origin
                    if origin > last:
                        origin = 0
                    trace.append(-origin - 1)
                self._origin = origin
                try:
                    if is_plain:
                        if args := step._args:
                            step._context.run(callback, *args)
                        else:
                            step._context.run(callback)
                    elif observer is None:
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
            if passing is not None:
                passing.passes -= passed
            if is_single or self._stopping:
                step = callback = owner = args = _NONE  # break reference cycles
                return

    def _run_timed(self, step: Step) -> None:
        """Run it as in asyncio's debug mode, which complains of what blocks: in real time, for virtual time stands."""
        start = perf_counter()
        self._current_handle = step
        try:
            step._context.run(step._callback, *step._args)
        finally:
            self._current_handle = _NONE
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
        groups: dict[Any, dict[Step, int]] = {}
        for group, step, number in starts:
            if group in groups:
                groups[group][step] = number
            else:
                groups[group] = {step: number}
        ready = self._ready
        for members in groups.values():
            if len(members) < 2:
                continue
            places = [place for place, step in enumerate(ready) if step in members]
            if len(places) != len(members):
                continue
            steps, numbers = list(members), list(members.values())
            for place in places[:-1]:
                choice = decider.order(numbers)
                ready[place] = steps.pop(choice)
                del numbers[choice]
            ready[places[-1]] = steps[0]

    def _hold_steps(self, decider: Decider) -> None:
        """Offer to keep steps of tasks back for some turns: schedules that asyncio does not make."""
        ready, tasks = self._ready, self._task_classes
        steps: list[Step] = []
        origins: list[int] = []
        for step in ready:
            owner = step.owner
            if type(owner) in tasks and (number := owner.number) > 1:
                steps.append(step)
                origins.append(number)
        if not steps:
            return
        for place, turns in enumerate(decider.hold(origins, _MOST_TURNS)):
            if turns:
                if len(ready) == 1:  # someone must go on
                    return
                step = steps[place]
                ready.remove(step)
                self._held.append((until := self.turns + turns, step))
                self._held_until = min(self._held_until, until)

    def _release_held(self) -> None:
        held, self._held = self._held, []
        ready, now = self._ready, self.turns
        is_idle = not ready
        self._held_until = sys.maxsize
        for turn, step in held:
            if is_idle or turn <= now:
                ready.append(step)
            else:
                self._held.append((turn, step))
                self._held_until = min(self._held_until, turn)

    def _step_limit_passed(self) -> StepLimit:
        if self.spun is None:
            return StepLimit(self._steps, self._now, self._describe_repeating())
        self.step_limit = 0
        # The task whose step was cut has ended, which would stop whatever runs next.
        for step in self._ready:
            if step._callback is base_events._run_until_complete_cb:
                step._args[0].exception()  # it is known
                step.cancel()
        return self.spun

    def _describe_repeating(self) -> tuple[str, ...]:
        numbers = repeating(self.trace)
        trace = Trace(self.trace, self.parents, self.ordinals, self.task_names, self.task_codes)
        names = [trace.name_of(trace.path(number)) for number in numbers[:_MOST_REPEATING]]
        rest = len(numbers) - len(names)
        return (*names, f"{rest} more") if rest else tuple(names)


_plain.turns.add(TurnLoop._run_once.__code__)
