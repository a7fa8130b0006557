"""A step that never gives way is ended, where it goes round in asyncio's own calls; what computes is left alone."""

from __future__ import annotations

import asyncio
from time import thread_time
from typing import Any

import pytest
from exploring.conftest import Explore

from pytest_interleave import explore as explore_function
from pytest_interleave.errors import Spinning
from pytest_interleave.loop import spinning

PROGRAM = """
class Items:
    def __init__(self):
        self.number = 0
        self.finished = asyncio.Event()

    def add(self):
        self.number += 1
        self.finished.clear()

    def take(self):
        self.number -= 1
        if not self.number:
            asyncio.get_running_loop().call_later(0.01, self.finished.set)

    async def join(self):
        while self.number:
            await self.finished.wait()

async def service(seconds):
    await asyncio.sleep(seconds)

async def test_join():
    items = Items()

    async def work():
        for _ in range(2):
            await service(0.03)
            items.take()

    items.add()
    working = asyncio.create_task(work())
    await asyncio.sleep(0.05)
    items.add()
    await items.join()
    await working
"""


@pytest.fixture(autouse=True)
def seconds(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let a step be cut soon; of processor time, so that a busy machine makes no difference."""
    spinning.stop()
    monkeypatch.setattr(spinning, "_SECONDS", 0.2)
    monkeypatch.setattr(spinning, "_SECONDS_AGAIN", 0.1)
    yield
    spinning.stop()


def program(name: str) -> Any:
    names: dict[str, Any] = {"asyncio": asyncio}
    exec(compile(PROGRAM, "joining.py", "exec"), names)
    return names[name]


async def late(work: Any) -> None:
    """Do the work in a step of its own if the answer comes before the sleep ends, and nothing else."""
    answers: list[str] = []

    async def ask() -> None:
        await service()
        answers.append("yes")

    asking = asyncio.create_task(ask())
    await asyncio.sleep(0.05)
    if not answers:
        await work()
    await asking


async def service() -> None:
    await asyncio.sleep(0.03)


async def compute() -> None:
    end = thread_time() + 0.4
    while thread_time() < end:
        sorted(range(100))


async def go_round(seconds: float = 5.0) -> None:
    event = asyncio.Event()
    event.set()
    end = thread_time() + seconds
    while thread_time() < end:
        await event.wait()


def test_a_step_that_does_not_give_way_is_a_livelock() -> None:
    [failure] = explore_function(program("test_join"), seed=1).failures

    assert isinstance(failure.error, Spinning)
    assert failure.error.places == ("joining.py:16",)
    assert "`Items.join` goes round and round" in str(failure.error)
    assert failure.reproduced == failure.repeats
    assert failure.explanation is not None
    assert failure.explanation.is_same


def test_what_computes_for_long_is_none() -> None:
    async def computes_if_late() -> None:
        await late(compute)

    assert not explore_function(computes_if_late, seed=1, runs=20).failures


def test_asyncios_own_order_may_go_round_as_long_as_it_likes(explore: Explore) -> None:
    done = explore_function(go_round, seed=1)

    assert done.verdict == "inconclusive"
    assert "goes round and round" in done.reason

    result = explore(
        """
        from time import thread_time

        async def test_long():
            event = asyncio.Event()
            event.set()
            end = thread_time() + 0.6
            while thread_time() < end:
                await event.wait()
        """
    )

    result.assert_outcomes(passed=1)


def test_asyncios_own_order_may_take_longer_when_it_is_repeated() -> None:
    runs = 0

    async def goes_round_the_second_time() -> None:
        nonlocal runs
        runs += 1
        await go_round(5.0 if runs == 2 else 0)

    done = explore_function(goes_round_the_second_time, seed=1)

    assert done.verdict == "inconclusive"
    assert "goes round and round" in done.reason


def test_pytest_shows_where_it_goes_round_and_goes_on_with_the_next_test(explore: Explore) -> None:
    result = explore(f"{PROGRAM}\nasync def test_other():\n    await work()\n")

    result.assert_outcomes(failed=1, passed=1)
    text = result.stdout.str()
    assert "StepCut: Livelock: `Items.join` goes round and round" in text
    assert "Goes round for ever if " in text
    assert "await self.finished.wait()" in text
    assert "--interleave-replay=" in text
