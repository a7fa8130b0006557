"""Load on what a test calls: many requests, by a clock, and what became of them.

In open load requests arrive when they arrive, whatever has become of the earlier ones, and latency is counted from when
a request was *to* start. A load that waits for an answer before it asks again measures a service at its own pace, and
sees no queue (Gil Tene calls it coordinated omission); ``users=`` does that, for what really is such a loop.
"""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from random import Random
from time import perf_counter
from typing import Any

from pytest_interleave.arrivals import Arrivals, Poisson, Replay, check_rate
from pytest_interleave.errors import InterleaveError
from pytest_interleave.loop.controlled import ControlledLoop
from pytest_interleave.loop.virtual import clock_of
from pytest_interleave.traffic import made
from pytest_interleave.traffic.result import UNFINISHED, LoadResult, Request

Action = Callable[[], object]

#: In virtual time a load that takes longer than this in real seconds is more than a test should do.
_MOST_REAL_SECONDS = 120.0
#: Gauges are read so often in a load.
_SAMPLES = 60


class LoadError(InterleaveError):
    """A load could not be run as asked."""


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


async def load(
    user: Callable[..., Awaitable[object]],
    *,
    rate: float | None = None,
    arrivals: Arrivals | None = None,
    users: int | None = None,
    duration: float | None = None,
    requests: int | None = None,
    think: float = 0.0,
    at: Mapping[float, Action] | None = None,
    check: Action | None = None,
    check_every: float | None = None,
    gauges: Mapping[str, Callable[[], float]] | None = None,
    drain: float = 60.0,
    seed: int = 0,
    clock: str | None = None,
    max_real_seconds: float | None = None,
) -> LoadResult:
    """Call ``user`` again and again, as many callers would, and return what came of it.

    ``user`` is an async function that makes one request; it may take one argument, a ``Visit``. Its exceptions are
    counted by kind. Requests arrive at ``rate`` a second (independent visitors), as ``arrivals`` says, or from so many
    ``users``, each of whom waits for the answer, thinks for ``think`` seconds and asks again. It goes on for
    ``duration`` seconds, or until so many ``requests`` were made, whichever comes first; what is still in flight then
    has ``drain`` seconds.

    ``at`` maps seconds of the load to what is to happen then. ``check`` is called after each request, or every
    ``check_every`` seconds; whatever it raises ends the load and fails the test. ``gauges`` are read over time.

    Time is the loop's: virtual under ``@pytest.mark.virtual_time`` and ``--interleave``, real otherwise. ``clock`` says
    which one it must be. A load that is explored runs in asyncio's own order.
    """
    loop = asyncio.get_running_loop()
    _check_clock(clock, clock_of(loop))
    plan = _plan(rate, arrivals, users)
    if isinstance(plan, Replay) and duration is None:
        duration = plan.duration
    _check_bounds(duration, requests, think, drain, check, check_every)
    run = _Load(loop, user, seed=seed, duration=duration, most=requests)
    if max_real_seconds is None and clock_of(loop) == "virtual":
        max_real_seconds = _MOST_REAL_SECONDS
    if max_real_seconds is not None:
        run.real_limit = run.real_start + max_real_seconds
    run.check = check if check_every is None else None
    run.repeat(_every(check_every, duration, requests), check if check_every is not None else None)
    run.gauge(duration, dict(gauges or {}))
    for when, action in sorted((at or {}).items()):
        run.plan_action(when, action)
    source = run.arrive(plan) if not isinstance(plan, int) else run.loop_users(plan, think)
    with loop.undecided() if isinstance(loop, ControlledLoop) else nullcontext():
        await run.run(source, drain)
    result = run.result(str(getattr(user, "__qualname__", user)).rpartition("<locals>.")[2])
    made.recent.append(result)
    return result


