"""A test that waits for one and the same thing for long is told of on the terminal while it waits; it does not fail.

Who looks is the thread that looks for blocking calls. What counts is not how long a test takes, but that neither its
task nor any that it waits for has come on, and that none of them sleeps: that ends by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from weakref import ref

import pytest

from pytest_interleave.clock.real import monotonic
from pytest_interleave.loop import _plain
from pytest_interleave.loop.frames import frames_of
from pytest_interleave.loop.host import Host
from pytest_interleave.plugin.detecting.deadlocks import describe_waits

#: So long a test waits before it is told.
NOTICE_SECONDS = 30.0


class LongWaits:
    """Tells once of each wait. ``tell`` brings a text to the terminal, past what is captured."""

    def __init__(self, tell: Callable[[str], object]) -> None:
        self._tell = tell
        #: What the test's task waits for, and what all do. Held weakly: nothing may live longer for being looked at,
        #: and the id of a future that is no more is soon that of the next.
        self._future: Callable[[], Any] | None = None
        self._stands: dict[int, Callable[[], Any]] = {}
        self._since = 0.0
        self._is_told = False

    def look(self, host: Host, item: pytest.Item) -> None:
        """Look at the test that runs; called in a thread, some times a second."""
        task = host.task
        future = None if task is None else _plain.awaited_by(task)
        now = monotonic()
        if task is None or future is None or self._future is None or self._future() is not future:
            self._begin(now, future)
            return
        seconds = now - self._since
        if self._is_told or (seconds < NOTICE_SECONDS / 2 and not self._stands):
            return
        if not self._stands:  # from here on, nobody may come on
            self._stands = {number: _weak(each) for number, each in _stands(task).items() if each is not None}
        elif seconds >= NOTICE_SECONDS:
            stands = _stands(task)
            if stands.keys() != self._stands.keys() or any(self._stands[each]() is not stands[each] for each in stands):
                self._begin(now, future)
            else:
                self._is_told = True
                self._tell(_describe(host, item, seconds))

    def _begin(self, now: float, future: Any) -> None:
        self._future = None if future is None else _weak(future)
        self._since = now
        self._stands = {}
        self._is_told = False


def _weak(future: Any) -> Callable[[], Any]:
    try:
        return ref(future)
    except TypeError:  # not one of asyncio's
        return _nothing


def _nothing() -> None:
    """Stand for what cannot be told from another."""


def _stands(task: asyncio.Task[Any]) -> dict[int, Any]:
    """Return for what the task and those that it waits for wait, by their ids; None for one that comes on by itself."""
    found: dict[int, Any] = {}
    todo: list[Any] = [task]
    while todo:
        each = todo.pop()
        if id(each) in found or not isinstance(each, asyncio.Task) or each.done():
            continue
        future = _plain.awaited_by(each)
        try:
            frames = frames_of(each.get_coro())
            sleeps = any(frame.f_code is asyncio.sleep.__code__ for frame in frames)
            todo += _plain.joined_by(future, frames)
        except (RuntimeError, KeyError):  # it came on just now, in the other thread
            return {id(task): None}
        found[id(each)] = None if sleeps else future
    return found


def _describe(host: Host, item: pytest.Item, seconds: float) -> str:
    try:
        lines = describe_waits(host.loop)
    except Exception as error:  # tasks of other threads come and go; a user's __repr__ may do anything
        lines = [f"  who waits for what cannot be said: {error!r}"]
    first = f"{item.nodeid} has waited for {seconds:.0f} s, and still does:"
    return "\n".join([first, *lines, "interleave_timeout would end it; Ctrl-C does."])
