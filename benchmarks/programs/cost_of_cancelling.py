"""Print the CPU seconds of one run, as JSON: ``python -m benchmarks.programs.cost_of_cancelling plain|interrupt``.

The same program, with one of its operations awaited as it is or under ``interrupt``. It passes in each run.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from pytest_interleave import explore, interrupt

WARMING_RUNS = 50
RUNS = 1_000


class Pool:
    """Four callers share two connections."""

    def __init__(self) -> None:
        self.slots = asyncio.Semaphore(2)

    async def get(self, key: int) -> int:
        """Answer after six awaits."""
        async with self.slots:
            for _ in range(6):
                await asyncio.sleep(0.01)
            return key


async def _others(pool: Pool) -> None:
    await asyncio.gather(*(pool.get(key) for key in range(3)))


async def plain() -> None:
    """Await it."""
    pool = Pool()
    others = asyncio.create_task(_others(pool))
    await asyncio.create_task(pool.get(4))
    await others


async def interrupted() -> None:
    """Let it be cancelled anywhere."""
    pool = Pool()
    others = asyncio.create_task(_others(pool))
    await interrupt(pool.get(4))
    await others


def main() -> None:
    """Explore and print what a run cost."""
    program = {"plain": plain, "interrupt": interrupted}[sys.argv[1]]
    explore(program, runs=WARMING_RUNS, seed=1)
    began = time.process_time()
    done = explore(program, runs=RUNS, seed=2)
    if done.failures:
        raise AssertionError(f"false alarm: {done.failures[0]}")
    print(json.dumps({"cpu_seconds": (time.process_time() - began) / done.runs, "runs": done.runs}))


if __name__ == "__main__":
    main()
