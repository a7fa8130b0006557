"""Who took a lock last, and where: noted on each lock when it is taken, for the report of a deadlock.

Where tasks stand tells who holds what by ``async with``; what ``acquire()`` took, and who has ended since, it does not.
A note costs a microsecond, and only those who take locks. Locks of tasks are remembered until their loop ends: one
that is held then by a task that ended before was never given back. A test that holds one itself may mean it.
"""

from __future__ import annotations

import asyncio
import linecache
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from weakref import ref

from pytest_interleave.detectors.findings import Finding
from pytest_interleave.loop.host import Host
from pytest_interleave.origins import rank
from pytest_interleave.plugin.detecting.blocking import line_of

_NOTE = "_taken_last"
_KINDS = (asyncio.Lock, asyncio.Semaphore)
_AENTER = asyncio.Lock.__aenter__.__code__
#: When so many are remembered, those are forgotten that are free.
_MOST = 1000


@dataclass(frozen=True, slots=True)
class Taker:
    """The task that took a lock last, by its name, and the line on which it did."""

    name: str
    path: str
    line: int

    @property
    def text(self) -> str:
        """The line of source."""
        return linecache.getline(self.path, self.line).strip()


@dataclass(slots=True)
class Taken:
    """A lock that a task took while a loop ran."""

    loop: asyncio.AbstractEventLoop
    lock: asyncio.Lock
    task: ref[asyncio.Task[Any]]

    def finding(self, path_of_test: str) -> Finding | None:
        """Return that it was not given back, if its task has ended and it is held still."""
        task, taker = self.task(), taker_of(self.lock)
        if taker is None or not self.lock.locked() or not (task is None or task.done()):
            return None
        return Finding(
            "kept-lock",
            f"task {taker.name!r} has ended, and keeps a lock that it took",
            f"{taker.path}:{taker.line}",
            (taker.text, f"{self.lock!r}: whoever asks for it now waits for ever"),
            "Take it by 'async with', or release it in a 'finally'.",
        )


def forget_locks_of(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Leave out what these hold: they are cancelled because the loop ends, and nobody will ask for it."""
    ended = set(tasks)
    for number, opened in list(Host.opened.items()):
        if isinstance(opened, Taken) and opened.task() in ended:
            del Host.opened[number]


class Takers:
    """Notes who takes asyncio's locks and semaphores."""

    def __init__(self) -> None:
        self._replaced: list[tuple[type, Any, Any]] = []

    def install(self) -> None:
        """Begin."""
        for kind in _KINDS:
            original = vars(kind)["acquire"]
            noting = _noting(original)
            setattr(kind, "acquire", noting)  # noqa: B010 - mypy knows better
            self._replaced.append((kind, original, noting))

    def uninstall(self) -> None:
        """End."""
        while self._replaced:
            kind, original, noting = self._replaced.pop()
            if vars(kind)["acquire"] is noting:
                setattr(kind, "acquire", original)  # noqa: B010


def taker_of(lock: object) -> Taker | None:
    """Return who took the lock last, if that was on a line that is seen."""
    note = getattr(lock, "__dict__", {}).get(_NOTE)
    if note is None:
        return None
    name, code, instruction = note
    if not rank(code.co_filename):
        return None
    return Taker(name, code.co_filename, line_of((code, instruction)))


def _noting(original: Any) -> Any:
    async def acquire(self: Any) -> Any:
        __tracebackhide__ = True
        result = await original(self)
        frame = sys._getframe(1)
        if frame.f_code is _AENTER and frame.f_back is not None:
            frame = frame.f_back
        task = asyncio.current_task()
        if task is not None:
            self._taken_last = task.get_name(), frame.f_code, frame.f_lasti
            host = Host.running[-1] if Host.running else None
            if host is not None and host.watcher is not None and isinstance(self, asyncio.Lock):
                taken = Host.opened.get(id(self))
                if task is host.task:
                    Host.opened.pop(id(self), None)
                elif taken is None:
                    _remember(Taken(host.loop, self, ref(task)))
                else:
                    taken.loop, taken.task = host.loop, ref(task)
        return result

    acquire.__doc__ = original.__doc__
    return acquire


def _remember(taken: Taken) -> None:
    if len(Host.opened) > _MOST:
        for number, opened in list(Host.opened.items()):
            if isinstance(opened, Taken) and not opened.lock.locked():
                del Host.opened[number]
    Host.opened[id(taken.lock)] = taken
