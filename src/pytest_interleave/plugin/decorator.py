"""``pytest_asyncio.fixture``: says that a fixture is ours, and in which loop it runs.

What it says is said by two attributes of the function, the same as in pytest-asyncio: fixtures made with the real
package work here without change.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, ParamSpec, TypeVar, overload

import pytest

from pytest_interleave.plugin.marks import ScopeName

_R = TypeVar("_R", bound=Awaitable[Any] | AsyncIterable[Any] | AsyncIterator[Any])
_P = ParamSpec("_P")
FixtureFunction = Callable[_P, _R]


@overload
def fixture(
    fixture_function: Callable[_P, _R],
    *,
    scope: ScopeName | Callable[[str, pytest.Config], ScopeName] = ...,
    loop_scope: ScopeName | None = ...,
    params: Iterable[object] | None = ...,
    autouse: bool = ...,
    ids: Iterable[str | float | int | bool | None] | Callable[[Any], object | None] | None = ...,
    name: str | None = ...,
) -> Callable[_P, _R]: ...


@overload
def fixture(
    fixture_function: None = ...,
    *,
    scope: ScopeName | Callable[[str, pytest.Config], ScopeName] = ...,
    loop_scope: ScopeName | None = ...,
    params: Iterable[object] | None = ...,
    autouse: bool = ...,
    ids: Iterable[str | float | int | bool | None] | Callable[[Any], object | None] | None = ...,
    name: str | None = None,
) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]: ...


def fixture(fixture_function: Any = None, loop_scope: ScopeName | None = None, **options: Any) -> Any:
    """Make an async fixture; takes what ``pytest.fixture`` takes, and ``loop_scope``.

    ``scope`` says how long the value lives, ``loop_scope`` in which event loop the fixture runs.
    """
    if fixture_function is None:
        return lambda function: fixture(function, loop_scope=loop_scope, **options)
    function = getattr(fixture_function, "__func__", fixture_function)
    function._force_asyncio_fixture = True
    function._loop_scope = loop_scope
    return pytest.fixture(fixture_function, **options)


def is_forced(function: Any) -> bool:
    """Whether the fixture function was made with ``fixture`` above, or pytest-asyncio's."""
    return getattr(getattr(function, "__func__", function), "_force_asyncio_fixture", False) is True


def get_explicit_loop_scope(function: Any) -> ScopeName | None:
    """Return the ``loop_scope`` that was given to the decorator."""
    scope: ScopeName | None = getattr(function, "_loop_scope", None)
    return scope
