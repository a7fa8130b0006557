"""Tasks that wait for each other."""

from __future__ import annotations

import asyncio

from quality.kernels.kernel import Kernel
from quality.outside import remote


async def ab_ba() -> None:
    """Two transfers lock two accounts in opposite order: the first one's read is late, past the second one's lock."""
    a, b = asyncio.Lock(), asyncio.Lock()

    async def first() -> None:
        await remote("first: authenticate")
        async with a:
            await remote("first: read")
            async with b:
                await remote("first: write")

    async def second() -> None:
        await remote("second: authenticate", 6)
        async with b:
            await remote("second: read")
            async with a:
                await remote("second: write")

    await asyncio.gather(first(), second())


async def ab_ba_fixed() -> None:
    """Both lock in the same order."""
    a, b = asyncio.Lock(), asyncio.Lock()

    async def first() -> None:
        await remote("first: authenticate")
        async with a:
            await remote("first: read")
            async with b:
                await remote("first: write")

    async def second() -> None:
        await remote("second: authenticate", 6)
        async with a:
            await remote("second: read")
            async with b:
                await remote("second: write")

    await asyncio.gather(first(), second())


async def philosophers() -> None:
    """Five hold their left fork and want the right: four reach for it late, each past its neighbour's first grip."""
    forks = [asyncio.Lock() for _ in range(5)]
    meals = 0

    async def dine(seat: int) -> None:
        nonlocal meals
        if seat:
            await remote(f"think {seat}", 2 * seat)
        async with forks[seat]:
            await remote(f"reach {seat}")
            async with forks[(seat + 1) % 5]:
                meals += 1

    await asyncio.gather(*(dine(seat) for seat in range(5)))

    assert meals == 5


async def philosophers_fixed() -> None:
    """The fork of lower number comes first."""
    forks = [asyncio.Lock() for _ in range(5)]
    meals = 0

    async def dine(seat: int) -> None:
        nonlocal meals
        if seat:
            await remote(f"think {seat}", 2 * seat)
        lower, higher = sorted((seat, (seat + 1) % 5))
        async with forks[lower]:
            await remote(f"reach {seat}")
            async with forks[higher]:
                meals += 1

    await asyncio.gather(*(dine(seat) for seat in range(5)))

    assert meals == 5


KERNELS = (
    Kernel(ab_ba, ab_ba_fixed, {"first: read": 0.02}, is_deadlock=True),
    Kernel(philosophers, philosophers_fixed, {f"reach {seat}": 0.05 for seat in range(4)}, is_deadlock=True),
)
