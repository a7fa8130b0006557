"""One load under way: requests begin, end, and are counted."""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import PurePath
from random import Random
from typing import Any

from pytest_interleave.arrivals import Arrivals
from pytest_interleave.clock.real import perf_counter
from pytest_interleave.errors import LoadError
from pytest_interleave.loop.virtual import clock_of
from pytest_interleave.traffic.beside import Action, Beside, Moments
from pytest_interleave.traffic.result import UNFINISHED, LoadResult, Request


@dataclass(frozen=True)
class Visit:
    """What a user function may want to know of the request that it is to make."""

    #: Counts from 0, in order of arrival.
    number: int
    #: Seconds of the load at which it was to start.
    intended: float
    seed: int

    @cached_property
    def random(self) -> Random:
        """A source of its own: what one request draws does not change another's."""
        return Random(f"{self.seed}/{self.number}")


class RunningLoad:
    """The requests of one load."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        user: Callable[..., Awaitable[object]],
        *,
        seed: int,
        duration: float | None,
        most: int | None,
        drain_seconds: float,
        most_real_seconds: float,
    ) -> None:
        self.moments = Moments(loop)
        self.beside = Beside(self.moments, self._fail)
        #: Called after each request.
        self.check: Action | None = None
        self._loop = loop
        self._user = user
        self._takes_visit = takes_visit(user)
        self._seed = seed
        self._duration = duration
        self._most = most
        self._real_start = perf_counter()
        self._drain_seconds = drain_seconds
        self._most_real_seconds = most_real_seconds
        self._made = 0
        self._requests: list[Request] = []
        self._examples: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: asyncio.Future[None] = loop.create_future()
        #: Set once nothing arrives any more. To wait for a thousand tasks anew whenever one ends would take minutes.
        self._drained: asyncio.Future[None] | None = None
        self._is_over = False
        self._last_arrival = 0.0

    # -- where requests come from --------------------------------------------------------------------------------

    async def arrive(self, plan: Arrivals) -> None:
        """Let requests arrive as planned."""
        until = float("inf") if self._duration is None else self._duration
        for time in plan.times(Random(self._seed), until):
            if self._has_made_most():
                break
            await self.moments.wait_until(time)
            self._begin(self._request(self._next(time)))
        else:
            if self._duration is not None:
                await self.moments.wait_until(self._duration)

    async def loop_users(self, users: int, think: float) -> None:
        """Let so many users ask, wait for the answer, think, and ask again."""
        for _ in range(users):
            self._begin(self._ask_again(think))
        left = None if self._duration is None else self._duration - self.moments.now
        await asyncio.wait(self._tasks.copy(), timeout=left)

    async def _ask_again(self, think: float) -> None:
        while not self._has_made_most() and (self._duration is None or self.moments.now < self._duration):
            await self._request(self._next(self.moments.now))
            # One turn at least: what answers at once would never let anybody else go on.
            await asyncio.sleep(think)

    def _has_made_most(self) -> bool:
        return self._most is not None and self._made >= self._most

    def _next(self, intended: float) -> Visit:
        self._made += 1
        self._last_arrival = intended
        return Visit(self._made - 1, intended, self._seed)

    # -- a request -----------------------------------------------------------------------------------------------

    def _begin(self, request: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(request)
        self._tasks.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not self._tasks and self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)  # not an Exception: pytest.fail() and its like

    async def _request(self, visit: Visit) -> None:
        __tracebackhide__ = True
        self._look_at_bounds()
        kind = None
        try:
            answer = self._user(visit) if self._takes_visit else self._user()
            if not inspect.isawaitable(answer):
                self._fail(LoadError(f"load() calls an async function, and {name_of(self._user)} returned {answer!r}."))
                return
            await answer
        except asyncio.CancelledError:
            kind = UNFINISHED if self._is_over else "CancelledError"
            if self._is_over:
                self._examples[kind] = f"still in flight {self._drain_seconds:g} s after the load's end (drain=)"
                raise
        except Exception as error:
            kind = type(error).__name__
            if kind not in self._examples:
                self._examples[kind] = self._describe_error(error)
        finally:
            self._requests.append(Request(visit.number, visit.intended, self.moments.now, kind))
        if self.check is not None:
            await self.beside.call(self.check)

    # -- from begin to end ---------------------------------------------------------------------------------------

    async def run(self, source: Coroutine[Any, Any, None]) -> None:
        """Run it all; raise what ended it early."""
        __tracebackhide__ = True
        background, actions = self.beside.start()
        arriving = self._loop.create_task(source)
        try:
            await asyncio.wait({arriving, self._failure}, return_when=asyncio.FIRST_COMPLETED)
            draining = self._loop.create_task(self._drain(actions))
            await asyncio.wait(
                {draining, self._failure}, timeout=self._drain_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            background.append(draining)
        finally:
            self._is_over = True
            others = [arriving, *background, *actions, *self._tasks]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            if not self._failure.done():
                self._failure.cancel()
        if not self._failure.cancelled():
            raise self._failure.exception() or AssertionError("unreachable")
        if arriving.done() and not arriving.cancelled():
            arriving.result()  # arrivals of the test's own may be wrong

    async def _drain(self, actions: list[asyncio.Task[None]]) -> None:
        """Wait until nothing is in flight and all actions are done."""
        if self._tasks:
            self._drained = self._loop.create_future()
            await self._drained
        for action in actions:
            await asyncio.wait({action})

    def result(self) -> LoadResult:
        """Return the numbers."""
        if not self._requests:
            raise LoadError(
                f"No request arrived within {self._duration or 0:g} s, so nothing was measured. Ask for a longer "
                "duration=, or a higher rate."
            )
        requests = tuple(sorted(self._requests))
        last = max(each.ended for each in requests)
        duration = self._duration
        if duration is None or self._has_made_most():
            duration = max(self._last_arrival, min(last, duration or last))
        return LoadResult(
            name_of(self._user),
            requests,
            duration,
            max(duration, last),
            self._seed,
            clock_of(self._loop),
            perf_counter() - self._real_start,
            self.beside.gauges,
            self._examples,
        )

    # -- what ends it early --------------------------------------------------------------------------------------

    def _fail(self, error: BaseException) -> None:
        if not self._failure.done():
            ended = len(self._requests)
            error.add_note(
                f"at {self.moments.now:.4g} s of the load: {ended:,} request{'s' * (ended != 1)} ended, "
                f"{self._made - ended:,} in flight (seed {self._seed})"
            )
            self._failure.set_exception(error)

    def _look_at_bounds(self) -> None:
        if perf_counter() - self._real_start > self._most_real_seconds:
            until = f" of {self._duration:g}" if self._duration is not None else ""
            self._fail(
                LoadError(
                    f"The load took longer than {self._most_real_seconds:g} real seconds: it has come to "
                    f"{self.moments.now:.3g}{until} s and {self._made:,} requests. Ask for less, or allow more with "
                    "max_real_seconds=."
                )
            )

    def _describe_error(self, error: Exception) -> str:
        place = ""
        for frame, line in traceback.walk_tb(error.__traceback__):
            if frame.f_globals.get("__name__", "").partition(".")[0] != "pytest_interleave":
                place = place or f" ({PurePath(frame.f_code.co_filename).name}:{line})"
        text = str(error).partition("\n")[0]
        return f"at {self.moments.now:.4g} s: {text}{place}" if text else f"at {self.moments.now:.4g} s{place}"


def takes_visit(user: Callable[..., object]) -> bool:
    """Whether the function wants to know of the request that it is to make."""
    try:
        parameters = inspect.signature(user).parameters.values()
    except (TypeError, ValueError):
        return False
    required = [
        parameter.name
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        and parameter.default is parameter.empty
    ]
    if len(required) > 1:
        raise TypeError(
            f"load() calls {name_of(user)} with nothing, or with one Visit, and it wants {', '.join(required)}: give "
            "it the rest by a lambda or functools.partial."
        )
    return bool(required)


def name_of(user: Any) -> str:
    """Return what people call the function, or the class of what is called like one."""
    while isinstance(user, partial):
        user = user.func
    name = getattr(user, "__qualname__", type(user).__qualname__)
    return str(name).rpartition("<locals>.")[2]
