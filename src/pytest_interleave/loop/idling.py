"""Listen to a loop: whenever it is about to wait, to each task that it makes, and to calls that block it.

Each of these replaces a function while anybody listens, and puts it back when the last one has heard enough; blocks of
different tasks may begin and end in any order.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from pytest_interleave.clock.real import perf_counter
from pytest_interleave.loop.controlled import ControlledLoop

Listeners = list[Callable[..., object]]
_Undo = Callable[[], object]

#: Loops without a selector of asyncio's (uvloop) are looked at this often.
_LOOK_SECONDS = 0.001
_active: dict[tuple[str, int], tuple[Listeners, _Undo]] = {}


@contextmanager
def looking(loop: Any, look: Callable[[float | None], object]) -> Iterator[None]:
    """Call ``look`` with None each time before the loop waits, and with the seconds behind, where that is known."""
    with _listening("look", loop, _install_looks, look):
        yield


@contextmanager
def noting_tasks(loop: Any, note: Callable[[asyncio.Task[Any]], object]) -> Iterator[None]:
    """Call ``note`` with each task that the loop makes, in the context that makes it."""
    with _listening("tasks", loop, _install_notes, note):
        yield


@contextmanager
def noting_sleeps(loop: Any, note: Callable[[float, FrameType], object]) -> Iterator[None]:
    """Call ``note`` with the seconds and the caller of each ``time.sleep`` in this thread."""
    with _listening("sleeps", loop, _install_sleep, note):
        yield


@contextmanager
def _listening(
    what: str, loop: Any, install: Callable[[Any, Listeners], _Undo], listener: Callable[..., object]
) -> Iterator[None]:
    key = what, id(loop)
    if key not in _active:
        listeners: Listeners = []
        _active[key] = listeners, install(loop, listeners)
    listeners, undo = _active[key]
    listeners.append(listener)
    try:
        yield
    finally:
        listeners.remove(listener)
        if not listeners:
            del _active[key]
            undo()


def _install_looks(loop: Any, listeners: Listeners) -> _Undo:
    def look(waited: float | None = None) -> None:
        for listener in list(listeners):
            listener(waited)

    selector = getattr(loop, "_selector", None)
    if selector is None:
        return _Timer(loop, look).stop
    is_controlled = isinstance(loop, ControlledLoop)
    if is_controlled:
        loop.on_idle = look
    select = selector.select

    def look_and_select(timeout: float | None = None) -> Any:
        if timeout is not None and timeout <= 0:
            return select(timeout)
        if not is_controlled:
            look()
        start = perf_counter()
        found = select(timeout)
        look(perf_counter() - start)
        return found

    def undo() -> None:
        del selector.select  # the class's shows again
        if is_controlled:
            loop.on_idle = None

    selector.select = look_and_select
    return undo


class _Timer:
    def __init__(self, loop: asyncio.AbstractEventLoop, look: Callable[[], object]) -> None:
        self._loop = loop
        self._look = look
        self._handle = loop.call_later(_LOOK_SECONDS, self._tick)

    def _tick(self) -> None:
        self._look()
        self._handle = self._loop.call_later(_LOOK_SECONDS, self._tick)

    def stop(self) -> None:
        self._handle.cancel()


def _install_notes(loop: Any, listeners: Listeners) -> _Undo:
    # Not a task factory: that would change what the tasks of a controlled loop are.
    create_task = loop.create_task

    def create_and_note(coroutine: Any, **options: Any) -> Any:
        task = create_task(coroutine, **options)
        for listener in list(listeners):
            listener(task)
        return task

    loop.create_task = create_and_note
    return lambda: delattr(loop, "create_task")


def _install_sleep(loop: Any, listeners: Listeners) -> _Undo:
    ident, sleep = threading.get_ident(), time.sleep

    def noting_sleep(seconds: float, /) -> None:
        start = perf_counter()
        sleep(seconds)
        if threading.get_ident() == ident:
            for listener in list(listeners):
                listener(perf_counter() - start, sys._getframe(1))

    time.sleep = noting_sleep  # type: ignore[assignment]

    def undo() -> None:
        if time.sleep is noting_sleep:
            time.sleep = sleep

    return undo
