"""A job whose steps a host's task takes by hand: in another context, or when it has begun already."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any

#: Stands for what a job waits for whose turn has come.
PAUSED: Any = object()


class InContext:
    """Steps an awaitable inside a context that is not the task's own; None: in the task's own.

    ``awaited`` is what it gave to its task to wait for already, if it did.
    """

    __slots__ = ("awaitable", "awaited", "context")

    def __init__(self, awaitable: Any, context: Context | None, awaited: Any = PAUSED) -> None:
        self.awaitable = awaitable
        self.context = context
        self.awaited = awaited

    def __await__(self) -> Generator[Any, Any, Any]:
        __tracebackhide__ = True
        run = _call if self.context is None else self.context.run
        # Coroutines and the awaitables of async generators are iterators of this kind already.
        steps = self.awaitable if hasattr(self.awaitable, "send") else self.awaitable.__await__()
        step: Any = steps.send
        argument: Any = None
        future, self.awaited = self.awaited, PAUSED
        while True:
            if future is PAUSED:
                try:
                    future = run(step, argument)
                except StopIteration as stop:
                    return stop.value
            try:
                argument = yield future
            except GeneratorExit:
                run(steps.close)
                raise
            except BaseException as error:
                step, argument = steps.throw, error
            else:
                step = steps.send
            future = PAUSED


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    __tracebackhide__ = True
    return function(*arguments)
