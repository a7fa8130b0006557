"""The upstream APIs as one real aiohttp application, with its data in memory, to serve on a loopback port."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

Record = dict[str, Any]

EVENTS: dict[int, Record] = {
    1: {"id": 1, "title": "PyCon", "starts_at": "2026-05-13T09:00:00+02:00"},
    2: {"id": 2, "title": "Jazz in the park", "starts_at": "2026-06-20T19:30:00+02:00"},
    3: {"id": 3, "title": "Night of the open doors", "starts_at": "2026-08-29T18:00:00+02:00"},
}
VENUES: dict[int, Record] = {
    1: {"name": "Congress Hall", "city": "Leipzig"},
    2: {"name": "Palm Garden", "city": "Leipzig"},
    3: {"name": "Old Mill", "city": "Halle"},
}
WEATHER: dict[int, Record] = {
    1: {"summary": "light rain", "celsius": 14},
    2: {"summary": "sunny", "celsius": 27},
    3: {"summary": "clear", "celsius": 21},
}


@dataclass
class Upstreams:
    """What the upstream APIs know, what has been done to them, and which of them are ill.

    The APIs go by the names of their routes: events, venue, weather, stock, payments.
    """

    stock: dict[int, int] = field(default_factory=lambda: dict.fromkeys(EVENTS, 100))
    price_cents: int = 4500
    payment_seconds: float = 0.0
    payments: list[Record] = field(default_factory=list)
    without_funds: set[str] = field(default_factory=set)
    down: set[str] = field(default_factory=set)
    _stalls: dict[str, asyncio.Event] = field(default_factory=dict)

    @contextmanager
    def stalled(self, api: str) -> Iterator[None]:
        """Let the API accept requests and answer none of them until the block ends."""
        end = self._stalls[api] = asyncio.Event()
        try:
            yield
        finally:
            del self._stalls[api]
            end.set()

    def make_app(self) -> web.Application:
        app = web.Application(middlewares=[self._fall_ill])
        app.router.add_get(r"/events/{id:\d+}", self._get_event, name="events")
        app.router.add_get(r"/events/{id:\d+}/venue", self._get_venue, name="venue")
        app.router.add_get(r"/events/{id:\d+}/weather", self._get_weather, name="weather")
        stock = app.router.add_resource(r"/events/{id:\d+}/stock", name="stock")
        stock.add_route("GET", self._get_stock)
        stock.add_route("PUT", self._put_stock)
        app.router.add_post("/payments", self._post_payment, name="payments")
        return app

    @web.middleware
    async def _fall_ill(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        api = request.match_info.route.resource and request.match_info.route.resource.name
        if api in self.down:
            raise web.HTTPServiceUnavailable
        if api in self._stalls:
            await self._stalls[api].wait()
        return await handler(request)

    async def _get_event(self, request: web.Request) -> web.Response:
        return _answer(EVENTS, request)

    async def _get_venue(self, request: web.Request) -> web.Response:
        return _answer(VENUES, request)

    async def _get_weather(self, request: web.Request) -> web.Response:
        return _answer(WEATHER, request)

    async def _get_stock(self, request: web.Request) -> web.Response:
        event_id = _event_id(request)
        if event_id not in self.stock:
            raise web.HTTPNotFound
        return web.json_response({"remaining": self.stock[event_id], "price_cents": self.price_cents})

    async def _put_stock(self, request: web.Request) -> web.Response:
        self.stock[_event_id(request)] = (await request.json())["remaining"]
        return web.json_response({})

    async def _post_payment(self, request: web.Request) -> web.Response:
        payment = await request.json()
        if self.payment_seconds:
            await asyncio.sleep(self.payment_seconds)
        if payment["customer"] in self.without_funds:
            raise web.HTTPPaymentRequired
        self.payments.append(payment)
        return web.json_response({"id": f"payment-{len(self.payments)}"}, status=201)


def _answer(records: dict[int, Record], request: web.Request) -> web.Response:
    if (record := records.get(_event_id(request))) is None:
        raise web.HTTPNotFound
    return web.json_response(record)


def _event_id(request: web.Request) -> int:
    return int(request.match_info["id"])
