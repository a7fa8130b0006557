"""Tickets. Every test here passes under plain pytest, however often it is run; try `--interleave`."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from yarl import URL

from events.booking import BoxOffice, LockedBoxOffice
from events.service import Settings
from events.tests.servers import Service, serving_events
from events.upstreams import EVENTS, Upstreams


@pytest_asyncio.fixture
async def service(upstream_url: URL) -> AsyncIterator[Service]:
    async with serving_events(_settings(upstream_url, BoxOffice)) as service:
        yield service


@pytest_asyncio.fixture
async def locked_service(upstream_url: URL) -> AsyncIterator[Service]:
    async with serving_events(_settings(upstream_url, LockedBoxOffice)) as service:
        yield service


@pytest.mark.asyncio
async def test_the_last_seat_is_sold_once(service: Service, upstreams: Upstreams) -> None:
    upstreams.stock[1] = 1

    answers = await ada_and_grace_want_a_seat(service)

    assert sorted(answers) == [201, 409]
    assert len(upstreams.payments) == 1


@pytest.mark.asyncio
async def test_the_last_seat_is_sold_once_under_the_lock(locked_service: Service, upstreams: Upstreams) -> None:
    upstreams.stock[1] = 1

    answers = await ada_and_grace_want_a_seat(locked_service)

    assert sorted(answers) == [201, 409]
    assert len(upstreams.payments) == 1


@pytest.mark.asyncio
async def test_seats_that_are_sold_are_gone(service: Service, upstreams: Upstreams) -> None:
    upstreams.stock[1] = 5

    assert await book(service, "Ada", seats=3) == 201
    assert await book(service, "Grace", seats=2) == 201
    assert upstreams.stock[1] == 0


@pytest.mark.asyncio
async def test_who_gets_no_seat_is_not_charged(service: Service, upstreams: Upstreams) -> None:
    upstreams.stock[1] = 2

    assert await book(service, "Ada", seats=3) == 409
    assert not upstreams.payments


@pytest.mark.asyncio
async def test_who_cannot_pay_gets_no_seat(service: Service, upstreams: Upstreams) -> None:
    upstreams.without_funds.add("Ada")

    assert await book(service, "Ada") == 402
    assert upstreams.stock[1] == 100


@pytest.mark.asyncio
@pytest.mark.parametrize("seats", [0, -1, None, "many"])
async def test_an_order_is_for_a_number_of_seats(service: Service, seats: object) -> None:
    assert await book(service, "Ada", seats) == 400


async def ada_and_grace_want_a_seat(service: Service) -> list[int]:
    """Let Ada book at once and Grace when she has read the programme; return what both are answered."""
    async with asyncio.TaskGroup() as customers:
        ada = customers.create_task(book(service, "Ada"), name="Ada")
        grace = customers.create_task(read_and_book(service, "Grace"), name="Grace")
    return [ada.result(), grace.result()]


async def read_and_book(service: Service, customer: str) -> int:
    for event_id in EVENTS:
        await service.get(f"/events/{event_id}")
    return await book(service, customer)


async def book(service: Service, customer: str, seats: object = 1) -> int:
    response = await service.post("/events/1/bookings", json={"customer": customer, "seats": seats})
    return response.status


def _settings(upstream_url: URL, box_office: type[BoxOffice]) -> Settings:
    return Settings.for_one_host(upstream_url, upstream_timeout_seconds=None, box_office=box_office)
