"""What a failure takes: the label says it, and is decided by running it again."""

from __future__ import annotations

import asyncio

import pytest
from quality.programs import answers_of_two_services_come_in_order, ends_within_three_turns

from pytest_interleave import explore
from pytest_interleave.exploration import Failure


async def the_short_sleep_ends_first() -> None:
    ended: list[str] = []

    async def work(name: str, seconds: float) -> None:
        await service(seconds)
        ended.append(name)

    await asyncio.gather(work("short", 0.01), work("long", 0.05))
    assert ended == ["short", "long"]


async def service(seconds: float) -> None:
    await asyncio.sleep(seconds)


async def a_timeout_is_longer_than_three_turns() -> None:
    await ends_within_three_turns(0.9)


async def five_seconds_of_work_are_done_before_five_and_a_half_are_over() -> None:
    done = []

    async def work() -> None:
        for number in range(5):
            await service(1)
            done.append(number)

    worker = asyncio.create_task(work())
    await asyncio.sleep(5.5)
    worker.cancel()
    assert len(done) == 5


def find(program: object, *, mode: str = "realistic") -> Failure:
    [failure] = explore(program, seed=1, mode=mode).failures  # type: ignore[arg-type]
    return failure


@pytest.mark.parametrize(
    ("program", "label"),
    [
        (answers_of_two_services_come_in_order, "stock"),
        (the_short_sleep_ends_first, "latency"),
        (five_seconds_of_work_are_done_before_five_and_a_half_are_over, "latency"),
        (a_timeout_is_longer_than_three_turns, "stock"),
    ],
)
def test_a_failure_is_stock_if_it_fails_where_nothing_lasts_longer_than_it_says(program: object, label: str) -> None:
    failure = find(program)

    assert failure.label == label
    assert failure.constraints


def test_what_the_mode_stock_finds_is_stock() -> None:
    assert find(answers_of_two_services_come_in_order, mode="stock").label == "stock"
    assert explore(the_short_sleep_ends_first, seed=1, mode="stock").failures == []
