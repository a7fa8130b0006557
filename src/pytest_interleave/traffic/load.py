"""Load on what a test calls: many requests, by a clock, and what became of them.

In open load requests arrive when they arrive, whatever has become of the earlier ones, and latency is counted from when
a request was *to* start. A load that waits for an answer before it asks again measures a service at its own pace, and
sees no queue (Gil Tene calls it coordinated omission); ``users=`` does that, for what really is such a loop.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from typing import cast

from pytest_interleave.arrivals import Arrivals, Poisson, Replay, check_rate
from pytest_interleave.errors import LoadError
from pytest_interleave.loop.controlled import ControlledLoop
from pytest_interleave.loop.virtual import clock_of
from pytest_interleave.traffic import made
from pytest_interleave.traffic.beside import Action, Gauge
from pytest_interleave.traffic.result import LoadResult
from pytest_interleave.traffic.running import RunningLoad

#: In virtual time a load that takes longer than this in real seconds is more than a test should do.
_MOST_REAL_SECONDS = 120.0
#: Gauges are read so often in a load.
_SAMPLES = 60


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
    gauges: Mapping[str, Gauge] | None = None,
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
    __tracebackhide__ = True
    loop = asyncio.get_running_loop()
    clock_now = clock_of(loop)
    _check_user(user)
    _check_clock(clock, clock_now)
    plan = _plan(rate, arrivals, users)
    if isinstance(plan, Replay) and duration is None:
        duration = plan.duration
    _check_bounds(duration, requests, think, drain, check, check_every)
    for when in at or {}:
        _check_moment(when, duration)
    if max_real_seconds is None:
        max_real_seconds = _MOST_REAL_SECONDS if clock_now == "virtual" else math.inf
    run = RunningLoad(
        loop,
        user,
        seed=seed,
        duration=duration,
        most=requests,
        drain_seconds=drain,
        most_real_seconds=max_real_seconds,
    )
    if check is not None and check_every is not None:
        run.beside.repeat(check_every, check)
    else:
        run.check = check
    if gauges:
        run.beside.gauge(duration / _SAMPLES if duration is not None else 1.0, dict(gauges))
    for when, action in sorted((at or {}).items(), key=lambda entry: entry[0]):
        run.beside.at(when, action)
    source = run.loop_users(plan, think) if isinstance(plan, int) else run.arrive(plan)
    with loop.undecided() if isinstance(loop, ControlledLoop) else nullcontext():
        await run.run(source)
    result = run.result()
    made.recent.append(result)
    return result


def _plan(rate: float | None, arrivals: Arrivals | None, users: int | None) -> Arrivals | int:
    given = [name for name, value in (("rate", rate), ("arrivals", arrivals), ("users", users)) if value is not None]
    if len(given) != 1:
        found = " and ".join(given) or "none of them"
        raise ValueError(f"load() takes one of rate=, arrivals= and users=, and was given {found}.")
    if rate is not None:
        check_rate("rate", rate)
        return Poisson(rate)
    if users is not None:
        _check_count("number of users", users)
        return users
    if not hasattr(arrivals, "times"):
        raise ValueError(
            f"{arrivals!r} is not a valid arrivals: it must be one of pytest_interleave.arrivals, such as Constant(95)."
        )
    return cast("Arrivals", arrivals)


def _check_user(user: object) -> None:
    if inspect.iscoroutine(user):
        user.close()
        name = user.__qualname__.rpartition("<locals>.")[2]
        raise TypeError(f"load() calls a function for each request: give it {name}, not what {name}() returns.")
    if not callable(user):
        raise TypeError(f"load() calls an async function for each request, and {user!r} is none.")


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
    for name, value in (("duration", duration), ("check_every", check_every)):
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"{value!r} is not a valid {name}: it must be a number of seconds above 0.")
    if requests is not None:
        _check_count("number of requests", requests)
    for name, value in (("think", think), ("drain", drain)):
        if not value >= 0:
            raise ValueError(f"{value!r} is not a valid {name}: it must be a number of seconds, 0 or more.")
    if check_every is not None and check is None:
        raise ValueError("check_every= says how often to call check=, which is missing.")


def _check_count(what: str, count: object) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"{count!r} is not a valid {what}: it must be a whole number, 1 or more.")


def _check_moment(when: float, duration: float | None) -> None:
    if not when >= 0 or (duration is not None and when > duration):
        last = f" to {duration:g}" if duration is not None else " on"
        raise ValueError(f"at={{{when!r}: …}} is outside the load, which runs from 0{last} seconds.")
