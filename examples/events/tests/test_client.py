"""The style of strict mode: each async test carries the mark."""

from datetime import UTC, datetime

import aiohttp
import pytest
from yarl import URL

from events.client import NotFoundError, UpstreamError, UpstreamTimeoutError, fetch_event, fetch_events
from events.upstreams import Upstreams


@pytest.mark.asyncio
async def test_an_event_is_fetched(session: aiohttp.ClientSession) -> None:
    event = await fetch_event(session, 1)

    assert (event.id, event.title) == (1, "PyCon")
    assert event.starts_at == datetime(2026, 5, 13, 7, tzinfo=UTC)


@pytest.mark.asyncio
async def test_an_unknown_event_is_not_found(session: aiohttp.ClientSession) -> None:
    with pytest.raises(NotFoundError, match="/events/99: 404"):
        await fetch_event(session, 99)


@pytest.mark.asyncio
async def test_an_event_that_is_gone_is_left_out(session: aiohttp.ClientSession) -> None:
    events = await fetch_events(session, [2, 99, 1])

    assert [event.id for event in events] == [2, 1]


@pytest.mark.asyncio
async def test_an_api_that_is_down_is_not_taken_for_events_that_are_gone(
    session: aiohttp.ClientSession, upstreams: Upstreams
) -> None:
    upstreams.down.add("events")

    with pytest.raises(UpstreamError) as caught:
        await fetch_events(session, [1, 2])

    assert caught.value.status == 503


@pytest.mark.asyncio
async def test_an_api_that_never_answers_is_a_timeout(upstream_url: URL, upstreams: Upstreams) -> None:
    hasty = aiohttp.ClientTimeout(total=0.05)

    with upstreams.stalled("events"):
        async with aiohttp.ClientSession(upstream_url, timeout=hasty) as session:
            with pytest.raises(UpstreamTimeoutError):
                await fetch_event(session, 1)


@pytest.mark.asyncio
async def test_a_host_that_is_not_there_is_an_upstream_error(unused_tcp_port: int) -> None:
    async with aiohttp.ClientSession(f"http://127.0.0.1:{unused_tcp_port}") as session:
        with pytest.raises(UpstreamError, match="no usable answer"):
            await fetch_event(session, 1)
