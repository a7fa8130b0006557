"""What somebody kept until the end of the session: coroutines that nobody awaited, exceptions that nobody looked at.

Python would tell of them while it shuts down, when no test can fail any more. One look at all living objects takes
about 10 ms for each 250,000 of them.
"""

from __future__ import annotations

import gc
import inspect
import sys
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from pytest_interleave.origins import is_of_python

if TYPE_CHECKING:
    from pytest_interleave.plugin.detecting.never_awaited import NeverAwaited


def tell_of_remains(never_awaited: NeverAwaited) -> None:
    """Tell what was kept, each thing once, as if it had just been dropped."""
    # By type, not by isinstance: a dead weak proxy answers that with a ReferenceError.
    coroutines = [each for each in gc.get_objects() if type(each) is CoroutineType]
    of_tasks: set[int] = set()
    if "asyncio" in sys.modules:
        from pytest_interleave.loop import _plain

        # Not from gc.get_objects: in CPython 3.12 there are tasks among them that kill the process when they are asked.
        tasks = _plain.list_tasks()
        of_tasks = {id(task.get_coro()) for task in tasks}
        for task in tasks:
            _tell_of_exception(task)
    for coroutine in coroutines:
        # One of a task that had no turn yet is told as a task that was left behind.
        if id(coroutine) in of_tasks or inspect.getcoroutinestate(coroutine) != inspect.CORO_CREATED:
            continue
        origin = coroutine.cr_origin
        if origin and not is_of_python(origin[0][0]) and never_awaited.tell_of_kept(coroutine):
            coroutine.close()


def _tell_of_exception(task: Any) -> None:
    from pytest_interleave.loop import _plain

    loop = task.get_loop()
    if loop.is_running():  # an outer session's
        return
    error = _plain.take_lost_exception(task)
    if error is not None:
        context = {"message": "Task exception was never retrieved", "exception": error, "task": task}
        loop.call_exception_handler(context)
