"""The upstream APIs on a loopback port, fresh for each test.

``pytest_asyncio.fixture`` works in strict and in auto mode; in auto mode ``pytest.fixture`` would do.
"""

from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from yarl import URL

from events.tests.servers import serving
from events.upstreams import Upstreams


@pytest.fixture
def upstreams() -> Upstreams:
    """What the upstream APIs know; change it to have them answer otherwise."""
    return Upstreams()


@pytest_asyncio.fixture
async def upstream_url(upstreams: Upstreams) -> AsyncIterator[URL]:
    async with serving(upstreams.make_app()) as url:
        yield url


@pytest_asyncio.fixture
async def session(upstream_url: URL) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(upstream_url) as session:
        yield session
