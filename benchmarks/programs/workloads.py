"""The coroutines to explore. All pass under every schedule, so that no explorer stops early."""

from __future__ import annotations

import asyncio

from benchmarks.programs.stamps import Stamps

stamps = Stamps()


async def small() -> None:
    """Run 3 tasks of 5 awaits each: what a run costs."""
    await _tasks(3, 5)


async def stamped_small() -> None:
    """Run `small`, and note in ``stamps`` when it begins."""
    stamps.mark()
    await small()


async def large() -> None:
    """Run 100 tasks of 50 awaits each: what a step costs."""
    await _tasks(100, 50)


async def _tasks(count: int, awaits: int) -> None:
    done = []

    async def work(number: int) -> None:
        for _ in range(awaits):
            await asyncio.sleep(0)
        done.append(number)

    await asyncio.gather(*(work(number) for number in range(count)))
    assert sorted(done) == list(range(count))
