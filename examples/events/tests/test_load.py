"""Load on the whole service, in virtual time: half a minute of visitors in a second, the same ones each time.

Client, service and upstreams are the real ones; only the clock is not. So a latency here is what is waited for.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from yarl import URL

from events.service import Settings
from events.tests.servers import Service, serving_events
from events.upstreams import Upstreams
from pytest_interleave import find_knee, load

# Load is not explored: asyncio's own order is what it measures.
pytestmark = [pytest.mark.asyncio, pytest.mark.virtual_time, pytest.mark.interleave(False)]


@pytest_asyncio.fixture
async def service(upstream_url: URL) -> AsyncIterator[Service]:
    settings = Settings.for_one_host(upstream_url, upstream_timeout_seconds=10.0, weather_budget_seconds=0.5)
    async with serving_events(settings) as service:
        yield service


async def test_a_silent_weather_api_costs_its_budget_and_no_more(service: Service, upstreams: Upstreams) -> None:
    async def visit() -> None:
        async with service.get("/events/1") as response:
            assert response.status == 200
            await response.read()

    async def stall_the_weather() -> None:
        with upstreams.stalled("weather"):
            await asyncio.sleep(5)

    result = await load(visit, rate=20, duration=30, at={10: stall_the_weather})

    assert result.errors == {}
    assert result.between(0, 9).slowest < 0.01
    assert result.between(10, 14).p95 == pytest.approx(0.5, abs=0.01)
    assert result.between(16, 30).slowest < 0.01


async def test_the_lock_sells_the_tickets_of_one_event_one_by_one(service: Service, upstreams: Upstreams) -> None:
    upstreams.payment_seconds = 0.1  # so ten orders a second, at best
    upstreams.stock[1] = 100_000

    async def order() -> None:
        async with service.post("/events/1/bookings", json={"customer": "Ada", "seats": 1}) as response:
            assert response.status == 201

    knee = await find_knee(
        lambda rate: load(order, rate=rate, duration=20), lambda result: result.p95 < 1, between=(2, 20), precision=0.3
    )

    assert 6 < knee.rate < 10
