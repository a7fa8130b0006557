"""Who took a lock last, and where: noted on each lock when it is taken, for the report of a deadlock.

Where tasks stand tells who holds what by ``async with``; what ``acquire()`` took, and who has ended since, it does not.
A note costs half a microsecond, and only those who take locks.
"""

from __future__ import annotations

import asyncio
import linecache
import sys
from dataclasses import dataclass
from typing import Any

from pytest_interleave.plugin.detecting.blocking import line_of
from pytest_interleave.plugin.detecting.places import is_outside_of_python

_NOTE = "_taken_last"
_KINDS = (asyncio.Lock, asyncio.Semaphore)
_AENTER = asyncio.Lock.__aenter__.__code__


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
    if not is_outside_of_python(code.co_filename):
        return None
    return Taker(name, code.co_filename, line_of((code, instruction)))


def _noting(original: Any) -> Any:
    async def acquire(self: Any) -> Any:
        result = await original(self)
        frame = sys._getframe(1)
        if frame.f_code is _AENTER and frame.f_back is not None:
            frame = frame.f_back
        task = asyncio.current_task()
        if task is not None:
            self._taken_last = task.get_name(), frame.f_code, frame.f_lasti
        return result

    acquire.__doc__ = original.__doc__
    return acquire
