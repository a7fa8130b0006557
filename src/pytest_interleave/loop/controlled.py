"""The controlled loop, as the explorer uses it: begin a run, end it, say who is blocked."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from types import CodeType
from typing import Any, Protocol

from pytest_interleave.clock.real import perf_counter
from pytest_interleave.errors import RunEnded, StepCut
from pytest_interleave.loop import _plain, spinning
from pytest_interleave.loop._turn import TurnLoop
from pytest_interleave.loop.frames import user_place
from pytest_interleave.loop.given import given_timeouts
from pytest_interleave.schedule import Decider
from pytest_interleave.trace import Trace


class RunLimits(Protocol):
    """How long one run may take."""

    steps: int
    virtual_seconds: float
    real_seconds: float


class ControlledLoop(TurnLoop):
    """asyncio's selector loop in virtual time, under a decider, for one run after another."""

    #: The exception handler that was there when a run was begun again: a fixture of wider scope has set it.
    _lasting_handler: Any = None

    def begin(self, decider: Decider | None, *, script: CodeType | None, stretch: bool, limits: RunLimits) -> Trace:
        """Start a run from nothing: time, timers, queue and numbers."""
        self.reset()
        return self.take_control(decider, script=script, stretch=stretch, limits=limits)

    def take_control(
        self, decider: Decider | None, *, script: CodeType | None, stretch: bool, limits: RunLimits
    ) -> Trace:
        """Start a run on what is there: tasks and timers of wider fixtures live on."""
        self.decider = decider
        self.is_in_real_time = False
        self.script = script
        if script is not None and decider is not None:
            self.given_timeouts = given_timeouts(script)
        self.stretch = self.may_mocks_lag = stretch
        self.step_limit = limits.steps
        self.time_limit = self.time() + limits.virtual_seconds
        self.real_limit = perf_counter() + limits.real_seconds
        self.spun = None
        if decider is not None:
            spinning.watch(self)
        return Trace(self.trace, self.parents, self.ordinals, self.task_names, self.task_codes)

    def begin_again(
        self, decider: Decider | None, *, script: CodeType | None, stretch: bool, limits: RunLimits
    ) -> Trace:
        """Start a run on what is there, with the numbers that the first such run began with."""
        self.rewind()
        self._lasting_handler = self.get_exception_handler()
        return self.take_control(decider, script=script, stretch=stretch, limits=limits)

    def run_forever(self) -> None:
        """Run until ``stop``. A run that is ended knows where its tasks stood."""
        try:
            self._turn_until_stopped()
        except StepCut:  # the step had ended by itself meanwhile
            assert self.spun is not None
            raise self.spun from None
        except RunEnded as ended:
            cutting = self.cutting
            ended.places = ended.places or (self.blocked_places() if cutting is None else cutting.stuck_places())
            raise

    @contextlib.contextmanager
    def undecided(self) -> Iterator[None]:
        """Let asyncio's own order be, however long it takes: what happens inside is not explored, and not limited."""
        decider, steps, virtual, real = self.decider, self.steps, self.time(), perf_counter()
        limits = self.step_limit, self.time_limit, self.real_limit
        self.decider = None
        if decider is not None:  # a run of an exploration
            self.step_limit, self.time_limit, self.real_limit = sys.maxsize, float("inf"), float("inf")
        try:
            yield
        finally:
            if decider is not None:
                self.step_limit = limits[0] + self.steps - steps
                self.time_limit = limits[1] + self.time() - virtual
                self.real_limit = limits[2] + perf_counter() - real
            self.decider = decider

    def relax(self, grace_steps: int = 10_000) -> None:
        """Give what is left a few steps in asyncio's own order, to clean up."""
        now = self.time()
        if self.end_time is None:
            self.end_time = now
        self.decider = None
        self.is_in_real_time = False
        self.step_limit = self._steps + grace_steps
        self.time_limit = now + 3600
        self.real_limit = perf_counter() + 1

    @property
    def lasted(self) -> float:
        """How much time of its own a run that began from nothing took until now, or to its end."""
        return (self.time() if self.end_time is None else self.end_time) - self.start_of_time

    def clear(self, grace_steps: int = 10_000, *, of_this_run: bool = False) -> bool:
        """End a run: cancel its tasks and give them a few steps; what goes on all the same is abandoned.

        ``of_this_run``: only those that the run itself made; what it found, and servers' tasks, live on.
        Return whether there was nothing to end, nor is anything left that a host would end.
        """
        if self.cutting is not None:
            self.cutting.look_at_what_is_left()
        if self.at_end is not None:
            at_end, self.at_end = self.at_end, None
            at_end(self)
        if not of_this_run and self.has_nothing_left():  # as after most runs
            self.relax(grace_steps)
            self.set_exception_handler(None)
            return self.has_nothing_to_finish()
        self.end_tasks(grace_steps, of_this_run=of_this_run)
        if self.has_descriptors():
            self.close_servers(of_this_run=of_this_run)
        if of_this_run:
            if (self._ready or self.has_descriptors()) and not self.is_closed():
                with contextlib.suppress(RunEnded):
                    self.settle()
            self.set_exception_handler(self._lasting_handler)
            return False
        self.end_async_generators()
        if self.has_descriptors():
            with contextlib.suppress(RunEnded):
                self.drop_descriptors()
        self.set_exception_handler(None)
        return False

    def end_tasks(self, grace_steps: int = 10_000, *, of_this_run: bool = False) -> None:
        """Cancel what runs, in silence, and abandon what goes on all the same."""
        self.relax(grace_steps)
        for _ in range(3):
            tasks = self._leftovers(of_this_run)
            if not tasks:
                break
            self.relax(grace_steps)
            self.set_exception_handler(_ignore)
            for task in tasks:
                task.cancel()
            with contextlib.suppress(RunEnded):
                self.run_until_complete(asyncio.wait(tasks, timeout=60))
        else:
            for task in self._leftovers(of_this_run):
                self.abandon(task)

    def end_async_generators(self) -> None:
        """Close the async generators that are suspended."""
        if _plain.needs_shutdown_of_async_generators(self):
            with contextlib.suppress(RunEnded):
                self.run_until_complete(self.shutdown_asyncgens())

    def _leftovers(self, of_this_run: bool) -> list[asyncio.Task[object]]:
        if not _plain.count_tasks():  # as after most runs
            return []
        return [task for task in asyncio.all_tasks(self) if not of_this_run or self.is_of_this_run(task)]

    def clear_run(self) -> None:
        """End a run that was begun again: what was there before lives on."""
        self.clear(of_this_run=True)

    def blocked_places(self) -> tuple[str, ...]:
        """Return where each task that has not ended stands, in its own code."""
        return tuple(sorted(filter(None, (user_place(task) for task in asyncio.all_tasks(self)))))

    def close(self) -> None:
        """Close the loop."""
        spinning.leave(self)
        super().close()

    def finish(self) -> None:
        """Close the loop, and the threads of its default executor."""
        self.relax(1_000_000)
        self.real_limit = perf_counter() + 10
        if _plain.needs_shutdown_of_executor(self):
            self.run_until_complete(self.shutdown_default_executor())
        self.close()


def _ignore(loop: asyncio.AbstractEventLoop, context: object) -> None:
    """Say nothing: the verdict is in, and what dies now is no news."""
