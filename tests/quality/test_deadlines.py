"""A deadline that asyncio's own run does not reach may be reached at any turn, also late in a long operation."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest

from pytest_interleave import explore
from quality.outside import remote


async def _pass_on(value: int) -> int:
    future = asyncio.get_running_loop().create_future()

    def deliver() -> None:
        if not future.done():
            future.set_result(value)

    asyncio.get_running_loop().call_soon(deliver)
    return int(await future)


async def _long_read_that_may_take_too_long() -> None:
    """Forty replies; only while one of them is passed on, for a turn, is there anything to lose."""
    held: list[int] = []

    async def read() -> None:
        for number in range(40):
            await remote(f"read {number}")
            if number == 30:
                held.append(number)
                await _pass_on(number)
                held.remove(number)

    try:
        await asyncio.wait_for(read(), timeout=5)
    except TimeoutError:
        pass

    assert not held


@pytest.mark.parametrize("seed", range(4))
def test_the_one_turn_at_which_it_does_harm_is_found(seed: int) -> None:
    exploration = explore(_long_read_that_may_take_too_long, seed=seed, runs=400)

    assert exploration.verdict == "failed"


class _Pool:
    """One connection, which is lost if its user is cancelled."""

    def __init__(self) -> None:
        self._free: asyncio.Queue[str] = asyncio.Queue()
        self._free.put_nowait("connection")

    async def query(self, what: str) -> str:
        connection = await self._free.get()
        await remote(what)
        self._free.put_nowait(connection)
        return f"{what} by {connection}"


_HEART = """
import asyncio

async def beat():
    while True:
        await asyncio.sleep(20)
"""


_CLIENT = """
import asyncio

class Client:
    def __init__(self, pass_on):
        self.pass_on = pass_on
        self.is_closing = False
        self.heart = asyncio.create_task(self.beat())

    async def beat(self):
        while not self.is_closing:
            await asyncio.sleep(1)
            assert not self.is_closing, "a ping after the goodbye"

    async def close(self):
        self.is_closing = True
        await self.pass_on(0)
        self.heart.cancel()
        await asyncio.wait([self.heart])
        if not self.heart.cancelled():
            self.heart.result()
"""


def _installed(folder: Path, source: str) -> dict[str, Any]:
    folder /= "site-packages"
    folder.mkdir()
    names: dict[str, Any] = {"__name__": "client"}
    exec(compile(source, str(folder / "client.py"), "exec"), names)
    return names


@pytest.mark.parametrize("seed", range(4))
def test_a_heart_that_had_no_time_to_beat_is_heard_at_the_worst_moment(tmp_path: Path, seed: int) -> None:
    names = _installed(tmp_path, _CLIENT)

    async def talk() -> None:
        client = names["Client"](_pass_on)
        for number in range(20):
            await remote(f"read {number}")
        await client.close()

    exploration = explore(talk, seed=seed, runs=100)

    assert exploration.verdict == "failed"


async def _a_guard_ends_what_would_wait_for_ever() -> None:
    pool = _Pool()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(pool.query("long"), timeout=2)
    async with asyncio.timeout(4):  # so that the test does not hang
        await pool.query("short")


async def _a_guard_ends_what_is_only_late() -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(remote("long"), timeout=2)
    async with asyncio.timeout(4):
        await remote("short")


def test_a_timeout_that_nothing_could_have_kept_from_firing_is_a_failure_as_a_deadlock_is() -> None:
    [failure] = explore(_a_guard_ends_what_would_wait_for_ever, seed=1).failures

    assert isinstance(failure.error, TimeoutError)
    assert failure.result.has_hung
    assert failure.reproduced == failure.repeats


def test_a_timeout_that_something_late_would_have_kept_from_firing_is_none() -> None:
    done = explore(_a_guard_ends_what_is_only_late, seed=1)

    assert not done.failures


def test_the_heart_of_a_library_keeps_no_timeout_from_ending_a_deadlock(tmp_path: Path) -> None:
    names = _installed(tmp_path, _HEART)

    async def program() -> None:
        heart = asyncio.create_task(names["beat"]())
        try:
            await _a_guard_ends_what_would_wait_for_ever()
        finally:
            heart.cancel()

    [failure] = explore(program, seed=1).failures

    assert isinstance(failure.error, TimeoutError)
    assert failure.result.has_hung
