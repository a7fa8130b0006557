"""The fixtures that hold our own places in pytest: the loop factory of a test, and ``event_loop`` for old tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_interleave.plugin.items import get_loop_scope_of
from pytest_interleave.plugin.session import hosting_of, settings_of

if TYPE_CHECKING:
    import asyncio


@pytest.fixture(scope="session")
def _asyncio_loop_factory(request: pytest.FixtureRequest) -> Any:
    """Return the loop factory that the test was parametrized with."""
    return getattr(request, "param", None)


@pytest.fixture
def event_loop(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoop:
    """Return the event loop of an async test, or one for a sync test to drive by hand."""
    item: pytest.Function = request.node
    scope = get_loop_scope_of(item) or settings_of(request.config).test_loop_scope
    return hosting_of(request.config).host_for(item, scope).host.loop
