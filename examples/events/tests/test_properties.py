"""Hypothesis: async tests under `@given`, all in the module's one event loop, with a server that they share."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from events.client import fetch_events
from events.scraper import Limits, scrape
from events.tests.servers import serving
from events.upstreams import EVENTS, Upstreams
from events.website import Website

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATHS = ["/", "/a", "/b", "/c", "/d"]
websites = st.fixed_dictionaries({path: st.lists(st.sampled_from(PATHS), max_size=3) for path in PATHS})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_session() -> AsyncIterator[aiohttp.ClientSession]:
    async with serving(Upstreams().make_app()) as url, aiohttp.ClientSession(url) as session:
        yield session


@given(event_ids=st.lists(st.integers(0, 2 * len(EVENTS)), max_size=8))
@settings(max_examples=30, deadline=None)
async def test_events_come_in_the_order_asked_for(module_session: aiohttp.ClientSession, event_ids: list[int]) -> None:
    events = await fetch_events(module_session, event_ids)

    assert [event.id for event in events] == [event_id for event_id in event_ids if event_id in EVENTS]


@given(links=websites, limits=st.builds(Limits, workers=st.integers(1, 4), per_host=st.integers(1, 4)))
@settings(max_examples=30, deadline=None)
async def test_exactly_the_pages_that_can_be_reached_are_read_once(links: dict[str, list[str]], limits: Limits) -> None:
    site = Website(links)

    async with serving(site.make_app()) as root, aiohttp.ClientSession() as session:
        found = await scrape(session, [root], limits)

    assert {url.path for url in found.titles} == reachable(links, "/")
    assert set(site.visits.values()) == {1}
    assert site.most_at_once <= min(limits.workers, limits.per_host)


def reachable(links: dict[str, list[str]], start: str) -> set[str]:
    found, waiting = {start}, [start]
    while waiting:
        new = set(links[waiting.pop()]) - found
        found |= new
        waiting += new
    return found
