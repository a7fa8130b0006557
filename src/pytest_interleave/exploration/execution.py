"""Run an async function once, on the controlled loop, under a given decider."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from pytest_interleave.clock.instants import next_second
from pytest_interleave.exploration.recorder import Recorder
from pytest_interleave.exploration.result import RunResult
from pytest_interleave.exploration.seeding import seed_random
from pytest_interleave.loop import spinning
from pytest_interleave.loop.controlled import ControlledLoop
from pytest_interleave.loop.observe import Observer
from pytest_interleave.loop.threads import ending_with_the_process, running_threads
from pytest_interleave.schedule import Decider, Fifo

if TYPE_CHECKING:
    from pytest_interleave.clock.virtual import Clocks
    from pytest_interleave.trace import Trace


class Limits:
    """How long one run may take."""

    __slots__ = ("real_seconds", "steps", "virtual_seconds")

    def __init__(self, steps: int = 200_000, virtual_seconds: float = 3600.0, real_seconds: float = 10.0) -> None:
        self.steps = steps
        self.virtual_seconds = virtual_seconds
        self.real_seconds = real_seconds


class Stretchable:
    """Makes runs in which what stands for outside work may last longer than it says, while ``stretch`` is true."""

    stretch: bool
    limits: Limits

    def __call__(self, decider: Decider) -> RunResult:
        """Make one run."""
        raise NotImplementedError

    def unstretched(self, decider: Decider) -> RunResult:
        """Make one run in which everything lasts as long as it says."""
        stretch, self.stretch = self.stretch, False
        try:
            return self(decider)
        finally:
            self.stretch = stretch

    @contextmanager
    def limited(self, limits: Limits) -> Iterator[None]:
        """Put these limits on the runs that are made meanwhile."""
        before, self.limits = self.limits, limits
        try:
            yield
        finally:
            self.limits = before


class Execution(Stretchable):
    """Repeats one async function on one loop, with nothing left over from run to run but what the function keeps."""

    def __init__(
        self,
        function: Callable[[], Coroutine[Any, Any, Any]],
        *,
        stretch: bool,
        limits: Limits,
        clocks_start: int | None = None,
    ) -> None:
        self.function = function
        self.stretch = stretch
        self.limits = limits
        self._world = ExitStack()
        self._resting_threads = running_threads()
        self._clocks: Clocks | None = None
        if clocks_start is not None:
            self._world.enter_context(self._virtual_clocks(clocks_start))
        spinning.forget()
        self.loop = ControlledLoop()
        self.loop.resting_threads = self._resting_threads
        self._world.callback(random.setstate, random.getstate())
        self._world.enter_context(ending_with_the_process())

    @contextmanager
    def _virtual_clocks(self, start: int) -> Iterator[None]:
        from pytest_interleave.clock.virtual import Clocks

        clocks = Clocks(start, self._resting_threads)
        with clocks.installed():
            self._clocks = clocks
            try:
                yield
            finally:
                self._clocks = None

    def with_clocks(self) -> RunResult:
        """Make one run in asyncio's own order, with virtual clocks."""
        with self._virtual_clocks(next_second()):
            return self(Fifo())

    def in_real_time(self) -> RunResult:
        """Make one run in asyncio's own order, at the pace of the world."""
        return self(Fifo(), is_in_real_time=True)

    def __call__(
        self, decider: Decider, observer: Observer | None = None, *, is_in_real_time: bool = False
    ) -> RunResult:
        """Make one run; ``observer`` looks closely, and makes it slow."""
        loop = self.loop
        recorder = Recorder(decider)
        trace = loop.begin(
            recorder, script=getattr(self.function, "__code__", None), stretch=self.stretch, limits=self.limits
        )
        recorder.attach(trace)
        clocks = self._clocks
        if is_in_real_time:
            loop.go_in_real_time()
        elif clocks is not None:
            clocks.begin(0.0, loop)
        seed_random()
        if clocks is None or is_in_real_time:
            return self._result(recorder, trace, observer)
        with clocks.going():
            return self._result(recorder, trace, observer)

    def _result(self, recorder: Recorder, trace: Trace, observer: Observer | None) -> RunResult:
        loop = self.loop
        error: BaseException | None = None
        try:
            if observer is None:
                loop.run_until_complete(loop.create_task(self.function()))
            else:
                with observer.watching(loop, trace):
                    loop.run_until_complete(loop.create_task(self.function()))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as raised:
            error = raised
        result = recorder.result(error, loop, steps=loop.steps)
        loop.clear()
        return result

    def on_loop(self, loop: ControlledLoop) -> BaseException | None:
        """Make one run on that loop, and close it; return how the run failed."""
        seed_random()
        try:
            loop.run_until_complete(loop.create_task(self.function()))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            return error
        finally:
            loop.close()
        return None

    def close(self) -> None:
        """Close the loop and its threads, and leave the process as it was."""
        self._world.close()
        self.loop.finish()
