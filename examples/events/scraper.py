"""Collect the titles of web pages, following links, without being a burden to any host."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from html.parser import HTMLParser

import aiohttp
from yarl import URL


@dataclass(frozen=True)
class Limits:
    """How many pages to read at the same time, in all and of one host, and how many at most in the end."""

    workers: int = 8
    per_host: int = 2
    pages: int = 1000


@dataclass
class Scrape:
    """What was found: each page that was tried is in one of the two."""

    titles: dict[URL, str] = field(default_factory=dict)
    failures: dict[URL, str] = field(default_factory=dict)


async def scrape(session: aiohttp.ClientSession, starts: Iterable[URL], limits: Limits | None = None) -> Scrape:
    """Read the start pages and all that they lead to on their own hosts, each page once.

    A page that cannot be read is noted as a failure and stops nothing else.
    """
    scraper = _Scraper(session, list(starts), limits or Limits())
    return await scraper.run()


class _Scraper:
    def __init__(self, session: aiohttp.ClientSession, starts: list[URL], limits: Limits) -> None:
        self._session = session
        self._limits = limits
        self._origins = {start.origin() for start in starts}
        self._seen: set[URL] = set()
        self._waiting: asyncio.Queue[URL] = asyncio.Queue()
        self._host_slots = defaultdict[URL, asyncio.Semaphore](lambda: asyncio.Semaphore(limits.per_host))
        self._scrape = Scrape()
        for start in starts:
            self._add(start)

    async def run(self) -> Scrape:
        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(self._work()) for _ in range(self._limits.workers)]
            await self._waiting.join()
            for worker in workers:
                worker.cancel()
        return self._scrape

    async def _work(self) -> None:
        while True:
            url = await self._waiting.get()
            try:
                await self._visit(url)
            finally:
                self._waiting.task_done()

    async def _visit(self, url: URL) -> None:
        try:
            page = _Page(await self._read(url))
        except (aiohttp.ClientError, TimeoutError) as error:
            self._scrape.failures[url] = str(error) or type(error).__name__
            return
        self._scrape.titles[url] = page.title
        for link in page.links:
            self._follow(url, link)

    async def _read(self, url: URL) -> str:
        async with self._host_slots[url.origin()], self._session.get(url) as response:
            response.raise_for_status()
            return await response.text(errors="replace")

    def _follow(self, base: URL, link: str) -> None:
        try:
            target = base.join(URL(link))
        except ValueError:
            return  # people write anything into an href
        if target.scheme in {"http", "https"} and target.origin() in self._origins:
            self._add(target)

    def _add(self, url: URL) -> None:
        # Seen when queued, not when read: two pages with the same link may be read at the same time.
        page = url.with_fragment(None)
        if page not in self._seen and len(self._seen) < self._limits.pages:
            self._seen.add(page)
            self._waiting.put_nowait(page)


class _Page(HTMLParser):
    """The title and the links of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.title = ""
        self.links: list[str] = []
        self._is_in_title = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._is_in_title = tag == "title"
        if tag == "a" and (link := dict(attrs).get("href")):
            self.links.append(link)

    def handle_endtag(self, tag: str) -> None:
        self._is_in_title = False

    def handle_data(self, data: str) -> None:
        if self._is_in_title:
            self.title += data
