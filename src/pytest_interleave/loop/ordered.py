"""What iterates a set of things that hash differently in each run, made to go through them in one order.

Tasks of the controlled loop hash by their number, but these have sets of something else.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_as_completed: Callable[..., Any] = asyncio.as_completed
_BACKEND = "anyio._backends._asyncio"
#: The module whose cancel scopes were seen to.
_seen: list[Any] = []


def _running(loop_class: type[asyncio.AbstractEventLoop]) -> Any:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return None
    return loop if isinstance(loop, loop_class) else None


def order_as_completed(loop_class: type[asyncio.AbstractEventLoop]) -> None:
    """Take the place of ``asyncio.as_completed``, for loops of that class only.

    It makes a set of the coroutines that it is given, and tasks in the order of that set. So the tasks are made first.
    """
    if asyncio.as_completed is not _as_completed:
        return

    def make_tasks(given: Iterable[Any]) -> Iterable[Any]:
        if _running(loop_class) is None or not isinstance(given, Iterable) or inspect.isawaitable(given):
            return given
        return [asyncio.ensure_future(awaitable) for awaitable in dict.fromkeys(given)]

    @functools.wraps(_as_completed)
    def as_completed(fs: Iterable[Any], *, timeout: float | None = None) -> Any:
        return _as_completed(make_tasks(fs), timeout=timeout)

    @functools.wraps(_as_completed)
    def as_completed_lazily(fs: Iterable[Any], *, timeout: float | None = None) -> Iterator[Any]:
        yield from _as_completed(make_tasks(fs), timeout=timeout)

    replacement: Any = as_completed_lazily if inspect.isgeneratorfunction(_as_completed) else as_completed
    asyncio.as_completed = asyncio.tasks.as_completed = replacement


class Resolved(tuple[Any, ...]):
    """An address to listen at or to connect to.

    asyncio's ``create_server`` makes a set of them, in which their order would depend on the port.
    """

    __slots__ = ()

    def __hash__(self) -> int:
        return int(self[0])


class InsertionOrdered(set[Any]):
    """A set that is iterated in the order of insertion."""

    def __init__(self) -> None:
        super().__init__()
        self._order: dict[Any, None] = {}

    def __iter__(self) -> Iterator[Any]:
        return iter(self._order)

    def add(self, element: Any) -> None:
        """Add it at the end, unless it is there."""
        super().add(element)
        self._order[element] = None

    def discard(self, element: Any) -> None:
        """Remove it, if it is there."""
        super().discard(element)
        self._order.pop(element, None)

    def remove(self, element: Any) -> None:
        """Remove it, or raise ``KeyError``."""
        super().remove(element)
        del self._order[element]


def order_cancel_scopes() -> None:
    """Let anyio's cancel scopes, if anyio is in use, keep the order of those within them: they are cancelled in it."""
    if "anyio" not in sys.modules or sys.modules.get(_BACKEND) in _seen:
        return
    try:
        backend = importlib.import_module(_BACKEND)
    except ImportError:
        return
    _seen[:] = [backend]
    scope_class = getattr(backend, "CancelScope", None)
    initialize = getattr(scope_class, "__init__", None)
    if scope_class is None or initialize is None or hasattr(initialize, "__wrapped__"):
        return

    @functools.wraps(initialize)
    def with_order(self: Any, *args: Any, **options: Any) -> None:
        initialize(self, *args, **options)
        if getattr(self, "_child_scopes", None) == set():
            self._child_scopes = InsertionOrdered()

    scope_class.__init__ = with_order
