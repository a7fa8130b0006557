"""A wake-up comes when nobody waits, or wakes the wrong one."""

from __future__ import annotations

import asyncio

from quality.kernels.kernel import Kernel
from quality.outside import remote


async def lost_wake_up() -> None:
    """The event is cleared long after the check: logging is late, past the signal, which is then wiped out."""
    items: list[str] = []
    signal = asyncio.Event()

    async def consume() -> None:
        while not items:
            await remote("log: idle")
            signal.clear()
            await signal.wait()

    async def produce() -> None:
        await remote("fetch", 4)
        await remote("decode", 3)
        items.append("item")
        signal.set()

    await asyncio.gather(consume(), produce())


async def lost_wake_up_fixed() -> None:
    """The event is cleared before the check."""
    items: list[str] = []
    signal = asyncio.Event()

    async def consume() -> None:
        while True:
            signal.clear()
            if items:
                return
            await remote("log: idle")
            await signal.wait()

    async def produce() -> None:
        await remote("fetch", 4)
        await remote("decode", 3)
        items.append("item")
        signal.set()

    await asyncio.gather(consume(), produce())


async def condition_without_recheck() -> None:
    """A waiter trusts its wake-up: another consumer comes in the same loop turn as the item, behind it."""
    items: list[str] = []
    taken: list[str] = []
    underruns = 0
    condition = asyncio.Condition()

    async def consume(name: str, steps: int) -> None:
        nonlocal underruns
        for step in range(steps):
            await remote(f"{name}: come {step}")
        async with condition:
            if not items:
                await condition.wait()
            if items:
                taken.append(items.pop())
            else:
                underruns += 1

    async def produce() -> None:
        for number in range(2):
            for step in range(1 + 2 * number):
                await remote(f"fetch {number}.{step}")
            async with condition:
                items.append(f"item {number}")
                condition.notify()

    await asyncio.gather(consume("first", 0), produce(), consume("second", 2))

    assert underruns == 0


async def condition_without_recheck_fixed() -> None:
    """The waiter checks again."""
    items: list[str] = []
    taken: list[str] = []
    underruns = 0
    condition = asyncio.Condition()

    async def consume(name: str, steps: int) -> None:
        nonlocal underruns
        for step in range(steps):
            await remote(f"{name}: come {step}")
        async with condition:
            await condition.wait_for(lambda: items)
            if items:
                taken.append(items.pop())
            else:
                underruns += 1

    async def produce() -> None:
        for number in range(2):
            for step in range(1 + 2 * number):
                await remote(f"fetch {number}.{step}")
            async with condition:
                items.append(f"item {number}")
                condition.notify()

    await asyncio.gather(consume("first", 0), produce(), consume("second", 2))

    assert underruns == 0


KERNELS = (
    Kernel(lost_wake_up, lost_wake_up_fixed, {"log: idle": 0.02}, is_deadlock=True),
    Kernel(
        condition_without_recheck,
        condition_without_recheck_fixed,
        {"fetch 0.0": 0.010, "second: come 1": 0.015},
        busy=(0.005, 0.03),
    ),
)