class _Load:
    """One load under way."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, user: Any, *, seed: int, duration: float | None, most: int | None
    ) -> None:
        self.loop = loop
        self.user = user
        self.takes_visit = _takes_argument(user)
        self.seed = seed
        self.duration = duration
        self.most = most
        self.start = loop.time()
        self.real_start = perf_counter()
        self.real_limit = float("inf")
        self.check: Action | None = None
        self.gauges: dict[str, list[tuple[float, float]]] = {}
        self._made = 0
        self._requests: list[Request] = []
        self._examples: dict[str, str] = {}
        self._in_flight: set[asyncio.Task[None]] = set()
        self._actions: set[asyncio.Task[None]] = set()
        self._background: list[Coroutine[Any, Any, None]] = []
        self._planned: list[Coroutine[Any, Any, None]] = []
        self._failure: asyncio.Future[None] = loop.create_future()
        #: Set once nothing arrives any more. To wait for a thousand tasks anew whenever one ends would take minutes.
        self._drained: asyncio.Future[None] | None = None
        self._is_over = False
        self._last_arrival = 0.0

    @property
    def now(self) -> float:
        """Seconds since the load began."""
        return self.loop.time() - self.start

    # -- what happens beside the requests ------------------------------------------------------------------------

    def repeat(self, every: float, action: Action | None) -> None:
        """Call the action regularly."""
        if action is not None:
            self._background.append(self._repeat(every, action))

    def gauge(self, duration: float | None, gauges: dict[str, Callable[[], float]]) -> None:
        """Read the gauges regularly."""
        if gauges:
            self.gauges = {name: [] for name in gauges}

            def read() -> None:
                for name, gauge in gauges.items():
                    self.gauges[name].append((self.now, gauge()))

            self.repeat(_every(None, duration, self.most), read)

    def plan_action(self, when: float, action: Action) -> None:
        """Let something happen at that time of the load."""
        if not when >= 0 or (self.duration is not None and when > self.duration):
            last = f" to {self.duration:g}" if self.duration is not None else " on"
            raise ValueError(f"at={{{when!r}: …}} is outside the load, which runs from 0{last} seconds.")
        self._planned.append(self._act(when, action))

    async def _repeat(self, every: float, action: Action) -> None:
        number = 0
        while True:
            await self._call(action)
            number += 1
            await self._wait_until(number * every)

    async def _act(self, when: float, action: Action) -> None:
        await self._wait_until(when)
        await self._call(action)

    async def _call(self, action: Action) -> None:
        """Call what the test gave; what it raises is the load's end."""
        try:
            value = action()
            if inspect.isawaitable(value):
                await value
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if not self._failure.done():
            error.add_note(
                f"at {self.now:.6g} s of the load, after {len(self._requests):,} requests, with "
                f"{len(self._in_flight):,} in flight (seed {self.seed})"
            )
            self._failure.set_exception(error)

    # -- requests ------------------------------------------------------------------------------------------------

    async def arrive(self, plan: Arrivals) -> None:
        """Let requests arrive as planned."""
        until = float("inf") if self.duration is None else self.duration
        for time in plan.times(Random(self.seed), until):
            if self.most is not None and self._made >= self.most:
                break
            await self._wait_until(time)
            self._begin(self._request(self._next(time)))
        else:
            if self.duration is not None:
                await self._wait_until(self.duration)

    async def loop_users(self, users: int, think: float) -> None:
        """Let so many users ask, wait for the answer, think, and ask again."""
        for _ in range(users):
            self._begin(self._ask_again(think))
        await asyncio.wait(self._in_flight.copy(), timeout=None if self.duration is None else self.duration - self.now)

    async def _ask_again(self, think: float) -> None:
        while (self.most is None or self._made < self.most) and (self.duration is None or self.now < self.duration):
            await self._request(self._next(self.now))
            # One turn at least: what answers at once would never let anybody else go on.
            await asyncio.sleep(think)

    def _begin(self, request: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(request)
        self._in_flight.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        if not self._in_flight and self._drained is not None:
            _wake(self._drained)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)  # not an Exception: pytest.fail() and its like

    def _next(self, intended: float) -> Visit:
        self._made += 1
        self._last_arrival = intended
        return Visit(self._made - 1, intended, self.seed)

    async def _request(self, visit: Visit) -> None:
        if perf_counter() > self.real_limit:
            self._fail(LoadError(self._describe_slowness()))
        kind = None
        try:
            await (self.user(visit) if self.takes_visit else self.user())
        except asyncio.CancelledError:
            kind = UNFINISHED if self._is_over else "CancelledError"
            if self._is_over:
                raise
        except Exception as error:
            kind = type(error).__name__
            if kind not in self._examples:
                self._examples[kind] = self._describe_error(error)
        finally:
            self._requests.append(Request(visit.number, visit.intended, self.now, kind))
        if self.check is not None:
            await self._call(self.check)

    async def _wait_until(self, when: float) -> None:
        """Wait until that second of the load, exactly: a difference of two floats would be a little off."""
        if self.start + when <= self.loop.time():
            return
        future = self.loop.create_future()
        timer = self.loop.call_at(self.start + when, _wake, future)
        try:
            await future
        finally:
            timer.cancel()

    # -- from begin to end ---------------------------------------------------------------------------------------

    async def run(self, source: Coroutine[Any, Any, None], drain: float) -> None:
        """Run it all; raise what ended it early."""
        background = [self.loop.create_task(coroutine) for coroutine in self._background]
        self._actions = {self.loop.create_task(coroutine) for coroutine in self._planned}
        arriving = self.loop.create_task(source)
        try:
            await asyncio.wait({arriving, self._failure}, return_when=asyncio.FIRST_COMPLETED)
            draining = self.loop.create_task(self._drain())
            await asyncio.wait({draining, self._failure}, timeout=drain, return_when=asyncio.FIRST_COMPLETED)
            background.append(draining)
        finally:
            self._is_over = True
            others = [arriving, *background, *self._actions, *self._in_flight]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            if not self._failure.done():
                self._failure.cancel()
        if not self._failure.cancelled():
            raise self._failure.exception() or AssertionError("unreachable")
        if arriving.done() and not arriving.cancelled():
            arriving.result()  # arrivals of the test's own may be wrong

    async def _drain(self) -> None:
        """Wait until nothing is in flight and all actions are done."""
        if self._in_flight:
            self._drained = self.loop.create_future()
            await self._drained
        for action in self._actions:
            await asyncio.wait({action})

    def result(self, name: str) -> LoadResult:
        """Return the numbers."""
        requests = tuple(sorted(self._requests))
        last = max((each.ended for each in requests), default=0.0)
        duration = self.duration
        if duration is None or (self.most is not None and self._made >= self.most):
            duration = max(self._last_arrival, min(last, duration or last))
        return LoadResult(
            name,
            requests,
            duration,
            max(duration, last),
            self.seed,
            clock_of(self.loop),
            perf_counter() - self.real_start,
            self.gauges,
            self._examples,
        )

    def _describe_error(self, error: Exception) -> str:
        place = ""
        for frame, line in traceback.walk_tb(error.__traceback__):
            if frame.f_globals.get("__name__", "").partition(".")[0] != "pytest_interleave":
                place = place or f" ({frame.f_code.co_filename}:{line})"
        text = str(error).partition("\n")[0]
        return f"at {self.now:.6g} s: {text}{place}" if text else f"at {self.now:.6g} s{place}"

    def _describe_slowness(self) -> str:
        real = self.real_limit - self.real_start
        until = f" of {self.duration:g}" if self.duration is not None else ""
        return (
            f"The load took longer than {real:g} real seconds: it has come to {self.now:.3g}{until} s and "
            f"{self._made:,} requests. Ask for less, or allow more with max_real_seconds=."
        )


