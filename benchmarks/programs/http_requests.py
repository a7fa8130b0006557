"""Print the CPU seconds of one request, as JSON: ``python -m benchmarks.programs.http_requests SUBJECT``.

The same GETs of one ``aiohttp.ClientSession``, ten at a time, and the same replies in JSON, by each of the subjects.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import aiohttp
from aiohttp import web

AT_ONCE = 10
WARMING_TURNS = 20
TURNS = 200
REPLY = {"name": "Ann", "tags": ["one", "two", "three"]}
NAME = "http://api.example.com"


@contextlib.asynccontextmanager
async def loopback() -> AsyncIterator[str]:
    """Serve with aiohttp at 127.0.0.1, as without any library for tests."""

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(REPLY)

    application = web.Application()
    application.router.add_get("/users/{id}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def routes() -> AsyncIterator[str]:
    """Declare a mock route of ours."""
    from pytest_interleave import Hosts

    async with Hosts() as hosts:
        hosts.routes(NAME).get("/users/{id}").reply(json=REPLY)
        yield NAME


@contextlib.asynccontextmanager
async def mocked(module: str) -> AsyncIterator[str]:
    """Declare it in aioresponses' words: with that library itself, or with what stands in for it."""
    with importlib.import_module(module).aioresponses() as mock:
        for number in range(AT_ONCE):
            mock.get(f"{NAME}/users/{number}", payload=REPLY, repeat=True)
        yield NAME


SUBJECTS: dict[str, Callable[[], AbstractAsyncContextManager[str]]] = {
    "loopback": loopback,
    "routes": routes,
    "shim": partial(mocked, "pytest_interleave.aioresponses"),
    "aioresponses": partial(mocked, "aioresponses"),
}


async def measure(subject: str) -> float:
    """Return the CPU seconds of a request."""
    async with SUBJECTS[subject]() as url, aiohttp.ClientSession() as session:

        async def load(number: int) -> None:
            async with session.get(f"{url}/users/{number}") as response:
                if await response.json() != REPLY:
                    raise AssertionError(f"{subject} replied {await response.text()}")

        began = 0.0
        for turn in range(WARMING_TURNS + TURNS):
            if turn == WARMING_TURNS:
                began = time.process_time()
            await asyncio.gather(*map(load, range(AT_ONCE)))
        return (time.process_time() - began) / (TURNS * AT_ONCE)


def main() -> None:
    """Measure one subject and print what a request cost."""
    print(json.dumps({"cpu_seconds": asyncio.run(measure(sys.argv[1]))}))


if __name__ == "__main__":
    main()
