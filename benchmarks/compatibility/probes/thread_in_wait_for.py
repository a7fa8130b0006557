"""A thread that works in real time, awaited with a time-out."""

import asyncio
import time


async def test_it():
    def work(number):
        time.sleep(0.01)
        return number * 2

    async def call(number):
        return await asyncio.wait_for(asyncio.to_thread(work, number), 5)

    async def tick():
        for _ in range(3):
            await asyncio.sleep(0.001)

    assert (await asyncio.gather(call(1), call(2), tick()))[:2] == [2, 4]
