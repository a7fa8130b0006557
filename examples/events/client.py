"""Ask the upstream APIs, and turn their answers into values and their failures into our errors."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from json import JSONDecodeError
from typing import Any

import aiohttp


class UpstreamError(Exception):
    """An upstream API did not give what it was asked for; ``status`` is None where it gave nothing usable."""

    def __init__(self, path: str, status: int | None, reason: str) -> None:
        super().__init__(f"{path}: {status or 'no usable answer'} ({reason})")
        self.path = path
        self.status = status


class NotFoundError(UpstreamError):
    """The API answered, and does not know the thing."""


class UpstreamTimeoutError(UpstreamError):
    """The session's time limit came before the answer."""


@dataclass(frozen=True)
class Event:
    id: int
    title: str
    starts_at: datetime


@dataclass(frozen=True)
class Venue:
    name: str
    city: str


@dataclass(frozen=True)
class Forecast:
    summary: str
    celsius: int


async def request_json(
    session: aiohttp.ClientSession, method: str, path: str, body: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Send one request and return the JSON object it is answered with; raise UpstreamError otherwise."""
    try:
        async with session.request(method, path, json=body) as response:
            _check_status(path, response)
            answer = await response.json()
    except TimeoutError as error:
        raise UpstreamTimeoutError(path, None, "timed out") from error
    except (aiohttp.ClientError, JSONDecodeError) as error:
        raise UpstreamError(path, None, str(error)) from error
    if not isinstance(answer, dict):  # of an empty body aiohttp makes None
        raise UpstreamError(path, None, "no JSON object")
    return answer


async def fetch_event(session: aiohttp.ClientSession, event_id: int) -> Event:
    answer = await request_json(session, "GET", f"/events/{event_id}")
    return Event(answer["id"], answer["title"], datetime.fromisoformat(answer["starts_at"]))


async def fetch_events(session: aiohttp.ClientSession, event_ids: Iterable[int]) -> list[Event]:
    """Fetch all events at once, in the order asked for, without those that no longer exist.

    Any other failure is raised when all answers are in, so that no request is left behind.
    """
    answers = await asyncio.gather(
        *(fetch_event(session, event_id) for event_id in event_ids),
        return_exceptions=True,
    )
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, NotFoundError):
            raise answer
    return [answer for answer in answers if isinstance(answer, Event)]


async def fetch_venue(session: aiohttp.ClientSession, event_id: int) -> Venue:
    return Venue(**await request_json(session, "GET", f"/events/{event_id}/venue"))


async def fetch_forecast(session: aiohttp.ClientSession, event_id: int) -> Forecast:
    return Forecast(**await request_json(session, "GET", f"/events/{event_id}/weather"))


def _check_status(path: str, response: aiohttp.ClientResponse) -> None:
    reason = response.reason or "no reason given"
    if response.status == 404:
        raise NotFoundError(path, response.status, reason)
    if not response.ok:
        raise UpstreamError(path, response.status, reason)
