"""Tasks that the loop was not asked for, as an observer knows them.

``asyncio.Task(…, eager_start=True)`` makes a task past the loop, and it begins inside the step of whoever makes it: so
aiohttp starts its handlers since Python 3.12, in a callback. Such a task has no number of the loop's; in an observation
it gets one behind all others, and a step in which only such a task ran lines of the user's counts as its own.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from types import FrameType
from typing import Any

from pytest_interleave.loop.requests import request_of
from pytest_interleave.trace import ObservedStep, Path

#: Whether Python can make such tasks.
MAY_BE = sys.version_info >= (3, 12)
#: Until the run is over, and all numbers of the loop's are known.
_FIRST = 1 << 30


class UnaskedTasks:
    """Numbers the tasks of one run, and knows which HTTP request each is for."""

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}
        self._requests: dict[Any, str] = {}
        self._origins: list[int] = []

    def number(self, task: Any, origin: int) -> int | None:
        """Return the number of a task whose step this is, if it is one of these; ``origin`` stands for its maker."""
        if not is_unasked(task):
            return None
        if task not in self._numbers:
            self._numbers[task] = _FIRST + len(self._numbers)
            self._origins.append(origin)
        return self._numbers[task]

    def is_new(self, task: Any) -> bool:
        """Whether no step of it was seen yet."""
        return task not in self._numbers

    def note_call(self, frame: FrameType) -> None:
        """Look, from a frame of the user's, for the request that the running task is for, once a task."""
        if not MAY_BE:
            return
        task = asyncio.current_task()
        if task is None or task in self._requests or not is_unasked(task):
            return
        self._requests[task] = ""
        code = getattr(task.get_coro(), "cr_code", None)
        caller: FrameType | None = frame
        while caller is not None and not self._requests[task]:
            self._requests[task] = request_of(caller.f_locals)
            caller = None if caller.f_code is code else caller.f_back

    @staticmethod
    def working() -> Any:
        """Return the task that runs now, where that may be another than the one whose step it is."""
        return asyncio.current_task() if MAY_BE else None

    @staticmethod
    def guest(owner: Any, workers: Iterable[Any]) -> Any:
        """Return the task that ran all the user's lines of a step, where that is not the owner's; or None."""
        seen = set(workers)
        if len(seen) != 1:
            return None
        guest = seen.pop()
        return guest if guest is not owner and is_unasked(guest) else None

    # -- once the run is over ------------------------------------------------------------------------------------

    def renumbered(self, steps: Iterable[ObservedStep], first: int) -> tuple[ObservedStep, ...]:
        """Return the steps with numbers from ``first`` on for these tasks."""
        return tuple(
            replace(step, task=step.task - _FIRST + first) if step.task is not None and step.task >= _FIRST else step
            for step in steps
        )

    def names(self) -> list[str]:
        """Return what each is called: by its request, or by its function."""
        return [
            self._requests.get(task) or str(getattr(task.get_coro(), "__name__", type(task).__name__))
            for task in self._numbers
        ]

    def paths(self, paths: Sequence[Path]) -> list[Path]:
        """Return a path for each, below that of its maker."""
        return [(*paths[origin], -1 - index) for index, origin in enumerate(self._origins)]


def is_unasked(task: Any) -> bool:
    """Whether the loop was not asked for the task."""
    return MAY_BE and type(task) is asyncio.Task
