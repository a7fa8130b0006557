"""Tests in a class, with a mark for all of them and a fixture of their own.

No test waits for a budget that may run out or not: either there is none, or it runs out for certain because the API
behind it does not answer. So they say the same on a slow machine, and under `--interleave`.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from yarl import URL

from events.service import Settings
from events.tests.servers import Service, serving_events
from events.upstreams import EVENTS, VENUES, WEATHER, Upstreams


@pytest.mark.asyncio
class TestEventPage:
    @pytest_asyncio.fixture
    async def service(self, upstream_url: URL) -> AsyncIterator[Service]:
        settings = Settings.for_one_host(upstream_url, upstream_timeout_seconds=None, weather_budget_seconds=None)
        async with serving_events(settings) as service:
            yield service

    async def test_it_joins_what_three_apis_know(self, service: Service) -> None:
        response = await service.get("/events/1")

        assert response.status == 200
        assert await response.json() == {"event": EVENTS[1], "venue": VENUES[1], "weather": WEATHER[1]}

    async def test_it_does_without_the_weather(self, service: Service, upstreams: Upstreams) -> None:
        upstreams.down.add("weather")

        response = await service.get("/events/1")

        assert response.status == 200
        assert (await response.json())["weather"] is None

    async def test_it_does_not_do_without_the_venue(self, service: Service, upstreams: Upstreams) -> None:
        upstreams.down.add("venue")

        response = await service.get("/events/1")

        assert response.status == 502
        assert "/events/1/venue: 503" in (await response.json())["error"]

    async def test_an_unknown_event_is_not_found(self, service: Service) -> None:
        response = await service.get("/events/99")

        assert response.status == 404


@pytest.mark.asyncio
class TestPatience:
    async def test_the_weather_is_left_out_when_its_budget_is_spent(
        self, upstream_url: URL, upstreams: Upstreams
    ) -> None:
        settings = Settings.for_one_host(upstream_url, upstream_timeout_seconds=None, weather_budget_seconds=0.05)

        async with serving_events(settings) as service:
            with upstreams.stalled("weather"):
                response = await service.get("/events/1")
                page = await response.json()

        assert page == {"event": EVENTS[1], "venue": VENUES[1], "weather": None}

    async def test_the_page_fails_when_the_venue_takes_too_long(self, upstream_url: URL, upstreams: Upstreams) -> None:
        settings = Settings.for_one_host(upstream_url, upstream_timeout_seconds=0.05, weather_budget_seconds=None)

        async with serving_events(settings) as service:
            with upstreams.stalled("venue"):
                response = await service.get("/events/1")

        assert response.status == 504
