"""Exceptions that nobody retrieves in one of the many runs of a test: what asyncio would log there fails the run.

asyncio tells of a task's exception when the task is dropped. That moment may be one of the garbage collector's, so at
the end of a run all tasks are asked that have failed; whoever wanted such an exception had all of the test for it.
"""

from __future__ import annotations

import asyncio
from traceback import walk_tb
from typing import Any

import pytest

from pytest_interleave.errors import LostException
from pytest_interleave.exploration.result import is_timeout
from pytest_interleave.loop import _plain
from pytest_interleave.loop.host import hosts
from pytest_interleave.loop.places import raising
from pytest_interleave.origins import rank
from pytest_interleave.plugin.detecting.hooks import is_failure
from pytest_interleave.plugin.detecting.lost import lost_exception
from pytest_interleave.plugin.detecting.rendering import render

#: What a server's handler gets when its client goes: often nobody cares, and who goes first is what is explored.
_OF_CONNECTIONS = (OSError, EOFError)
_OF_A_TASK = "Task exception was never retrieved"


class LostExceptions:
    """Listens to the loop of an item, run by run."""

    def __init__(self, item: pytest.Function) -> None:
        self._item = item
        # A test with caplog may be reading just that.
        self._is_on = "caplog" not in item.fixturenames
        self._found: list[LostException] = []
        self._is_collecting = False
        self._is_wide = False
        self._counts = False
        #: Tasks that had ended when the run began. Who keeps them keeps them until it has ended.
        self._older: list[asyncio.Task[Any]] = []

    def listen(self, loop: Any, *, is_wide: bool, is_observed: bool) -> None:
        """Begin with a run. ``is_wide``: the loop outlives the test; ``is_observed``: the observer keeps its tasks."""
        self._found = []
        self._is_wide = is_wide
        if not self._is_on or _is_own(loop.get_exception_handler()):
            return
        tasks = _tasks()
        self._older = [task for task in tasks if task.get_loop() is loop and task.done()] if tasks else []
        loop.set_exception_handler(self._hear)
        self._counts = is_observed or not is_wide
        loop.at_end = self._look

    def verdict(self, error: BaseException | None, *, was_struck: bool) -> BaseException | None:
        """Return how the run failed. What a test says itself goes first; what was cancelled may leave a failed task."""
        # One that was raised once more, with a longer traceback, has reached somebody (aiojobs tells of each at once).
        heard, self._found = self._found, []
        if error is not None or was_struck or not heard:
            return error
        found = [lost for lost in heard if lost.__cause__ and lost.__cause__.__traceback__ is lost.__traceback__]
        if not found:
            return None
        return next((lost for lost in found if not is_timeout(lost)), found[0])

    def note_collection(self, phase: str, info: dict[str, int]) -> None:
        """Hear that the garbage collector begins or ends: what it finds may be of an earlier run."""
        self._is_collecting = phase == "start"

    def _look(self, loop: Any) -> None:
        """Ask the tasks that have failed, before the others are cancelled."""
        tasks = _tasks()
        if not (tasks and self._counts):
            return
        older = set(map(id, self._older))
        ended = [
            task
            for task in tasks
            if task.get_loop() is loop and task.done() and id(task) not in older and self._is_of_run(loop, task)
        ]
        for task in sorted(ended, key=lambda task: getattr(task, "number", 0)):
            error = _plain.take_lost_exception(task)
            if error is not None:
                self._take(loop, {"message": _OF_A_TASK, "exception": error, "task": task})

    def _is_of_run(self, loop: Any, task: Any) -> bool:
        return not self._is_wide or loop.is_of_this_run(task)

    def _hear(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        loop.default_exception_handler(context)
        failed = context.get("task") or context.get("future")
        if isinstance(failed, asyncio.Task):
            if any(failed is task for task in self._older):
                return
        elif self._is_collecting:  # it may be of any run
            return
        if not (self._is_collecting and self._is_wide):
            self._take(loop, context)

    def _take(self, loop: Any, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is None or isinstance(error, asyncio.CancelledError):
            return
        failed = context.get("task") or context.get("future")
        is_of_callback = not isinstance(failed, asyncio.Task) or loop.is_made_by_callback(failed)
        if is_of_callback and isinstance(error, _OF_CONNECTIONS):
            return
        # An answer to what was given up is meant by no library: it loses what its callback had yet to do.
        is_wrong_anyway = is_of_callback and isinstance(error, asyncio.InvalidStateError) and _is_cut_short(error)
        if not raising(error.__traceback__) and not is_wrong_anyway:  # no line of the user's: a library's own affair
            return
        finding = lost_exception(context["message"], error, context)
        if is_failure(self._item.config, self._item, finding):
            lost = LostException(render(finding, self._item.config.rootpath))
            lost.__cause__ = error
            self._found.append(lost.with_traceback(error.__traceback__))


def _is_cut_short(error: BaseException) -> bool:
    """Whether code of a library ends by the error. A callback that is but ``future.set_result`` has no more to do."""
    return any(rank(frame.f_code.co_filename) == 1 for frame, _ in walk_tb(error.__traceback__))


def _is_own(handler: Any) -> bool:
    """Whether the test, or a fixture of wider scope, has set an exception handler of its own, which hears it then."""
    if handler is None:
        return False
    function = getattr(handler, "func", handler)
    return not str(getattr(function, "__module__", "")).startswith("pytest_interleave.")


def _tasks() -> list[asyncio.Task[Any]]:
    """Return all tasks there are; none where there are only those of hosts, as after most runs."""
    return [] if 0 <= _plain.count_tasks() <= hosts.open else _plain.list_tasks()
