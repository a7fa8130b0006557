"""The web service: an event joined from three upstream APIs, and tickets for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from json import JSONDecodeError
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler
from yarl import URL

from events.booking import BoxOffice, Inventory, LockedBoxOffice, Order, PaymentDeclinedError, Payments, SoldOutError
from events.client import (
    Event,
    Forecast,
    NotFoundError,
    UpstreamError,
    UpstreamTimeoutError,
    Venue,
    fetch_event,
    fetch_forecast,
    fetch_venue,
)


@dataclass(frozen=True)
class Settings:
    """Where the upstreams are, and how long to wait for them; None waits for ever."""

    events_url: URL
    venues_url: URL
    weather_url: URL
    tickets_url: URL
    upstream_timeout_seconds: float | None = 10.0
    weather_budget_seconds: float | None = 0.5
    box_office: type[BoxOffice] = LockedBoxOffice

    @classmethod
    def for_one_host(cls, url: URL, **others: Any) -> "Settings":
        """All upstreams at the same address."""
        return cls(url, url, url, url, **others)


@dataclass(frozen=True)
class EventPage:
    """All there is to show of an event; the weather is left out where it is unknown or slow to come."""

    event: Event
    venue: Venue
    weather: Forecast | None

    def as_json(self) -> dict[str, Any]:
        event = asdict(self.event) | {"starts_at": self.event.starts_at.isoformat()}
        return {"event": event, "venue": asdict(self.venue), "weather": self.weather and asdict(self.weather)}


class Pages:
    """Join what the upstream APIs know about an event."""

    def __init__(
        self,
        events: aiohttp.ClientSession,
        venues: aiohttp.ClientSession,
        weather: aiohttp.ClientSession,
        weather_budget_seconds: float | None,
    ) -> None:
        self._events = events
        self._venues = venues
        self._weather = weather
        self._weather_budget_seconds = weather_budget_seconds

    async def page(self, event_id: int) -> EventPage:
        """Ask all three APIs at once; event and venue must answer, the weather may."""
        try:
            async with asyncio.TaskGroup() as requests:
                event = requests.create_task(fetch_event(self._events, event_id))
                venue = requests.create_task(fetch_venue(self._venues, event_id))
                weather = requests.create_task(self._fetch_forecast(event_id))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from failures  # the first one cancelled the others
        return EventPage(event.result(), venue.result(), weather.result())

    async def _fetch_forecast(self, event_id: int) -> Forecast | None:
        try:
            async with asyncio.timeout(self._weather_budget_seconds):
                return await fetch_forecast(self._weather, event_id)
        except (TimeoutError, UpstreamError):
            return None


PAGES = web.AppKey("PAGES", Pages)
BOX_OFFICE = web.AppKey("BOX_OFFICE", BoxOffice)

# The first class that fits decides, so the special ones come first.
ERROR_STATUSES: list[tuple[type[Exception], int]] = [
    (NotFoundError, 404),
    (SoldOutError, 409),
    (PaymentDeclinedError, 402),
    (UpstreamTimeoutError, 504),
    (UpstreamError, 502),
]


def make_app(settings: Settings) -> web.Application:
    async def open_upstreams(app: web.Application) -> AsyncIterator[None]:
        timeout = aiohttp.ClientTimeout(total=settings.upstream_timeout_seconds)
        async with AsyncExitStack() as sessions:

            async def connect(url: URL) -> aiohttp.ClientSession:
                return await sessions.enter_async_context(aiohttp.ClientSession(url, timeout=timeout))

            events, venues = await connect(settings.events_url), await connect(settings.venues_url)
            weather, tickets = await connect(settings.weather_url), await connect(settings.tickets_url)
            app[PAGES] = Pages(events, venues, weather, settings.weather_budget_seconds)
            app[BOX_OFFICE] = settings.box_office(Inventory(tickets), Payments(tickets))
            yield

    app = web.Application(middlewares=[answer_errors])
    app.cleanup_ctx.append(open_upstreams)
    app.router.add_get(r"/events/{event_id:\d+}", show_event)
    app.router.add_post(r"/events/{event_id:\d+}/bookings", book_tickets)
    return app


async def show_event(request: web.Request) -> web.Response:
    page = await request.app[PAGES].page(int(request.match_info["event_id"]))
    return web.json_response(page.as_json())


async def book_tickets(request: web.Request) -> web.Response:
    order = await _read_order(request)
    ticket = await request.app[BOX_OFFICE].book(int(request.match_info["event_id"]), order)
    return web.json_response(asdict(ticket), status=201)


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn the program's own errors into answers; all others stay what they are, a 500."""
    try:
        return await handler(request)
    except tuple(kind for kind, _ in ERROR_STATUSES) as error:
        status = next(status for kind, status in ERROR_STATUSES if isinstance(error, kind))
        return web.json_response({"error": str(error)}, status=status)


async def _read_order(request: web.Request) -> Order:
    try:
        body = await request.json()
        return Order(str(body["customer"]), int(body["seats"]))
    except (JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise web.HTTPBadRequest(text=f"not an order: {error!r}") from error
