"""A cancelled command leaves its reply to the next one: redis-py before 4.5.5 (CVE-2023-28859), in its own shape.

``python -m benchmarks.incident`` finds it in the release itself.
"""

from textwrap import dedent

import pytest
from sessions import run_forked

CLIENT = """
import asyncio


class Connection:
    def __init__(self):
        self.reader = self.writer = None

    async def connect(self):
        if self.reader is None:
            self.reader, self.writer = await asyncio.open_connection("cache", 6379)

    async def send_command(self, *words):
        await self.connect()
        self.writer.write(" ".join(words).encode() + b"\\n")
        await self.writer.drain()

    async def read_response(self):
        return (await self.reader.readline()).decode().strip()

    async def disconnect(self):
        if self.writer is not None:
            self.writer.close()
            self.reader = self.writer = None


class Client:
    def __init__(self):
        self.free = [Connection()]

    async def get(self, key):
        connection = self.free.pop()
        try:
            return await self.send_command_parse_response(connection, "GET", key)
        finally:
            self.free.append(connection)

    async def send_command_parse_response(self, connection, *words):
        await connection.send_command(*words)
        return await connection.read_response()

    async def close(self):
        for connection in self.free:
            await connection.disconnect()


class FixedClient(Client):
    async def send_command_parse_response(self, connection, *words):
        try:
            return await super().send_command_parse_response(connection, *words)
        except BaseException:
            await connection.disconnect()
            raise
"""
TEST = """
import pytest
from client import Client, FixedClient
from pytest_interleave import interrupt


async def answer(reader, writer):
    while line := await reader.readline():
        writer.write(b"the chats of " + line.split()[1] + b"\\n")


async def check(hosts, client):
    hosts.serve("redis://cache", answer)
    await interrupt(client.get("alice"))
    got = await client.get("bob")
    await client.close()
    assert got == "the chats of bob"


@pytest.mark.asyncio
async def test_client(hosts):
    await check(hosts, Client())


@pytest.mark.asyncio
async def test_fixed_client(hosts):
    await check(hosts, FixedClient())
"""


def test_interrupt_alone_finds_a_reply_that_goes_to_another_user(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(client=dedent(CLIENT), test_it=dedent(TEST))

    run_forked(pytester).assert_outcomes(passed=2)
    result = run_forked(pytester, "--interleave", "--interleave-seed=1", "--interleave-runs=60", "-v")

    result.assert_outcomes(failed=1, passed=1)
    line = 1 + CLIENT.strip().splitlines().index("        return (await self.reader.readline()).decode().strip()")
    result.stdout.fnmatch_lines(
        [
            "E *assert 'the chats of alice' == 'the chats of bob'",
            f"Fails if `Client.get` is cancelled at client.py:{line} (`await self.reader.readline()`)*",
            "stock: *5 of 5.",
            "*::test_fixed_client: *cancelled at each suspension (tried all *",
        ]
    )
