"""Try a failure once more on asyncio's own loop, in real time: what must be late there, is late for real.

All that the controlled loop might get wrong about asyncio is out of the way then, and virtual time with it. It takes
nothing from a failure if it does not come there: a real clock and a busy machine have a say.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath
from typing import TypeAlias

from pytest_interleave.clock.real import perf_counter
from pytest_interleave.errors import Blocked, LeftBehind, RunEnded, StepLimit, TimeLimit
from pytest_interleave.exploration.execution import Limits
from pytest_interleave.exploration.outcomes import Failure, Trial
from pytest_interleave.exploration.result import signature_of
from pytest_interleave.loop._delayed import DelayedLoop
from pytest_interleave.schedule import CANCELLATIONS, DRAW, OUTSIDE, TICK, EventId
from pytest_interleave.strategies.guided import Guided

#: Makes one run on that loop, closes it, and returns how the run failed.
OnLoop: TypeAlias = Callable[[DelayedLoop], BaseException | None]

#: Why a test with virtual clocks is not tried.
VIRTUAL_CLOCKS = "Python's clocks are virtual in it"
#: How much real time all of it may take, and how much the sleeps of one run.
_SECONDS = 1.0
_SECONDS_OF_SLEEPS = 0.4
#: Longer runs than this many times ``_SECONDS_OF_SLEEPS`` are not made shorter by a faster clock.
_MOST_SPEED = 25.0
_TRIES = 2


def try_on_plain_loop(on_loop: OnLoop, failure: Failure, *, reason: str = "") -> Trial | None:
    """Make the run at most twice; None if nothing is late in the failure. ``reason``: why it cannot be made."""
    if failure.label not in ("stock", "latency") or not _has_late(failure):
        return None
    reason = reason or _reason_against(failure)
    if reason:
        return Trial("not tried", reason)
    speed = max(1.0, failure.result.seconds / _SECONDS_OF_SLEEPS)
    end = perf_counter() + _SECONDS
    trial = Trial("not tried")
    for _ in range(_TRIES):
        seconds = end - perf_counter()
        if seconds < _SECONDS / 2:
            break
        trial = _try(on_loop, failure, speed, seconds)
        if trial.outcome == "same":
            break
    return trial


def _try(on_loop: OnLoop, failure: Failure, speed: float, seconds: float) -> Trial:
    order = [(path, "timer" if kind == TICK else kind, nth) for path, kind, nth in failure.result.trace.events()]
    draws = {event: value for event, value in _constraints(failure).items() if event[1] == DRAW}
    loop = DelayedLoop(
        order, speed=speed, decider=Guided(draws) if draws else None, limits=Limits(real_seconds=seconds)
    )
    error = on_loop(loop)
    if error is None:
        return Trial("passed", speed=speed)
    kind, place = signature_of(error)
    if (kind, place) == failure.signature or _is_blocked_alike(error, failure):
        return Trial("same", speed=speed)
    if isinstance(error, TimeLimit):
        return Trial("not tried", f"it takes longer than {_SECONDS:g} s of real time")
    return Trial("other", f"{kind} at {PurePath(place).name}" if place else kind, speed)


def _is_blocked_alike(error: BaseException, failure: Failure) -> bool:
    """Whether everybody stands where they stood in the deadlock, also where nobody could tell that this is one."""
    return isinstance(failure.error, Blocked) and isinstance(error, RunEnded) and error.places == failure.error.places


def _constraints(failure: Failure) -> dict[EventId, EventId]:
    return failure.constraints if failure.constraints is not None else failure.result.constraints()


def _has_late(failure: Failure) -> bool:
    return any(event[1] in OUTSIDE for event in _constraints(failure))


def _reason_against(failure: Failure) -> str:
    if isinstance(failure.error, (StepLimit, TimeLimit, LeftBehind)):
        return "it does not end by itself"
    if any(event[1] in CANCELLATIONS for event in _constraints(failure)):
        return "it needs a cancellation at one moment"
    if failure.explanation is None or not failure.explanation.is_same or not failure.reproduced:
        return "it does not come again each time"
    length = failure.result.seconds
    if length > _SECONDS_OF_SLEEPS * _MOST_SPEED:
        return f"the run takes {length:.3g} s"
    return ""
