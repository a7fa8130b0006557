"""Data that is read in pieces: found, said, replayed, and no matter to those that read a stream as a stream."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
from typing import Any

import httpx
import pytest
import redis.asyncio
import uvicorn
import websockets.asyncio.client
import websockets.asyncio.server
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from connections import connected_to
from exploring.conftest import Explore

from pytest_interleave import explore
from pytest_interleave.exploration.execution import Execution, Limits
from pytest_interleave.schedule import SMALL, SPLIT, SPLITS, Fifo
from pytest_interleave.strategies.guided import answer
from pytest_interleave.strategies.in_pieces import InPieces


async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take what it reads for a message."""
    with contextlib.closing(writer):
        while word := await reader.read(100):
            writer.write(word.upper() + b"!\n")


async def shout_lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.closing(writer):
        while word := await reader.readline():
            writer.write(word.strip().upper() + b"!\n")


async def words_are_read_at_once() -> None:
    async with connected_to(shout) as (reader, writer):
        for word in (b"one", b"two"):
            writer.write(word)
            assert await reader.readline() == word.upper() + b"!\n"


async def words_are_lines() -> None:
    async with connected_to(shout_lines) as (reader, writer):
        for word in (b"one", b"two"):
            writer.write(word + b"\n")
            assert await reader.readline() == word.upper() + b"!\n"


async def the_second_word_is_read_at_once() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        writer.write((await reader.read(100)).upper() + b"\n")
        writer.close()

    async with connected_to(answer) as (reader, writer):
        for word in (b"one\n", b"two"):
            writer.write(word)
            assert (await reader.readline()).strip() == word.strip().upper()


async def a_head_is_read_in_two_reads() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.read(100)
        if b"." not in head:
            head += await reader.read(100)
        writer.write(head[: head.index(b".")].upper() + b"\n")
        writer.close()

    async with connected_to(answer) as (reader, writer):
        writer.write(b"hello.")
        assert await reader.readline() == b"HELLO\n"


async def datagrams_have_ends() -> None:
    loop = asyncio.get_running_loop()
    got: asyncio.Queue[bytes] = asyncio.Queue()

    class Take(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            got.put_nowait(data)

    taker, _ = await loop.create_datagram_endpoint(Take, local_addr=("127.0.0.1", 0))
    giver, _ = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, remote_addr=taker.get_extra_info("sockname")
    )
    giver.sendto(b"whole")
    assert await got.get() == b"whole"
    giver.close()
    taker.close()


def test_a_reader_that_takes_what_it_reads_for_a_message_fails_in_portable_mode() -> None:
    [failure] = explore(words_are_read_at_once, seed=1, mode="portable").failures

    assert failure.constraints is not None
    assert [event[1] for event in failure.constraints] == [SPLIT]
    assert failure.label == "latency"
    assert failure.reproduced == failure.repeats


def test_what_was_read_in_pieces_before_does_not_name_what_is_read_later() -> None:
    [failure] = explore(the_second_word_is_read_at_once, seed=1, mode="portable").failures

    assert failure.constraints is not None
    assert [event[1] for event in failure.constraints] == [SPLIT]


def test_a_reader_that_bears_two_pieces_may_not_bear_many() -> None:
    [failure] = explore(a_head_is_read_in_two_reads, seed=1, mode="portable").failures

    assert failure.constraints is not None
    assert list(failure.constraints.values()) == [answer(SMALL)]
    assert failure.reproduced == failure.repeats


def test_much_comes_in_no_more_pieces_than_take_a_moment() -> None:
    reads: list[int] = []

    async def much() -> None:
        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            reads.clear()
            while data := await reader.read(100_000):
                reads.append(len(data))
            writer.close()

        async with connected_to(take) as (reader, writer):
            writer.write(b"x" * 10_000)
            writer.write_eof()
            await reader.read()

    execution = Execution(much, stretch=True, limits=Limits())
    try:
        execution(InPieces(SMALL))
    finally:
        execution.close()

    assert sum(reads) == 10_000
    assert len(reads) == 64


def test_such_a_reader_is_a_note_by_default_and_nothing_where_the_mode_is_stock() -> None:
    realistic = explore(words_are_read_at_once, seed=1)
    stock = explore(words_are_read_at_once, seed=1, mode="stock")

    assert not realistic.failures
    assert [note.is_split for note in realistic.notes] == [True]
    assert not stock.failures + stock.notes


@pytest.mark.parametrize("program", [words_are_lines, datagrams_have_ends])
def test_who_reads_a_stream_as_one_and_datagrams_are_left_alone(program: Any) -> None:
    for mode in ("realistic", "portable"):
        done = explore(program, seed=1, mode=mode, runs=50)

        assert not done.failures + done.notes


async def aiohttp_answers() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response(await request.json())

    app = web.Application()
    app.router.add_post("/", answer)
    async with TestServer(app) as server, ClientSession() as session:
        for number in range(2):
            async with session.post(server.make_url("/"), json={"n": number}) as response:
                assert await response.json() == {"n": number}


