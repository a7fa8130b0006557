"""Orders that asyncio never makes are looked for also where it leaves little to choose, and give notes."""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import islice
from random import Random

from pytest_interleave import explore
from pytest_interleave.exploration.execution import Execution, Limits
from pytest_interleave.exploration.odd_orders import has_several_tasks, odd_orders
from pytest_interleave.exploration.token import Token
from pytest_interleave.schedule import Fifo
from pytest_interleave.strategies.guided import repeat
from pytest_interleave.strategies.one_held import NoneHeld, OneHeld


class _Slot:
    """One slot. Who is cancelled when the slot has been handed over takes it along."""

    def __init__(self) -> None:
        self.is_taken = False
        self.waiters: deque[asyncio.Future[None]] = deque()

    async def take(self) -> None:
        if self.is_taken:
            waiter = asyncio.get_running_loop().create_future()
            self.waiters.append(waiter)
            await waiter
        self.is_taken = True

    def give_back(self) -> None:
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self.is_taken = False


async def _one_gives_up_as_the_slot_is_given_back() -> None:
    slot = _Slot()
    await slot.take()
    impatient, patient = asyncio.create_task(slot.take()), asyncio.create_task(slot.take())
    await asyncio.sleep(0)

    async def give_up() -> None:
        impatient.cancel()

    async def give_back() -> None:
        slot.give_back()

    both = [asyncio.create_task(give_up()), asyncio.create_task(give_back())]
    for task in both:
        await task
    for _ in range(10):
        await asyncio.sleep(0)
    is_served = patient.done()
    patient.cancel()

    assert is_served


async def _the_same_after_a_sleep() -> None:
    await asyncio.sleep(0.01)
    await _one_gives_up_as_the_slot_is_given_back()


async def _the_same_beside_sleepers() -> None:
    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds)

    await asyncio.gather(*(sleep(0.01) for _ in range(4)))
    await _one_gives_up_as_the_slot_is_given_back()


async def _one_gives_up_while_another_is_at_work() -> None:
    slot = _Slot()
    served: list[str] = []

    async def visit(name: str, seconds: float) -> None:
        await slot.take()
        try:
            await asyncio.sleep(seconds)
            served.append(name)
        finally:
            slot.give_back()

    async def give_up() -> None:
        await asyncio.sleep(0.015)
        impatient.cancel()

    first = asyncio.create_task(visit("first", 0.01))
    impatient = asyncio.create_task(visit("impatient", 0.01))
    last = asyncio.create_task(visit("last", 0.01))
    await asyncio.gather(first, last, give_up())

    assert "last" in served


def test_two_sleeps_of_the_test_meet_for_a_note() -> None:
    exploration = explore(_one_gives_up_while_another_is_at_work, seed=1)

    assert not exploration.failures
    assert [note.label for note in exploration.notes] == ["order-only"]
    constraints = exploration.notes[0].constraints
    assert constraints is not None
    assert {event[1] for event in constraints} == {"meet"}
    assert exploration.notes[0].reproduced == 5


def test_a_meeting_outlives_its_token() -> None:
    [note] = explore(_one_gives_up_while_another_is_at_work, seed=1).notes
    token = Token("realistic", 1, note.constraints, holds_steps=note.holds_steps)
    execution = Execution(_one_gives_up_while_another_is_at_work, stretch=True, limits=Limits())
    try:
        again = execution(repeat(Token.decode(token.encode())))
    finally:
        execution.close()

    assert again.signature == note.signature


def test_a_test_with_nothing_to_choose_gets_its_note() -> None:
    exploration = explore(_one_gives_up_as_the_slot_is_given_back, seed=1)

    assert exploration.verdict == "exhausted"
    assert not exploration.failures
    assert [note.label for note in exploration.notes] == ["order-only"]


def test_a_test_whose_orders_were_all_tried_gets_its_note() -> None:
    exploration = explore(_the_same_after_a_sleep, seed=1)

    assert exploration.verdict == "exhausted"
    assert [note.label for note in exploration.notes] == ["order-only"]


def test_when_no_order_is_new_any_more_the_rest_of_the_budget_is_for_notes() -> None:
    exploration = explore(_the_same_beside_sleepers, seed=1, runs=1000)

    assert exploration.verdict == "sampled"
    assert [note.label for note in exploration.notes] == ["order-only"]
    assert exploration.notes[0].found_in_run < 500


def test_a_test_without_tasks_costs_two_runs() -> None:
    async def program() -> None:
        await asyncio.sleep(0)

    assert explore(program, seed=1).runs == 2


def test_each_step_is_held_back_by_one_turn_before_any_is_by_two() -> None:
    execution = Execution(_one_gives_up_as_the_slot_is_given_back, stretch=True, limits=Limits())
    try:
        first = execution(Fifo())
        census = NoneHeld()
        execution(census)
        orders = []
        for order in islice(odd_orders(first, Random(1), turns=2), 1 + 6 * census.points):
            execution(order)
            orders.append(order)
    finally:
        execution.close()
    held = [(order.turns, order.index) for order in orders[1:] if isinstance(order, OneHeld)]

    assert has_several_tasks(first)
    assert sorted(held) == [(turns, index) for turns in (1, 2) for index in range(census.points)]
    assert [turns for turns, _ in held] == sorted(turns for turns, _ in held)
