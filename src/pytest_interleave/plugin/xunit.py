"""``async def setup_method`` and its kin.

pytest turns the xunit-style functions of a module or class into autouse fixtures, and calls async ones without awaiting
them. Where one of them is async, this async fixture takes the place of pytest's.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

PREFIX = "_xunit_setup_"
_NAMES = {
    "module": (("setUpModule", "setup_module"), ("tearDownModule", "teardown_module")),
    "function": (("setup_function",), ("teardown_function",)),
    "class": (("setup_class",), ("teardown_class",)),
    "method": (("setup_method",), ("teardown_method",)),
}


def find_async_replacement(definition: pytest.FixtureDef[Any]) -> Callable[..., AsyncIterator[None]] | None:
    """Return the async fixture function for one of pytest's xunit fixtures, if any of its functions is async."""
    level = definition.argname.removeprefix(PREFIX).partition("_")[0]
    if level not in _NAMES:
        return None
    cells = inspect.getclosurevars(definition.func).nonlocals
    # pytest closes over the functions themselves, or over the collector ("self") and their names.
    functions = [value for value in cells.values() if callable(value)]
    collector = cells.get("self")
    if collector is not None:
        functions += [getattr(collector.obj, name, None) for names in _NAMES[level] for name in names]
    if not any(inspect.iscoroutinefunction(function) for function in functions):
        return None
    return _REPLACEMENTS[level]


async def _set_up_module(request: Any) -> AsyncIterator[None]:
    async for _ in _around(request.module, "module", request.module):
        yield


async def _set_up_class(request: Any) -> AsyncIterator[None]:
    async for _ in _around(request.cls, "class", request.cls):
        yield


async def _set_up_method(request: Any) -> AsyncIterator[None]:
    async for _ in _around(request.instance, "method", request.function):
        yield


async def _set_up_function(request: Any) -> AsyncIterator[None]:
    if request.instance is not None:  # a method: setup_method's business
        yield
        return
    async for _ in _around(request.module, "function", request.function):
        yield


_REPLACEMENTS: dict[str, Callable[..., AsyncIterator[None]]] = {
    "module": _set_up_module,
    "class": _set_up_class,
    "method": _set_up_method,
    "function": _set_up_function,
}


async def _around(holder: Any, level: str, argument: Any) -> AsyncIterator[None]:
    set_up, tear_down = _NAMES[level]
    await _call(holder, set_up, argument)
    yield
    await _call(holder, tear_down, argument)


async def _call(holder: Any, names: tuple[str, ...], argument: Any) -> None:
    for name in names:
        function = getattr(holder, name, None)
        if function is not None:
            break
    else:
        return
    # As pytest does: the argument is optional.
    code = getattr(function, "__func__", function).__code__
    takes_argument = code.co_argcount - inspect.ismethod(function) > 0
    result = function(argument) if takes_argument else function()
    if inspect.isawaitable(result):
        await result
