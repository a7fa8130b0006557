"""The service and its upstreams by their names, as in production: some are far away, one fails.

Client, service, upstreams, TLS and the pools between them are real. Time is virtual: two seconds of waiting are exactly
two seconds, and take none.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from yarl import URL

from events.service import Pages, Settings
from events.tests.servers import Service, serving_events
from events.upstreams import EVENTS, VENUES, WEATHER, Upstreams
from pytest_interleave import Hosts, concurrently

EVENTS_API, VENUES_API, WEATHER_API, TICKETS_API = (
    URL(f"https://{name}.example.com") for name in ("events", "venues", "weather", "tickets")
)

# How long something takes is asked of asyncio's own order; an exploration would make it take longer.
pytestmark = [pytest.mark.asyncio, pytest.mark.virtual_time, pytest.mark.interleave(False)]


@pytest.fixture(autouse=True)
def cloud(hosts: Hosts, upstreams: Upstreams) -> None:
    for url in (EVENTS_API, VENUES_API, WEATHER_API, TICKETS_API):
        hosts.serve(str(url), upstreams.make_app())


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    settings = Settings(EVENTS_API, VENUES_API, WEATHER_API, TICKETS_API, weather_budget_seconds=0.5)
    async with serving_events(settings) as service:
        yield service


async def test_a_page_is_joined_from_three_hosts(service: Service, hosts: Hosts) -> None:
    status, page, seconds = await visit(service)

    assert (status, page) == (200, {"event": EVENTS[1], "venue": VENUES[1], "weather": WEATHER[1]})
    assert [hosts[name].connections for name in hosts.names()] == [1, 1, 1, 0]
    assert seconds == 0


async def test_weather_that_is_far_away_is_left_out_after_half_a_second(service: Service, hosts: Hosts) -> None:
    hosts["weather.example.com"].faults(latency=2)

    status, page, seconds = await visit(service)

    assert (status, page["weather"]) == (200, None)
    assert seconds == 0.5


async def test_a_venue_that_fails_is_told_at_once_and_not_after_the_weather(service: Service, hosts: Hosts) -> None:
    hosts["weather.example.com"].faults(latency=2)
    hosts["venues.example.com"].faults(refuse=True)

    status, page, seconds = await visit(service)

    assert status == 502
    assert "/events/1/venue: no usable answer" in page["error"]
    assert seconds == 0


async def test_a_page_asks_its_three_upstreams_at_once(hosts: Hosts) -> None:
    for number, name in enumerate(hosts.names(), start=1):
        hosts[name].faults(latency=number / 10)

    async with (
        aiohttp.ClientSession(EVENTS_API) as events,
        aiohttp.ClientSession(VENUES_API) as venues,
        aiohttp.ClientSession(WEATHER_API) as weather,
    ):
        with concurrently(at_least=3):
            await Pages(events, venues, weather, weather_budget_seconds=None).page(1)


async def visit(service: Service) -> tuple[int, dict[str, Any], float]:
    """Return what a visitor gets: status, page, and after how many seconds."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    async with service.get("/events/1") as response:
        return response.status, await response.json(), loop.time() - start
