"""A plain run in which everybody waits for somebody else: it fails at once, and says who waits for what.

Only what is certain counts. While a socket, a thread, a process, a timer or a signal might bring something, nothing is
said. Who holds a lock is known in explored runs only.
"""

from __future__ import annotations

import asyncio
import linecache
from pathlib import Path
from types import FrameType
from typing import Any

from pytest_interleave.errors import Deadlocked
from pytest_interleave.loop import _plain
from pytest_interleave.loop.host import Host, Interrupts
from pytest_interleave.plugin.detecting.frames import frames_of
from pytest_interleave.plugin.detecting.places import is_library

_PACKAGE = str(Path(__file__).parents[2])
_PRIMITIVES = (asyncio.Lock, asyncio.Event, asyncio.Condition, asyncio.Semaphore, asyncio.Queue)


class DeadlockWatch:
    """Looks at a loop that is about to wait without a time limit."""

    def __init__(self) -> None:
        # Threads that were there before the first test (xdist's) know nothing of its loops.
        self._resting_threads = _plain.list_threads()

    def install(self) -> None:
        """Look at the loops of this session."""
        _plain.IdleSelector.on_idle = self._look

    def uninstall(self) -> None:
        """Look no longer."""
        if _plain.IdleSelector.on_idle == self._look:
            _plain.IdleSelector.on_idle = None

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        if not Host.running or Host.running[-1].loop is not loop:
            return
        assert isinstance(loop, _plain.SpareLoop)
        if not _plain.can_be_woken(loop, self._resting_threads, Interrupts.has_usual_handler()):
            raise Deadlocked(describe(loop))


def describe(loop: asyncio.AbstractEventLoop) -> str:
    """Return that nothing can go on, and why."""
    lines = ["Deadlock: everybody waits, and nothing can come from outside.", *describe_waits(loop)]
    lines.append("With --interleave the report also says who holds what, and where it was taken.")
    return "\n".join(lines)


def describe_waits(loop: asyncio.AbstractEventLoop) -> list[str]:
    """Return who waits for what, a paragraph a task."""
    own = Host.running[-1].task if Host.running else None
    tasks = sorted(asyncio.all_tasks(loop), key=lambda task: (task is not own, task.get_name()))
    lines = []
    for task in tasks:
        name = "the test" if task is own else f"task {task.get_name()!r}"
        lines.append(f"  {name} waits for {_describe_wait(task, own)}")
        for frame in frames_of(task.get_coro()):
            path = frame.f_code.co_filename
            if not is_library(path) and not path.startswith(_PACKAGE):
                text = linecache.getline(path, frame.f_lineno).strip()
                lines.append(f"    at {path}:{frame.f_lineno} in {frame.f_code.co_name}: {text}")
    return lines


def _describe_wait(task: asyncio.Task[Any], own: asyncio.Task[Any] | None) -> str:
    future = getattr(task, "_fut_waiter", None)
    if isinstance(future, asyncio.Task):
        return "the test" if future is own else f"task {future.get_name()!r}"
    children = getattr(future, "_children", ())  # of gather
    if children:
        names = ", ".join(
            repr(child.get_name()) for child in children if not child.done() and hasattr(child, "get_name")
        )
        return f"the tasks {names}"
    for frame in reversed(frames_of(task.get_coro())):
        primitive = _primitive_of(frame)
        if primitive is not None:
            return repr(primitive)
        if frame.f_code is asyncio.sleep.__code__:  # in virtual time only
            return "a timer"
    return "a future that nobody completes" if future is not None else "something unknown"


def _primitive_of(frame: FrameType) -> object | None:
    owner = frame.f_locals.get("self") if is_library(frame.f_code.co_filename) else None
    return owner if isinstance(owner, _PRIMITIVES) else None
