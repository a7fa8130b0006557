"""Tasks that go on when they are cancelled: noticed while a host ends what was left, so that it does not wait for ever.

A task may take its time to clean up. But one that waits again at the very instruction at which it was cancelled did not
let the cancellation through: it is in a loop that swallows it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from types import CodeType
from typing import Any

from pytest_interleave.loop import _plain
from pytest_interleave.loop.frames import frames

_Stand = tuple[tuple[CodeType, int], ...]


@dataclass(frozen=True, slots=True)
class _Moment:
    """Where a task was when it was about to be cancelled."""

    stand: _Stand
    awaited: Any


class Cancelled:
    """Tasks that are about to be cancelled, or whose cancellation may reach them."""

    def __init__(self, tasks: Iterable[asyncio.Task[Any]]) -> None:
        self._moments = {task: _Moment(_stand(task), _plain.awaited_by(task)) for task in tasks if not task.done()}

    def swallowers(self) -> list[asyncio.Task[Any]]:
        """Return those that were cancelled and wait again where they were."""
        return [task for task, moment in self._moments.items() if _has_swallowed(task, moment)]

    def stuck(self) -> tuple[list[asyncio.Task[Any]], list[asyncio.Task[Any]]]:
        """Return those, and with them all that wait for one of them."""
        found = self.swallowers()
        stuck = list(found)
        for task in stuck:  # it grows
            stuck += [
                other
                for other in self._moments
                if not other.done() and other not in stuck and task in _tasks_of(_plain.awaited_by(other))
            ]
        return found, stuck


def _has_swallowed(task: asyncio.Task[Any], moment: _Moment) -> bool:
    awaited = _plain.awaited_by(task)
    return (
        not task.done()
        and awaited is not None
        and awaited is not moment.awaited  # else it has not heard of the cancellation
        and not _tasks_of(awaited)  # else it is theirs to end
        and bool(moment.stand)
        and _stand(task) == moment.stand
    )


def _stand(task: asyncio.Task[Any]) -> _Stand:
    return tuple((frame.f_code, frame.f_lasti) for frame, _ in frames(task))


def _tasks_of(awaited: Any) -> tuple[Any, ...]:
    """Return the tasks that a task waits for: one, or those of gather."""
    children = getattr(awaited, "_children", ())
    return (awaited,) if isinstance(awaited, asyncio.Task) else tuple(children)
