"""The fixture ``mock_session``: a real client session of aiohttp, where only the test's named hosts exist.

PYTEST_DONT_REWRITE (it is imported by the time that a suite asks pytest to rewrite it under its other name)
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from pytest_interleave.plugin.http.aiohttp_fixtures import in_loop_of_test

if TYPE_CHECKING:
    from aiohttp import ClientSession

    from pytest_interleave.net.hosts import Hosts


@in_loop_of_test
async def mock_session(hosts: Hosts) -> AsyncIterator[ClientSession]:
    """Return a real client session for the routes of ``hosts``: it waits, overlaps and fails as in production."""
    try:
        from aiohttp import ClientSession
    except ImportError:
        pytest.fail("mock_session needs aiohttp: pip install 'pytest-interleave[aiohttp]'", pytrace=False)
    async with ClientSession() as session:
        yield session
