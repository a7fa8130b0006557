"""A real web site of linked pages, which keeps count of its visitors; something to scrape."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from aiohttp import web


@dataclass
class Website:
    """Pages by path, each with the links on it; all other paths are missing."""

    links: Mapping[str, Sequence[str]]
    visits: Counter[str] = field(default_factory=Counter)
    most_at_once: int = 0
    _now: int = 0

    def make_app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._get_page)
        return app

    async def _get_page(self, request: web.Request) -> web.Response:
        self.visits[request.path] += 1
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            await asyncio.sleep(0.001)
            return self._render(request.path)
        finally:
            self._now -= 1

    def _render(self, path: str) -> web.Response:
        if path not in self.links:
            raise web.HTTPNotFound
        anchors = "".join(f'<li><a href="{escape(link)}">{escape(link)}</a>' for link in self.links[path])
        html = f"<!doctype html><title>Page {escape(path)}</title><ul>{anchors}</ul>"
        return web.Response(text=html, content_type="text/html")
