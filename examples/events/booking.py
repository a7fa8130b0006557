"""Sell tickets: look at the seats that remain, charge the customer, and write down what is left."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass

import aiohttp

from events.client import UpstreamError, request_json


class SoldOutError(Exception):
    def __init__(self, wanted: int, remaining: int) -> None:
        super().__init__(f"{wanted} seats wanted, {remaining} left")


class PaymentDeclinedError(Exception):
    pass


@dataclass(frozen=True)
class Order:
    customer: str
    seats: int

    def __post_init__(self) -> None:
        if self.seats < 1:
            raise ValueError("an order is for one seat or more")


@dataclass(frozen=True)
class Ticket:
    customer: str
    seats: int
    payment_id: str


@dataclass
class Stock:
    """The seats of one event that are still for sale."""

    event_id: int
    remaining: int
    price_cents: int

    def take(self, seats: int) -> None:
        if seats > self.remaining:
            raise SoldOutError(seats, self.remaining)
        self.remaining -= seats


class Inventory:
    """The venue's own API for its seats."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def load(self, event_id: int) -> Stock:
        answer = await request_json(self._session, "GET", f"/events/{event_id}/stock")
        return Stock(event_id, answer["remaining"], answer["price_cents"])

    async def save(self, stock: Stock) -> None:
        body = {"remaining": stock.remaining}
        await request_json(self._session, "PUT", f"/events/{stock.event_id}/stock", body)


class Payments:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def charge(self, customer: str, amount_cents: int) -> str:
        """Take the money and return the payment's id."""
        body = {"customer": customer, "amount_cents": amount_cents}
        try:
            answer = await request_json(self._session, "POST", "/payments", body)
        except UpstreamError as error:
            if error.status == 402:
                raise PaymentDeclinedError(customer) from error
            raise
        payment_id: str = answer["id"]
        return payment_id


class BoxOffice:
    def __init__(self, inventory: Inventory, payments: Payments) -> None:
        self._inventory = inventory
        self._payments = payments

    async def book(self, event_id: int, order: Order) -> Ticket:
        """Sell the seats, or raise and leave the stock as it was; who gets no seat is not charged."""
        stock = await self._inventory.load(event_id)
        stock.take(order.seats)
        payment_id = await self._payments.charge(order.customer, stock.price_cents * order.seats)
        await self._inventory.save(stock)
        return Ticket(order.customer, order.seats, payment_id)


class LockedBoxOffice(BoxOffice):
    """A box office that serves one order of an event at a time.

    Between ``load`` and ``save`` no other order may see the stock: it would sell the same seats again.
    This holds for one process; two would need the inventory to refuse a save of a stale stock.
    """

    def __init__(self, inventory: Inventory, payments: Payments) -> None:
        super().__init__(inventory, payments)
        self._event_locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def book(self, event_id: int, order: Order) -> Ticket:
        async with self._event_locks[event_id]:
            return await super().book(event_id, order)
