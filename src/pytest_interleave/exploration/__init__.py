"""Many runs of one test: budget, search, shrinking."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from datetime import datetime
from typing import Any

from pytest_interleave.clock.instants import next_second, read_instant
from pytest_interleave.exploration.execution import Execution, Limits
from pytest_interleave.exploration.explain import explain
from pytest_interleave.exploration.outcomes import Exploration, Failure
from pytest_interleave.exploration.search import Budget, Search
from pytest_interleave.exploration.trial import VIRTUAL_CLOCKS, try_on_plain_loop
from pytest_interleave.loop._plain import get_running_loop_or_none
from pytest_interleave.loop.doubles import Doubles
from pytest_interleave.settings import MODES

__all__ = ["Exploration", "Failure", "explain", "explore"]


def explore(
    function: Callable[[], Coroutine[Any, Any, Any]],
    *,
    runs: int = 200,
    seconds: float = float("inf"),
    seed: int | None = None,
    mode: str = "realistic",
    clocks: bool | datetime = False,
    mocks: bool = False,
    on_plain_loop: bool = True,
) -> Exploration:
    """Run an async function under many schedules, in virtual time, and say whether one of them fails.

    The function is called anew for each run and must make all that it uses. ``runs`` and ``seconds`` (real) bound the
    search, whichever ends first; the same ``seed`` makes the same search. See ``MODES`` for ``mode``. With ``clocks``
    Python's clocks follow virtual time, each run from the same instant: the one given, or the next second. With
    ``mocks`` each ``AsyncMock`` that is awaited may take time.
    A failure is tried on asyncio's own loop as well, in real time, unless ``on_plain_loop`` is false.
    """
    _check(function, runs, seconds, seed, mode)
    if get_running_loop_or_none() is not None:
        raise RuntimeError(
            "explore() runs event loops of its own, and one is running in this thread: call it from sync code, "
            "or await asyncio.to_thread(explore, check)"
        )
    start = None if clocks is False else next_second() if clocks is True else read_instant(clocks)
    execution = Execution(function, stretch=mode != "stock", limits=Limits(), clocks_start=start)
    seed = secrets.randbits(32) if seed is None else seed
    try:
        with Doubles(may_be_late=True).watched() if mocks else nullcontext():
            exploration = Search(
                execution,
                seed=seed,
                mode=mode,
                budget=Budget(runs, seconds),
                in_real_time=execution.in_real_time,
                unstretched=execution.unstretched,
                limited=execution.limited,
                with_clocks=execution.with_clocks if start is None else None,
            ).run()
            for failure in (*exploration.failures, *exploration.notes):
                failure.explanation = explain(execution, failure, exploration)
                if on_plain_loop:
                    reason = "" if start is None else VIRTUAL_CLOCKS
                    failure.tried = try_on_plain_loop(execution.on_loop, failure, reason=reason)
        return exploration
    finally:
        execution.close()


def _check(function: object, runs: object, seconds: float, seed: object, mode: str) -> None:
    """Refuse what cannot be meant before anything runs: no run at all would prove nothing."""
    if not callable(function):
        if isinstance(function, Coroutine):
            function.close()
        raise TypeError("explore() calls an async function anew for each run: explore(check), not explore(check())")
    if not isinstance(runs, int) or runs < 1:
        raise ValueError(f"runs={runs!r}: it must be a whole number, 1 or more")
    if not seconds > 0:
        raise ValueError(f"seconds={seconds!r}: it must be a number above 0")
    if seed is not None and (not isinstance(seed, int) or seed < 0):
        raise ValueError(f"seed={seed!r}: it must be a whole number, 0 or more, or None")
    if mode not in MODES:
        raise ValueError(f"{mode!r} is not a mode; there are {', '.join(MODES)}")