def _plan(rate: float | None, arrivals: Arrivals | None, users: int | None) -> Arrivals | int:
    given = [name for name, value in (("rate", rate), ("arrivals", arrivals), ("users", users)) if value is not None]
    if len(given) != 1:
        found = " and ".join(given) or "none of them"
        raise ValueError(f"load() takes one of rate=, arrivals= and users=, and was given {found}.")
    if rate is not None:
        check_rate("rate", rate)
        return Poisson(rate)
    if users is not None:
        if isinstance(users, bool) or not isinstance(users, int) or users < 1:
            raise ValueError(f"{users!r} is not a valid number of users: it must be a whole number, 1 or more.")
        return users
    assert arrivals is not None
    return arrivals


def _check_clock(clock: str | None, loops: str) -> None:
    if clock not in (None, "virtual", "real"):
        raise ValueError(f"{clock!r} is not a valid clock. Valid values: virtual, real.")
    if clock == "virtual" and loops == "real":
        raise LoadError(
            "This load is to run in virtual time, but its test does not: mark it @pytest.mark.virtual_time."
        )
    if clock == "real" and loops == "virtual":
        raise LoadError(
            "This load is to run in real time, but its test does not: mark it @pytest.mark.virtual_time(False) and "
            "@pytest.mark.interleave(False)."
        )


def _check_bounds(
    duration: float | None,
    requests: int | None,
    think: float,
    drain: float,
    check: Action | None,
    check_every: float | None,
) -> None:
    if duration is None and requests is None:
        raise ValueError("load() needs an end: duration= in seconds, or a number of requests=.")
    for name, value in (("duration", duration), ("requests", requests), ("check_every", check_every)):
        if value is not None and not value > 0:
            raise ValueError(f"{value!r} is not a valid {name}: it must be above 0.")
    for name, value in (("think", think), ("drain", drain)):
        if not value >= 0:
            raise ValueError(f"{value!r} is not a valid {name}: it must be a number of seconds, 0 or more.")
    if check_every is not None and check is None:
        raise ValueError("check_every= says how often to call check=, which is missing.")


def _every(every: float | None, duration: float | None, requests: int | None) -> float:
    """Return how often something is done that is done regularly."""
    if every is not None:
        return every
    return duration / _SAMPLES if duration is not None else 1.0


def _takes_argument(user: Any) -> bool:
    try:
        parameters = list(inspect.signature(user).parameters.values())
    except (TypeError, ValueError):
        return False
    return any(
        parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        and parameter.default is parameter.empty
        for parameter in parameters
    )


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
