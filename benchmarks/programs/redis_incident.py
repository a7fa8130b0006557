"""The incident of March 2023 as a test: a cancelled command left its reply to the next user (CVE-2023-28859).

Nothing in it sleeps or cancels; ``python -m benchmarks.incident`` runs it with the release that had the bug.
"""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from pytest_interleave import Hosts, interrupt

CHATS = {"alice": "alice's chats", "bob": "bob's chats"}


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speak as much of Redis as a client needs to read a key."""
    while line := await reader.readline():
        words = []
        for _ in range(int(line[1:])):
            size = int((await reader.readline())[1:])
            words.append((await reader.readexactly(size + 2))[:-2].decode())
        if words[0] == "GET":
            value = CHATS[words[1]]
            writer.write(f"${len(value)}\r\n{value}\r\n".encode())
        else:
            writer.write(b"+OK\r\n")


@pytest.mark.asyncio
async def test_each_user_gets_their_own_data(hosts: Hosts) -> None:
    """Each gets their own, whether another's command was cancelled or not."""
    hosts.serve("redis://cache", answer)
    redis = Redis(host="cache", decode_responses=True)

    await interrupt(redis.get("alice"))
    got = await redis.get("bob")

    await redis.connection_pool.disconnect()
    assert got == "bob's chats"
