"""Tasks and futures whose hashes are the same in each run, so that sets of them are iterated in the same order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
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


# The two halves of calling the class: between them the task is given its hash, since asyncio puts it into a set as it
# initializes it. An ``__init__`` in Python would be dear.
new_task: Callable[[type[ControlledTask]], ControlledTask] = ControlledTask.__new__
initialize: Callable[..., None] = asyncio.Task.__init__


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
