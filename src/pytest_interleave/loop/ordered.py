"""``asyncio.as_completed`` in an order that can be repeated.

It makes a set of what it is given, and then tasks in the order of that set: for coroutines, that of their addresses.
Given tasks of the controlled loop, which hash by their number, it keeps the order. So the tasks are made first.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_original: Callable[..., Any] = asyncio.as_completed


def install(loop_class: type[asyncio.AbstractEventLoop]) -> None:
    """Take the place of ``asyncio.as_completed``, for loops of that class only."""
    if asyncio.as_completed is not _original:
        return

    def make_tasks(given: Iterable[Any]) -> Iterable[Any]:
        try:
            is_ours = isinstance(asyncio.get_running_loop(), loop_class)
        except RuntimeError:
            is_ours = False
        if not is_ours or not isinstance(given, Iterable) or inspect.isawaitable(given):
            return given
        return [asyncio.ensure_future(awaitable) for awaitable in dict.fromkeys(given)]

    @functools.wraps(_original)
    def as_completed(fs: Iterable[Any], *, timeout: float | None = None) -> Any:
        return _original(make_tasks(fs), timeout=timeout)

    @functools.wraps(_original)
    def as_completed_lazily(fs: Iterable[Any], *, timeout: float | None = None) -> Iterator[Any]:
        yield from _original(make_tasks(fs), timeout=timeout)

    replacement: Any = as_completed_lazily if inspect.isgeneratorfunction(_original) else as_completed
    asyncio.as_completed = asyncio.tasks.as_completed = replacement
