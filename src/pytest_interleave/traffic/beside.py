"""What happens beside the requests of a load: actions on a schedule, checks, gauges."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Callable, Coroutine
from numbers import Real
from typing import Any

Action = Callable[[], object]
Gauge = Callable[[], float]


class Moments:
    """Seconds of a load, by its loop's clock."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._start = loop.time()

    @property
    def now(self) -> float:
        """Seconds since the load began."""
        return self._loop.time() - self._start

    async def wait_until(self, when: float) -> None:
        """Wait until that second of the load, exactly: a difference of two floats would be a little off."""
        if self._start + when <= self._loop.time():
            return
        future = self._loop.create_future()
        timer = self._loop.call_at(self._start + when, _wake, future)
        try:
            await future
        finally:
            timer.cancel()


class Beside:
    """What a test gave to be done during a load; whatever it raises is the load's end."""

    def __init__(self, moments: Moments, fail: Callable[[BaseException], None]) -> None:
        #: What each gauge showed: pairs of seconds and value.
        self.gauges: dict[str, list[tuple[float, float]]] = {}
        self._moments = moments
        self._fail = fail
        self._regular: list[Coroutine[Any, Any, None]] = []
        self._planned: list[Coroutine[Any, Any, None]] = []

    def at(self, when: float, action: Action) -> None:
        """Let something happen at that second of the load."""
        self._planned.append(self._act(when, action))

    def repeat(self, every: float, action: Action) -> None:
        """Call the action at once, and then regularly."""
        self._regular.append(self._repeat(every, action))

    def gauge(self, every: float, gauges: dict[str, Gauge]) -> None:
        """Read the gauges regularly."""
        self.gauges = {name: [] for name in gauges}

        def read() -> None:
            __tracebackhide__ = True
            for name, gauge in gauges.items():
                self.gauges[name].append((self._moments.now, _number(name, gauge())))

        self.repeat(every, read)

    def start(self) -> tuple[list[asyncio.Task[None]], list[asyncio.Task[None]]]:
        """Make tasks of it all: what goes on for as long as the load, and what has an end."""
        loop = asyncio.get_running_loop()
        return [loop.create_task(each) for each in self._regular], [loop.create_task(each) for each in self._planned]

    async def call(self, action: Action) -> None:
        """Call what the test gave; what it raises is the load's end."""
        __tracebackhide__ = True
        try:
            value = action()
            if inspect.isawaitable(value):
                await value
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._fail(error)

    async def _repeat(self, every: float, action: Action) -> None:
        number = 0
        while True:
            await self.call(action)
            number += 1
            await self._moments.wait_until(number * every)

    async def _act(self, when: float, action: Action) -> None:
        await self._moments.wait_until(when)
        await self.call(action)


def _number(name: str, value: object) -> float:
    if not isinstance(value, Real) or not math.isfinite(value):
        raise TypeError(f"The gauge {name!r} gave {value!r}: it must give a number each time it is called.")
    return float(value)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
