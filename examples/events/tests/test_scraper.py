"""The style of auto mode: async tests and fixtures without a mark, here with parameters."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from yarl import URL

from events.scraper import Limits, scrape
from events.tests.servers import serving
from events.website import Website


@pytest.fixture
async def web() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_each_page_is_read_once_however_often_it_is_linked(web: aiohttp.ClientSession) -> None:
    site = Website({"/": ["/a", "/b", "/a#today"], "/a": ["/", "/b"], "/b": ["/a", "/b"]})

    async with serving(site.make_app()) as root:
        found = await scrape(web, [root])

    assert found.titles == {root: "Page /", root / "a": "Page /a", root / "b": "Page /b"}
    assert site.visits == {"/": 1, "/a": 1, "/b": 1}


async def test_a_page_that_fails_stops_no_other(web: aiohttp.ClientSession) -> None:
    site = Website({"/": ["/gone", "/a"], "/a": []})

    async with serving(site.make_app()) as root:
        found = await scrape(web, [root])

    assert set(found.titles) == {root, root / "a"}
    assert list(found.failures) == [root / "gone"]
    assert "404" in found.failures[root / "gone"]


@pytest.mark.parametrize("link", ["http://elsewhere.invalid/", "mailto:ada@example.org", "http://[::1", "#top"])
async def test_links_to_nowhere_of_ours_are_not_followed(web: aiohttp.ClientSession, link: str) -> None:
    site = Website({"/": [link]})

    async with serving(site.make_app()) as root:
        found = await scrape(web, [root])

    assert set(found.titles) == {root}
    assert not found.failures


@pytest.mark.parametrize(("workers", "per_host"), [(1, 1), (8, 1), (8, 3), (2, 5)])
async def test_no_host_is_asked_for_more_pages_at_once_than_allowed(
    web: aiohttp.ClientSession, workers: int, per_host: int
) -> None:
    links = [f"/{number}" for number in range(8)]
    here, there = (Website({"/": links} | dict.fromkeys(links, ())) for _ in range(2))

    async with serving(here.make_app()) as root, serving(there.make_app()) as other_root:
        found = await scrape(web, [root, other_root], Limits(workers, per_host))

    assert len(found.titles) == 2 * (1 + len(links))
    assert max(here.most_at_once, there.most_at_once) <= min(workers, per_host)


async def test_it_stops_at_the_page_limit(web: aiohttp.ClientSession) -> None:
    site = Website({f"/{n}": [f"/{n + 1}", f"/{n + 2}"] for n in range(50)})

    async with serving(site.make_app()) as root:
        found = await scrape(web, [root / "0"], Limits(pages=5))

    assert len(found.titles) == 5
    assert site.visits.total() == 5


async def test_a_host_that_is_not_there_is_a_failure(web: aiohttp.ClientSession, unused_tcp_port: int) -> None:
    nowhere = URL(f"http://127.0.0.1:{unused_tcp_port}/")

    found = await scrape(web, [nowhere])

    assert not found.titles
    assert list(found.failures) == [nowhere]
