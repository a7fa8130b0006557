"""Without a server: `mock_session` is a real session of aiohttp, and the test says what is at each host.

The requests go through aiohttp's own client, TLS and all, to routes on the loopback interface; nothing is patched.
"""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from yarl import URL

from events.client import UpstreamError, fetch_events
from events.scraper import scrape
from pytest_interleave import Hosts, concurrently

CITY = URL("https://city.example.com/")
CLUB = URL("http://club.example.com/")
API = "https://events.example.com"


@pytest.fixture
async def session(hosts: Hosts) -> AsyncIterator[aiohttp.ClientSession]:
    """`mock_session` for code that asks for paths: any session or client will do."""
    async with aiohttp.ClientSession(API) as session:
        yield session


async def test_pages_of_several_hosts_are_read(hosts: Hosts, mock_session: aiohttp.ClientSession) -> None:
    hosts.routes(str(CITY)).get("/").reply(text=f"<title>City</title><a href='{CLUB}jazz'>tonight</a>")
    club = hosts.routes(str(CLUB))
    club.get("/").reply(text="<title>Club</title>")
    club.get("/jazz").reply(text="<title>Jazz</title>")

    found = await scrape(mock_session, [CITY, CLUB])

    assert found.titles == {CITY: "City", CLUB: "Club", CLUB / "jazz": "Jazz"}
    assert {call.path for call in club.calls} == {"/", "/jazz"}


async def test_what_goes_wrong_with_a_page_stops_no_other(hosts: Hosts, mock_session: aiohttp.ClientSession) -> None:
    city = hosts.routes(str(CITY))
    city.get("/").reply(text="".join(f"<a href='{path}'>" for path in ("gone", "reset", "latin", "last")))
    city.get("/gone").reply(status=410)
    city.get("/reset").reset()
    city.get("/latin").reply(body=b"<title>Caf\xe9</title>", headers={"Content-Type": "text/html; charset=utf-8"})
    city.get("/last").reply(text="<title>Last</title>")

    found = await scrape(mock_session, [CITY])

    assert found.titles == {CITY: "", CITY / "latin": "Caf\N{REPLACEMENT CHARACTER}", CITY / "last": "Last"}
    assert set(found.failures) == {CITY / "gone", CITY / "reset"}
    assert "410" in found.failures[CITY / "gone"]


@pytest.mark.virtual_time
async def test_events_are_fetched_at_once(hosts: Hosts, session: aiohttp.ClientSession) -> None:
    event = {"id": 1, "title": "PyCon", "starts_at": "2026-05-13T09:00:00+02:00"}
    hosts.routes(API).get("/events/{id}").reply(json=event, delay=1)

    with concurrently(at_least=10):
        async with asyncio.timeout(1.5):
            events = await fetch_events(session, range(10))

    assert len(events) == 10


@pytest.mark.parametrize("answer", ["", "[]", "<h1>Sorry</h1>"], ids=["nothing", "a list", "a page"])
async def test_what_is_no_json_object_is_an_upstream_error(
    hosts: Hosts, session: aiohttp.ClientSession, answer: str
) -> None:
    hosts.routes(API).get("/events/1").reply(body=answer.encode(), headers={"Content-Type": "application/json"})

    with pytest.raises(UpstreamError, match="no usable answer"):
        await fetch_events(session, [1])
