"""Work is given up, cancelled or closed at the wrong moment."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from quality.kernels.kernel import Kernel
from quality.outside import compute, remote

#: A time limit which no operation comes near, unless it is late.
_PATIENCE_SECONDS = 0.2


async def drain_on_shutdown() -> None:
    """Shutdown takes an empty queue for finished work: the last store is late, past the flush."""
    queue: asyncio.Queue[int] = asyncio.Queue(maxsize=1)
    stored: list[int] = []

    async def work() -> None:
        while True:
            item = await queue.get()
            await remote(f"store {item}")
            stored.append(item)

    worker = asyncio.create_task(work())
    for item in range(3):
        await queue.put(item)
    await remote("announce shutdown", 4)
    await remote("flush")
    worker.cancel()
    await asyncio.wait([worker])

    assert stored == [0, 1, 2]


async def drain_on_shutdown_fixed() -> None:
    """Shutdown waits until each item is done."""
    queue: asyncio.Queue[int] = asyncio.Queue(maxsize=1)
    stored: list[int] = []

    async def work() -> None:
        while True:
            item = await queue.get()
            await remote(f"store {item}")
            stored.append(item)
            queue.task_done()

    worker = asyncio.create_task(work())
    for item in range(3):
        await queue.put(item)
    await remote("announce shutdown", 4)
    await remote("flush")
    await queue.join()
    worker.cancel()
    await asyncio.wait([worker])

    assert stored == [0, 1, 2]


async def timeout_against_result() -> None:
    """A caller loses the connection it was given: its timeout strikes in the loop turn of the hand-over, behind it."""
    assert await _connections_kept(gives_back=False) == 1


async def timeout_against_result_fixed() -> None:
    """Who gives up looks whether something was handed over, and gives it back."""
    assert await _connections_kept(gives_back=True) == 1


async def _connections_kept(*, gives_back: bool) -> int:
    opened: asyncio.Queue[str] = asyncio.Queue()
    handed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    idle: list[str] = []
    used: list[str] = []

    async def connect() -> None:
        await remote("connect", 3)
        compute("handshake")
        opened.put_nowait("connection")

    async def hand_out() -> None:
        connection = await opened.get()
        if handed.done():
            idle.append(connection)
        else:
            handed.set_result(connection)

    async def call() -> None:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                used.append(await handed)
        except TimeoutError:
            if gives_back and not handed.cancelled():
                idle.append(handed.result())

    await asyncio.gather(connect(), hand_out(), call())
    return len(idle) + len(used)


@dataclass
class _Connection:
    is_open: bool = True
    is_used: bool = False


async def idle_reaper() -> None:
    """A connection is closed in the middle of a query: the reaper's last ping is late, past the query's begin."""
    connection = _Connection()
    broken = 0

    async def reap() -> None:
        await remote("sleep")
        if not connection.is_used:
            await remote("ping")
            connection.is_open = False

    async def query() -> None:
        nonlocal broken
        await remote("parse", 5)
        if connection.is_open:
            connection.is_used = True
            await remote("send query")
            await remote("receive rows", 2)
            broken += not connection.is_open
            connection.is_used = False

    await asyncio.gather(reap(), query())

    assert broken == 0


async def idle_reaper_fixed() -> None:
    """The reaper looks again after the ping."""
    connection = _Connection()
    broken = 0

    async def reap() -> None:
        await remote("sleep")
        if not connection.is_used:
            await remote("ping")
            if not connection.is_used:
                connection.is_open = False

    async def query() -> None:
        nonlocal broken
        await remote("parse", 5)
        if connection.is_open:
            connection.is_used = True
            await remote("send query")
            await remote("receive rows", 2)
            broken += not connection.is_open
            connection.is_used = False

    await asyncio.gather(reap(), query())

    assert broken == 0


async def single_flight_cancelled() -> None:
    """Two callers share one request: it is late, the hurried one's time limit strikes, and it is cancelled for both."""
    assert await _patient_result(is_shielded=False) == "rows"


async def single_flight_cancelled_fixed() -> None:
    """The time limit ends the waiting and not the request."""
    assert await _patient_result(is_shielded=True) == "rows"


async def _patient_result(*, is_shielded: bool) -> str | BaseException:
    async def load() -> str:
        await remote("query", 3)
        await remote("rows", 2)
        return "rows"

    request = asyncio.create_task(load())

    async def hurried() -> str:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                return await (asyncio.shield(request) if is_shielded else request)
        except TimeoutError:
            return "try again later"

    async def patient() -> str:
        await remote("parse")
        return await request

    _, result = await asyncio.gather(hurried(), patient(), return_exceptions=True)
    return result


KERNELS = (
    Kernel(drain_on_shutdown, drain_on_shutdown_fixed, {"store 2": 0.02}),
    Kernel(timeout_against_result, timeout_against_result_fixed, {"handshake": _PATIENCE_SECONDS + 0.02}),
    Kernel(idle_reaper, idle_reaper_fixed, {"ping": 0.01, "send query": 0.02}),
    Kernel(single_flight_cancelled, single_flight_cancelled_fixed, {"rows": _PATIENCE_SECONDS + 0.02}),
)
