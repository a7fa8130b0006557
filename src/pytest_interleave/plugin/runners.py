"""The ``asyncio.Runner`` of pytest-asyncio's private fixtures, with which suites run async code from sync code."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    import pytest

    from pytest_interleave.plugin.hosting import Hosting, OpenHost
    from pytest_interleave.plugin.marks import ScopeName

_T = TypeVar("_T")


class HostRunner(asyncio.Runner):  # type: ignore[misc]  # final; but suites ask for its class
    """Runs coroutines in the loop of a scope, between the fixtures and the test that run there."""

    def __init__(self, hosting: Hosting, item: pytest.Function, scope: ScopeName) -> None:
        # Not asyncio's own, which sees to a loop of its own: each async test has one of these at hand.
        self._hosting = hosting
        self._item = item
        self._scope = scope

    def __enter__(self) -> Self:
        return self

    @property
    def _open_host(self) -> OpenHost:
        return self._hosting.host_for(self._item, self._scope)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop."""
        return self._open_host.host.loop

    def run(self, coro: Coroutine[Any, Any, _T], *, context: Context | None = None) -> _T:
        """Run the coroutine to its end."""
        __tracebackhide__ = True
        if not asyncio.iscoroutine(coro):
            raise ValueError(f"a coroutine was expected, got {coro!r}")
        self._hosting.interrupts.install()
        return self._open_host.host.run(coro, context, may_be_cancelled=True)

    def close(self) -> None:
        """Close the loop."""
        self._open_host.retire()
