"""The plainest style: a loop made by hand, and ordinary tests that drive it. No plugin is needed."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack

import aiohttp
import pytest

from events.client import fetch_event, fetch_events
from events.tests.servers import serving
from events.upstreams import Upstreams


@pytest.fixture
def event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def session(event_loop: asyncio.AbstractEventLoop, upstreams: Upstreams) -> Iterator[aiohttp.ClientSession]:
    stack = AsyncExitStack()

    async def start() -> aiohttp.ClientSession:
        url = await stack.enter_async_context(serving(upstreams.make_app()))
        return await stack.enter_async_context(aiohttp.ClientSession(url))

    yield event_loop.run_until_complete(start())
    event_loop.run_until_complete(stack.aclose())


def test_an_event_is_fetched(event_loop: asyncio.AbstractEventLoop, session: aiohttp.ClientSession) -> None:
    event = event_loop.run_until_complete(fetch_event(session, 1))

    assert event.title == "PyCon"


def test_events_are_fetched_in_the_order_asked_for(
    event_loop: asyncio.AbstractEventLoop, session: aiohttp.ClientSession
) -> None:
    events = event_loop.run_until_complete(fetch_events(session, [3, 1, 2]))

    assert [event.id for event in events] == [3, 1, 2]
