"""Ends a step that goes round and round without giving way: no turn of the loop comes in which a limit could be seen.

``while not done: await event.wait()`` does that once the event is set, since an await that need not wait does not
suspend. What computes for long is left alone: somewhere in what is seen of a step must be a call to asyncio.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from pytest_interleave.errors import Spinning, StepCut
from pytest_interleave.loop.watchdog import LongStep, Spot, Watchdog
from pytest_interleave.origins import rank

if TYPE_CHECKING:
    from pytest_interleave.loop.controlled import ControlledLoop

#: So long a step may compute; and where one was found that goes on for ever, others like it.
_SECONDS = 5.0
_SECONDS_AGAIN = 0.5
_COMPUTING = 0.6
#: The limit of a run whose step is being cut: what is thrown may be lost in a finalizer, and is thrown again.
_CUT = -1
_ASYNCIO = os.path.dirname(asyncio.__file__)


class _Guard:
    """Looks at the runs of one thread."""

    def __init__(self, seconds: float) -> None:
        self.thread = threading.get_ident()
        self.seconds = seconds
        self.watchdog = Watchdog(seconds, lambda: _state.loop, self._found, is_told_again=True)

    def _found(self, step: LongStep) -> None:
        loop = _state.loop
        if loop is None or loop.decider is None or loop.step_limit == sys.maxsize:
            return
        if loop.spun is not None and loop.step_limit != _CUT:  # it has been cut, and the run ends
            return
        if step.computing_seconds < _COMPUTING * self.seconds or not _calls_asyncio(step):
            return
        loop.spun = Spinning(loop.steps, loop.time(), *_where(step))
        loop.step_limit = _CUT  # at the next turn
        StepCut.text = str(loop.spun)
        _state.has_found = True
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.thread), ctypes.py_object(StepCut))


class _State:
    loop: ControlledLoop | None = None
    guard: _Guard | None = None
    has_found = False


_state = _State()


def watch(loop: ControlledLoop) -> None:
    """Look at the run that begins in that loop."""
    state = _state
    guard = state.guard
    state.loop = loop
    if guard is None or not guard.watchdog.is_running or state.has_found or guard.thread != threading.get_ident():
        seconds = _SECONDS_AGAIN if state.has_found else _SECONDS
        _start(seconds)


def leave(loop: ControlledLoop) -> None:
    """Look at that loop no longer, nor keep what hangs on it: it is closed."""
    if _state.loop is loop:
        _state.loop = None


def forget() -> None:
    """Begin with what is another test: that the last one did not end says nothing about it."""
    if _state.has_found:
        _state.has_found = False
        _start(_SECONDS)


def _start(seconds: float) -> None:
    guard = _state.guard
    if guard is not None and guard.watchdog.is_running:
        if (guard.seconds, guard.thread) == (seconds, threading.get_ident()):
            return
        guard.watchdog.stop()
    _state.guard = guard = _Guard(seconds)
    guard.watchdog.start()


def stop() -> None:
    """Look no longer."""
    if _state.guard is not None:
        _state.guard.watchdog.stop()
    _state.guard = _state.loop = None


def _calls_asyncio(step: LongStep) -> bool:
    return any(spots[0][0].co_filename.startswith(_ASYNCIO) for spots in step.spots)


def _where(step: LongStep) -> tuple[str, str]:
    """Return the user's innermost function in which it stood, and the place where that begins."""
    codes: list[Any] = [code for spots in step.spots for code, _ in _of_user(spots)[:1]]
    if not codes:
        return "a library", ""
    code = max(codes, key=codes.count)
    return code.co_qualname.rpartition("<locals>.")[2], f"{code.co_filename}:{code.co_firstlineno}"


def _of_user(spots: tuple[Spot, ...]) -> list[Spot]:
    return [spot for spot in spots if rank(spot[0].co_filename) == 2]
