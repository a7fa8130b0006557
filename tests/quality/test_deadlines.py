"""A deadline that asyncio's own run does not reach may be reached at any turn, also late in a long operation."""

from __future__ import annotations

import asyncio

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
