"""Programs that pass in asyncio's own order and fail in another one of what comes in."""

from __future__ import annotations

import asyncio
import socket


async def answers_of_two_services_come_in_order() -> None:
    loop = asyncio.get_running_loop()
    pairs = [socket.socketpair() for _ in range(2)]
    heard: list[int] = []

    async def listen(number: int) -> None:
        await loop.sock_recv(pairs[number][0], 1)
        heard.append(number)

    for each in [each for pair in pairs for each in pair]:
        each.setblocking(False)
    try:
        listening = [asyncio.create_task(listen(number)) for number in range(2)]
        await asyncio.sleep(0)
        for _, there in pairs:
            await loop.sock_sendall(there, b"x")
        await asyncio.gather(*listening)
        assert heard == [0, 1]
    finally:
        for each in [each for pair in pairs for each in pair]:
            each.close()


async def ends_within_three_turns(timeout_seconds: float) -> None:
    async def work() -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        done.append(True)

    done: list[bool] = []
    running = asyncio.create_task(work())
    try:
        async with asyncio.timeout(timeout_seconds):
            await running
    except TimeoutError:
        pass
    assert done
