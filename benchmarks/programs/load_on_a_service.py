"""Print the CPU seconds of a minute of load on an aiohttp service, as JSON, with the numbers it came to."""

from __future__ import annotations

import asyncio
import importlib
import json
import time
from random import Random
from typing import Any

aiohttp: Any = importlib.import_module("aiohttp")
web: Any = importlib.import_module("aiohttp.web")


async def measure() -> dict[str, float]:
    """Put 95 requests a second on a service that can do 100, by real aiohttp on a loopback port."""
    from pytest_interleave import load

    slots, random = asyncio.Semaphore(5), Random(7)

    async def answer(request: Any) -> Any:
        async with slots:
            await asyncio.sleep(random.expovariate(20))
        return web.Response(text="done")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def visit() -> None:
            async with session.get(url) as response:
                await response.read()

        began = time.process_time()
        result = await load(visit, rate=95, duration=60, clock="virtual")
        cpu_seconds = time.process_time() - began
    await runner.cleanup()
    return {
        "cpu_seconds": cpu_seconds,
        "requests": len(result.requests),
        "failed": result.failed,
        "p50": result.p50,
        "p95": result.p95,
        "p99": result.p99,
    }


def main() -> None:
    """Run it in virtual time, without pytest."""
    from pytest_interleave.loop.threads import running_threads
    from pytest_interleave.loop.virtual import VirtualLoop

    loop = VirtualLoop(describe=lambda loop, limit: "stuck", resting_threads=running_threads())
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        print(json.dumps(runner.run(measure())))


if __name__ == "__main__":
    main()
