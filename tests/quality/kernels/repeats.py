"""What must happen once happens twice."""

from __future__ import annotations

import asyncio

from quality.kernels.kernel import Kernel
from quality.outside import remote


async def double_checked_init() -> None:
    """The lock is taken after the check, which is not repeated: connecting is late, past another caller's check."""
    connections = 0
    connection = 0
    lock = asyncio.Lock()

    async def use(caller: str, steps: int) -> None:
        nonlocal connection, connections
        await remote(f"{caller}: parse", steps)
        if not connection:
            async with lock:
                await remote(f"{caller}: connect")
                connections += 1
                connection = connections
        await remote(f"{caller}: query", 2)

    await asyncio.gather(use("first", 1), use("second", 6), use("third", 8))

    assert connections == 1


async def double_checked_init_fixed() -> None:
    """The check is repeated under the lock."""
    connections = 0
    connection = 0
    lock = asyncio.Lock()

    async def use(caller: str, steps: int) -> None:
        nonlocal connection, connections
        await remote(f"{caller}: parse", steps)
        if not connection:
            async with lock:
                if not connection:
                    await remote(f"{caller}: connect")
                    connections += 1
                    connection = connections
        await remote(f"{caller}: query", 2)

    await asyncio.gather(use("first", 1), use("second", 6), use("third", 8))

    assert connections == 1


class _AuthorisationServer:
    """Gives a new refresh token for each one used, and takes no token twice."""

    def __init__(self) -> None:
        self.valid = 1
        self.refused: list[str] = []

    async def refresh(self, caller: str, token: int) -> int | None:
        await remote(f"{caller}: refresh")
        if token != self.valid:
            self.refused.append(caller)
            return None
        self.valid += 1
        return self.valid


async def token_refresh() -> None:
    """Two callers refresh with one single-use token: the first refresh is late, past the second call's 401."""
    server = _AuthorisationServer()
    token = 1

    async def call(caller: str, steps: int) -> None:
        nonlocal token
        await remote(f"{caller}: prepare", steps)
        await remote(f"{caller}: call")  # answered with 401: the access token has expired
        token = await server.refresh(caller, token) or token
        await remote(f"{caller}: call again", 2)

    await asyncio.gather(call("first", 1), call("second", 6))

    assert server.refused == []


async def token_refresh_fixed() -> None:
    """One refresh at a time: who comes second finds the new token."""
    server = _AuthorisationServer()
    token = 1
    lock = asyncio.Lock()

    async def call(caller: str, steps: int) -> None:
        nonlocal token
        await remote(f"{caller}: prepare", steps)
        used = token
        await remote(f"{caller}: call")
        async with lock:
            if token == used:
                token = await server.refresh(caller, token) or token
        await remote(f"{caller}: call again", 2)

    await asyncio.gather(call("first", 1), call("second", 6))

    assert server.refused == []


KERNELS = (
    Kernel(double_checked_init, double_checked_init_fixed, {"first: connect": 0.02}),
    Kernel(token_refresh, token_refresh_fixed, {"first: refresh": 0.02}),
)
