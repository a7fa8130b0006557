"""The fixtures that hold our own places in pytest: the loop factory of a test, and its loop for those who ask for it.

``event_loop`` is for old tests. ``_function_scoped_runner`` and its like are private names of pytest-asyncio 1.x, which
suites ask for all the same, to run async code from sync fixtures, hooks and steps. Nobody else sets them up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_interleave.plugin.items import get_loop_scope_of
from pytest_interleave.plugin.marks import ScopeName
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


def _runner_of(scope: ScopeName) -> Any:
    @pytest.fixture(scope=scope, name=f"_{scope}_scoped_runner")
    def scoped_runner(request: Any) -> asyncio.Runner:
        """Return the runner of the scope's loop."""
        from pytest_interleave.plugin.fixture_jobs import FixtureJobs
        from pytest_interleave.plugin.runners import HostRunner

        hosting = hosting_of(request.config)
        item = request._pyfuncitem
        FixtureJobs.end_with_host(request._fixturedef, hosting.host_for(item, scope), request)
        return HostRunner(hosting, item, scope)

    return scoped_runner


_function_scoped_runner = _runner_of("function")
_class_scoped_runner = _runner_of("class")
_module_scoped_runner = _runner_of("module")
_package_scoped_runner = _runner_of("package")
_session_scoped_runner = _runner_of("session")
