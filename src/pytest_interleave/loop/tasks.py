"""Tasks and futures whose hashes are the same in each run, so that sets of them are iterated in the same order."""

from __future__ import annotations

import asyncio
from typing import Any


class ControlledTask(asyncio.Task[Any]):
    """A task whose hash is its creation number within the run.

    Tasks hash by address otherwise, and ``TaskGroup``, ``asyncio.wait`` and ``all_tasks`` iterate sets of them: no run
    could be repeated.
    """

    __slots__ = ("number", "rank")

    number: int
    rank: int

    def __hash__(self) -> int:
        return self.rank


def make_task(number: int, rank: int, coro: Any, **options: Any) -> ControlledTask:
    """Return a new task. It has its hash before asyncio puts it into a set, which it does as it initializes it."""
    task = ControlledTask.__new__(ControlledTask)
    task.number = number
    task.rank = rank
    task.__init__(coro, **options)  # type: ignore[misc]  # what calling the class does, but for a step in Python
    return task


class ControlledFuture(asyncio.Future[Any]):
    """A future whose hash says how many of its run were asked for theirs before.

    Libraries iterate sets of futures, too: aiohttp has one of those who wait for the same name to be looked up.
    """

    __slots__ = ("rank",)

    rank: int

    def __hash__(self) -> int:
        try:
            return self.rank
        except AttributeError:
            loop: Any = self.get_loop()
            loop.hashed_futures += 1
            self.rank = loop.hashed_futures
            return self.rank


ControlledFuture.__name__ = "Future"
ControlledTask.__name__ = "Task"  # what logs show