async def websockets_answer() -> None:
    async def shout(peer: websockets.asyncio.server.ServerConnection) -> None:
        async for message in peer:
            await peer.send(str(message).upper())

    async with websockets.asyncio.server.serve(shout, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with websockets.asyncio.client.connect(f"ws://127.0.0.1:{port}") as peer:
            await peer.send("hello")
            assert await peer.recv() == "HELLO"


async def uvicorn_answers_httpx() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        while b"." not in body:
            body += (await receive())["body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body.upper()})

    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="off", log_level="error"))
    serving = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient() as client:
        assert (await client.post(f"http://127.0.0.1:{port}/", content=b"hello.")).text == "HELLO."
    server.should_exit = True
    await serving


async def redis_answers() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            for _ in range(int(line[1:])):
                await reader.readexactly(int((await reader.readline())[1:]) + 2)
            writer.write(b"$5\r\nhello\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with redis.asyncio.Redis(port=port, protocol=2) as client:
            assert await client.get("greeting") == b"hello"


async def a_child_prints() -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-S", "-c", "print('one'); print('two')", stdout=asyncio.subprocess.PIPE
    )
    assert (await child.communicate())[0].split() == [b"one", b"two"]


@pytest.mark.parametrize(
    "program", [aiohttp_answers, websockets_answer, uvicorn_answers_httpx, redis_answers, a_child_prints]
)
def test_libraries_do_not_mind(program: Any) -> None:
    execution = Execution(program, stretch=True, limits=Limits())
    try:
        ways = [InPieces(way) for way in SPLITS]
        errors = [execution(way).error for way in ways]
        asked = [way.asked for way in ways]
    finally:
        execution.close()

    assert errors == [None] * len(SPLITS)
    assert all(asked)


def test_a_run_that_does_not_ask_reads_all_there_is() -> None:
    execution = Execution(words_are_read_at_once, stretch=True, limits=Limits())
    try:
        before = execution(Fifo())
        split = execution(InPieces(SPLITS[0]))
        after = execution(Fifo())
    finally:
        execution.close()

    assert split.error is not None
    assert (before.error, after.error) == (None, None)
    assert before.trace.events() == after.trace.events()


SHOUT = """
from contextlib import closing

async def shout(reader, writer):
    with closing(writer):
        while word := await reader.read(100):
            writer.write(word.upper() + b"!")

async def test_shout():
    async with await asyncio.start_server(shout, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        with closing(writer):
            writer.write(b"hello")
            writer.write_eof()
            assert await reader.read() == b"HELLO!"
"""


def test_the_report_names_the_reader_and_the_pieces_and_its_token_replays_it(explore: Explore) -> None:
    result = explore(SHOUT, "--interleave-mode=portable")

    result.assert_outcomes(failed=1)
    text = " ".join(result.stdout.str().split())
    assert (
        "Fails if data for `await reader.read(100)` (test_it.py:7, task shout) arrives in two pieces, 2 bytes and 3."
    ) in text
    assert "─ 2 of 5 bytes arrive" in text
    [token] = re.findall("--interleave-replay=(\\S+)", text)

    again = explore(SHOUT, f"--interleave-replay={token}")

    again.assert_outcomes(failed=1)
    assert "arrives in two pieces, 2 bytes and 3." in " ".join(again.stdout.str().split())


HEAD = """
from contextlib import closing

async def shout(reader, writer):
    with closing(writer):
        head = await reader.read(100)
        if b"." not in head:
            head += await reader.read(100)
        writer.write(head[:head.index(b".")].upper())

async def test_shout():
    async with await asyncio.start_server(shout, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        with closing(writer):
            writer.write(b"hello.")
            assert await reader.read() == b"HELLO"
"""


def test_the_report_says_how_small_many_pieces_are(explore: Explore) -> None:
    result = explore(HEAD, "--interleave-mode=portable")

    result.assert_outcomes(failed=1)
    text = " ".join(result.stdout.str().split())
    assert "arrives in pieces of 1 byte." in text
    [token] = re.findall("--interleave-replay=(\\S+)", text)

    again = explore(HEAD, f"--interleave-replay={token}")

    again.assert_outcomes(failed=1)
    assert "arrives in pieces of 1 byte." in " ".join(again.stdout.str().split())


def test_the_note_says_what_to_read_instead_and_can_be_made_a_failure(explore: Explore) -> None:
    result = explore(SHOUT)

    result.assert_outcomes(passed=1)
    text = " ".join(result.stdout.str().split())
    assert "latency: fails with AssertionError (test_it.py:16) if data for `await reader.read(100)`" in text
    assert "readexactly" in text

    explore(SHOUT, "--interleave-order-only=fail").assert_outcomes(failed=1)
    assert "pieces" not in explore(SHOUT, "--interleave-order-only=off").stdout.str()
