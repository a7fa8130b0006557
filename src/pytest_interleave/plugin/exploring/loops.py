"""The loops of explored tests: one that all tests with a loop of function scope share, and one for each wider scope."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType
from typing import TYPE_CHECKING, Any

from pytest_interleave.exploration.execution import Limits
from pytest_interleave.loop.controlled import ControlledLoop, RunLimits
from pytest_interleave.schedule import Decider
from pytest_interleave.trace import Trace

if TYPE_CHECKING:
    from pytest_interleave.clock.virtual import Clocks


#: So many loops that are spent stay open; each has three descriptors.
_MOST_SPENT = 4


class PooledLoop(ControlledLoop):
    """A loop that ``close`` only empties: making one for each of some hundred runs would cost more than the run."""

    #: Its threads are there for the next run.
    keeps_executor = True
    #: One test after another runs in it.
    is_for_all = True
    _is_clear = False

    def begin(self, decider: Decider | None, *, script: CodeType | None, stretch: bool, limits: RunLimits) -> Trace:
        """Start a run from nothing."""
        self._is_clear = False
        return super().begin(decider, script=script, stretch=stretch, limits=limits)

    def clear(self, *args: Any, **options: Any) -> bool:
        """End a run."""
        is_empty = super().clear(*args, **options)
        self._is_clear = True
        return is_empty

    def close(self) -> None:
        """End what runs in the loop, and keep it."""
        if not self._is_clear:
            self.clear()

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Keep the threads for the next run."""

    def really_close(self) -> None:
        """Close the loop."""
        super().close()


class LoopPool:
    """Gives explored tests their loops. ``loop`` is the one in which the current test runs."""

    def __init__(self) -> None:
        self._pooled = PooledLoop()
        #: What a library's thread still sends to the loop of a run before is dropped there, and no failure of this one.
        self._spent: list[PooledLoop] = []
        self._wide: list[ControlledLoop] = []
        self.loop: ControlledLoop = self._pooled
        self._lent: ControlledLoop | None = None
        #: The loop that anyio keeps for fixtures of wider scope.
        self.anyio_loop: ControlledLoop | None = None
        self.steps = 0
        #: Python's clocks, where they follow the loops of the current test.
        self.clocks: Clocks | None = None
        #: ``make``, always the same object: loops that another factory made do not fit, and are closed.
        self.factory = self.make

    def make(self, scope: str) -> ControlledLoop:
        """Return the loop for a host of that scope."""
        if scope == "function":
            return self._lent or self._pooled
        self._wide = [loop for loop in self._wide if not loop.is_closed()]
        loop = ControlledLoop()
        loop.resting_threads = self._pooled.resting_threads
        _limit(loop, Limits())
        self._wide.append(loop)
        if self.clocks is not None:
            self.clocks.follow(loop)
        return loop

    @property
    def is_pooled(self) -> bool:
        """Whether the current test's loop ends with the test."""
        return self.loop is self._pooled

    def loops(self) -> list[ControlledLoop]:
        """Return all loops of explored tests that there are."""
        return [self._pooled, *self._wide]

    def begin_clocks(self, seconds: float | None = None) -> None:
        """Let virtual clocks, where there are any, begin where the loops of wider scope are now, or so far on."""
        if self.clocks is None:
            return
        wide = [loop for loop in self._wide if not loop.is_closed()]
        if seconds is None:
            seconds = max((loop.time() for loop in wide), default=0.0)
        self.clocks.begin(seconds, self._pooled, *wide)

    def is_running(self) -> bool:
        """Whether code runs in one of these loops now."""
        return any(loop.is_running() for loop in self.loops())

    def rest(self, threads: frozenset[int]) -> None:
        """Take these threads for the test runner's own, which never owe the loop an answer."""
        self._pooled.resting_threads = threads

    def use(self, loop: ControlledLoop | None) -> None:
        """Make that loop the one under control; None: the pooled one."""
        self.loop = loop or self._pooled
        self.loop.forget_start()

    @contextmanager
    def lending(self, loop: ControlledLoop) -> Iterator[None]:
        """Give that loop, in place of the pooled one, to a test that runs now."""
        self.loop = self._lent = loop
        loop.resting_threads = self._pooled.resting_threads
        try:
            yield
        finally:
            self._lent = None
            self.loop = self._pooled
            loop.close()

    def begin(self, decider: Decider, *, script: CodeType | None, stretch: bool, limits: RunLimits) -> Trace:
        """Begin a run on the current loop."""
        if self.loop is self._pooled:
            if self._pooled.is_spent:
                self._renew()
            trace = self.loop.begin(decider, script=script, stretch=stretch, limits=limits)
        else:
            trace = self.loop.begin_again(decider, script=script, stretch=stretch, limits=limits)
        for loop in self._wide:
            if loop is not self.loop:  # fixtures of wider scope than the test's loop run there, as asyncio would
                _limit(loop, limits)
        if self.clocks is not None:
            self.begin_clocks(self.loop.time())
        return trace

    def loops_of_next_run(self) -> list[ControlledLoop]:
        """Return the loops in which the next run of the current test takes place."""
        self._renew()
        return self.loops()

    def _renew(self) -> None:
        """Put a new loop in the place of the pooled one, if that is spent."""
        old = self._pooled
        if not old.is_spent:
            return
        self._pooled = PooledLoop()
        self._pooled.resting_threads = old.resting_threads
        if self.loop is old:
            self.loop = self._pooled
        self._spent.append(old)
        if len(self._spent) > _MOST_SPENT:
            self._spent.pop(0).really_close()

    def end(self) -> None:
        """End the run."""
        loop = self.loop
        self.steps = loop.steps
        loop.observer = None
        if loop is not self._pooled:
            loop.clear_run()

    def close(self) -> None:
        """Close the pooled loop; the others are closed by their hosts."""
        for loop in (*self._spent, self._pooled):
            loop.really_close()


def _limit(loop: ControlledLoop, limits: RunLimits) -> None:
    """Let the loop run in asyncio's own order, but not for ever."""
    loop.relax(limits.steps)
    loop.real_limit += limits.real_seconds
