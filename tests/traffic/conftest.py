"""A service with a known capacity, and a loop in virtual time to put load on it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from random import Random
from typing import Any, TypeVar

from pytest_interleave.loop.threads import running_threads
from pytest_interleave.loop.virtual import VirtualLoop

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run it in virtual time."""
    loop = VirtualLoop(describe=lambda loop, limit: "stuck", resting_threads=running_threads())
    loop.limit(86_400)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(coroutine)


class Service:
    """So many slots, so many seconds a request (exactly, or on average)."""

    def __init__(self, slots: int = 5, seconds: float = 0.05, *, is_random: bool = False) -> None:
        self.slots = asyncio.Semaphore(slots)
        self.seconds = seconds
        self.random = Random(7) if is_random else None
        self.waiting = 0

    async def serve(self) -> None:
        self.waiting += 1
        try:
            await self.slots.acquire()
        finally:
            self.waiting -= 1
        try:
            await asyncio.sleep(self.random.expovariate(1 / self.seconds) if self.random else self.seconds)
        finally:
            self.slots.release()
