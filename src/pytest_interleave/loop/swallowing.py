"""Tasks that go on when they are cancelled: noticed while a host ends what was left, so that it does not wait for ever.

A task may take its time to clean up. But one that waits again at the very instruction at which it was cancelled did not
let the cancellation through: it is in a loop that swallows it. So did one that has long left every handler of it and
still goes on; and one that waits in its clean-up for what nothing can bring never ends.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterable
from dataclasses import dataclass
from types import CodeType
from typing import Any

from pytest_interleave.loop import _plain
from pytest_interleave.loop.frames import await_chain, frames

#: Where a task stands: code and instruction of its frames, outermost first.
Stand = tuple[tuple[CodeType, int], ...]


@dataclass(frozen=True, slots=True)
class _Moment:
    """Where a task was when it was about to be cancelled."""

    stand: Stand
    awaited: Any


class Cancelled:
    """Tasks that are about to be cancelled, or whose cancellation may reach them."""

    def __init__(self, tasks: Iterable[asyncio.Task[Any]]) -> None:
        self._moments = {task: _Moment(_stand(task), _plain.awaited_by(task)) for task in tasks if not task.done()}

    def forget_unreached(self) -> None:
        """Leave those out whom nobody has cancelled: they may go on."""
        self._moments = {task: moment for task, moment in self._moments.items() if task.cancelling()}

    def stand_of(self, task: asyncio.Task[Any]) -> Stand:
        """Return where the task was when it was cancelled."""
        return self._moments[task].stand

    def stuck(
        self, *, is_late: bool = False, is_dead: bool = False
    ) -> tuple[list[asyncio.Task[Any]], list[asyncio.Task[Any]]]:
        """Return tasks that do not end, and with them all that wait for one of them.

        ``is_late``: whoever went on had time enough to end; ``is_dead``: nothing can wake the loop.
        """
        found = [task for task in self._moments if self._has_swallowed(task, is_late=is_late, is_dead=is_dead)]
        stuck = list(found)
        for task in stuck:  # it grows
            stuck += [
                other
                for other in self._moments
                if not other.done() and other not in stuck and task in _tasks_of(_plain.awaited_by(other))
            ]
        return found, stuck

    def _has_swallowed(self, task: asyncio.Task[Any], *, is_late: bool, is_dead: bool) -> bool:
        moment = self._moments[task]
        awaited = _plain.awaited_by(task)
        if task.done() or awaited is None or awaited is moment.awaited:  # or it has not heard of the cancellation
            return False
        if _tasks_of(awaited) or not moment.stand:  # theirs to end; or it had not begun
            return False
        return is_dead or _stand(task) == moment.stand or (is_late and not is_cleaning_up(task))


def is_cleaning_up(task: asyncio.Task[Any]) -> bool:
    """Whether it is in a handler of its cancellation: a suspended coroutine holds the exception that it handles."""
    return any(
        isinstance(each, asyncio.CancelledError) for link in await_chain(task) for each in gc.get_referents(link)
    )


def _stand(task: asyncio.Task[Any]) -> Stand:
    return tuple((frame.f_code, frame.f_lasti) for frame, _ in frames(task))


def _tasks_of(awaited: Any) -> tuple[Any, ...]:
    """Return the tasks that a task waits for: one, or those of gather."""
    children = getattr(awaited, "_children", ())
    return (awaited,) if isinstance(awaited, asyncio.Task) else tuple(children)
