"""Correct in some orders of completion and not in others."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from quality.kernels.kernel import Kernel
from quality.outside import remote


async def order_violation() -> None:
    """A handler uses the configuration without waiting for it: loading is late, past the first request."""
    configuration: dict[str, str] = {}
    replies: list[str | None] = []

    async def load() -> None:
        await remote("open file")
        await remote("read file")
        configuration["greeting"] = "hello"

    async def handle() -> None:
        await remote("accept", 2)
        await remote("read request", 3)
        await remote("authenticate", 3)
        replies.append(configuration.get("greeting"))

    await asyncio.gather(load(), handle())

    assert replies == ["hello"]


async def order_violation_fixed() -> None:
    """The handler waits until the configuration is there."""
    configuration: dict[str, str] = {}
    replies: list[str | None] = []
    loaded = asyncio.Event()

    async def load() -> None:
        await remote("open file")
        await remote("read file")
        configuration["greeting"] = "hello"
        loaded.set()

    async def handle() -> None:
        await remote("accept", 2)
        await remote("read request", 3)
        await remote("authenticate", 3)
        await loaded.wait()
        replies.append(configuration.get("greeting"))

    await asyncio.gather(load(), handle())

    assert replies == ["hello"]


async def four_way_order() -> None:
    """A merge goes wrong in one order of 24: three of four replies are late, each past the next one's."""
    merged: list[int] = []
    inversions = 0

    async def fetch(shard: int) -> None:
        nonlocal inversions
        await remote(f"shard {shard}: connect")
        await remote(f"shard {shard}")
        if merged and merged[-1] == shard + 1:
            inversions += 1
        merged.append(shard)

    await asyncio.gather(*(fetch(shard) for shard in range(4)))

    assert inversions < 3, f"the merge buffer overflows: {merged}"


async def four_way_order_fixed() -> None:
    """The shards are merged when all are there."""
    inversions = 0

    async def fetch(shard: int) -> int:
        await remote(f"shard {shard}: connect")
        await remote(f"shard {shard}")
        return shard

    merged = await asyncio.gather(*(fetch(shard) for shard in range(4)))
    for before, after in pairwise(merged):
        inversions += before == after + 1

    assert inversions < 3, f"the merge buffer overflows: {merged}"


async def reorder_3() -> None:
    """A reader sees half an update: both writers' second halves are late, past it (SCTBench's reorder_3)."""
    await _reorder(2)


async def reorder_5() -> None:
    """A reader sees half an update: all four writers' second halves are late, past it (SCTBench's reorder_5)."""
    await _reorder(4)


async def reorder_10() -> None:
    """A reader sees half an update: all nine writers' second halves are late, past it (SCTBench's reorder_10)."""
    await _reorder(9)


async def _reorder(writers: int) -> None:
    first, second = 0, 0
    seen = None

    async def write(number: int) -> None:
        nonlocal first, second
        first = 1
        await remote(f"write {number}")
        second = 1

    async def read() -> None:
        nonlocal seen
        await remote("read")
        seen = (first, second)

    await asyncio.gather(*(write(number) for number in range(writers)), read())

    assert seen in ((0, 0), (1, 1))


async def reorder_3_fixed() -> None:
    """Both halves are written in one step."""
    await _reorder_fixed(2)


async def reorder_5_fixed() -> None:
    """Both halves are written in one step."""
    await _reorder_fixed(4)


async def reorder_10_fixed() -> None:
    """Both halves are written in one step."""
    await _reorder_fixed(9)


async def _reorder_fixed(writers: int) -> None:
    first, second = 0, 0
    seen = None

    async def write(number: int) -> None:
        nonlocal first, second
        await remote(f"write {number}")
        first = second = 1

    async def read() -> None:
        nonlocal seen
        await remote("read")
        seen = (first, second)

    await asyncio.gather(*(write(number) for number in range(writers)), read())

    assert seen in ((0, 0), (1, 1))


KERNELS = (
    Kernel(order_violation, order_violation_fixed, {"read file": 0.02}),
    Kernel(four_way_order, four_way_order_fixed, {f"shard {shard}": 0.01 * (3 - shard) for shard in range(4)}),
    Kernel(reorder_3, reorder_3_fixed, {f"write {number}": 0.02 for number in range(2)}),
    Kernel(reorder_5, reorder_5_fixed, {f"write {number}": 0.02 for number in range(4)}),
    Kernel(reorder_10, reorder_10_fixed, {f"write {number}": 0.02 for number in range(9)}),
)
