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

from pytest_interleave.plugin.detecting.places import is_library

if TYPE_CHECKING:
    from pytest_interleave.plugin.detecting.never_awaited import NeverAwaited


def tell_of_remains(never_awaited: NeverAwaited) -> None:
    """Tell what was kept, each thing once, as if it had just been dropped."""
    asyncio: Any = sys.modules.get("asyncio")
    objects = gc.get_objects()
    coroutines = [each for each in objects if type(each) is CoroutineType]
    if asyncio is not None:
        # A task that had no turn yet is a task that was left behind, and told as that.
        # By type, not by isinstance: a dead weak proxy answers that with a ReferenceError.
        of_tasks = {id(each.get_coro()) for each in objects if issubclass(type(each), asyncio.Task)}
        coroutines = [each for each in coroutines if id(each) not in of_tasks]
        _tell_of_exceptions([each for each in objects if issubclass(type(each), asyncio.Future)], asyncio.Task)
    for coroutine in coroutines:
        if inspect.getcoroutinestate(coroutine) != inspect.CORO_CREATED or not coroutine.cr_origin:
            continue
        if not is_library(coroutine.cr_origin[0][0]) and never_awaited.tell_of_kept(coroutine):
            coroutine.close()


def _tell_of_exceptions(futures: list[Any], task_type: type) -> None:
    from pytest_interleave.loop import _plain

    for future in futures:
        loop = future.get_loop()
        if loop.is_running():  # an outer session's
            continue
        error = _plain.take_lost_exception(future)
        if error is not None:
            kind, key = ("Task", "task") if isinstance(future, task_type) else ("Future", "future")
            context = {"message": f"{kind} exception was never retrieved", "exception": error, key: future}
            loop.call_exception_handler(context)
