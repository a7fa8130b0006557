"""Bytes that the system hands over late within one process: time stands still until they are there."""

import asyncio
import contextlib
import socket
import struct
import sys
import threading
import time

import pytest
from connections import connected_to

from parity.loops import on_controlled
from pytest_interleave.errors import Blocked
from pytest_interleave.exploration.execution import Limits
from pytest_interleave.loop import _patience, under_way
from pytest_interleave.loop._delayed import DelayedLoop
from pytest_interleave.schedule import Fifo

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only there the system can be told to be slow")
deciders = pytest.mark.parametrize("decider", [None, Fifo()], ids=["natural", "asked"])

#: How many bytes a second the system may send, once the first few segments are out (linux/socket.h).
SO_MAX_PACING_RATE = 47
LINE = b"x" * 999 + b"\n"
#: More than the first few segments.
LINES = 15


def slow_down(sock, rate=50_000):
    sock.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, rate)


async def echo_slowly(reader, writer):
    slow_down(writer.get_extra_info("socket"))
    try:
        while line := await reader.readline():
            writer.write(line)
    finally:
        writer.close()


@contextlib.contextmanager
def received_in_a_thread(sock):
    """Have all lines received in a thread; give the future of how many bytes that were."""
    loop = asyncio.get_running_loop()
    received = loop.create_future()

    def receive():
        size = 0
        with sock:
            while size < LINES * len(LINE):
                size += len(sock.recv(100_000))
        loop.call_soon_threadsafe(received.set_result, size)

    thread = threading.Thread(target=receive)
    thread.start()
    try:
        yield received
    finally:
        thread.join()


async def asks(reader, writer):
    for _ in range(LINES):
        writer.write(LINE)
        assert await reader.readline() == LINE


@pytest.fixture
def sleeps(monkeypatch):
    """Note the real sleeps of the loop."""
    noted = []
    sleep = _patience.sleep
    monkeypatch.setattr(_patience, "sleep", lambda seconds: noted.append(seconds) or sleep(seconds))
    return noted


@deciders
def test_no_timeout_passes_while_bytes_are_on_their_way(decider):
    async def program():
        async with connected_to(echo_slowly) as (reader, writer), asyncio.timeout(0.01):
            await asks(reader, writer)
        return asyncio.get_running_loop().time()

    assert on_controlled(program, decider) == 0


@deciders
def test_nor_does_one_over_which_the_loop_creeps(decider):
    async def program():
        async with connected_to(echo_slowly) as (reader, writer), asyncio.timeout(0.01):
            asked = asyncio.create_task(asks(reader, writer))
            while not asked.done():
                await asyncio.sleep(0)

    on_controlled(program, decider)


@deciders
def test_no_deadlock_is_told_while_bytes_are_on_their_way(decider):
    async def program():
        async with connected_to(echo_slowly) as (reader, writer):
            await asks(reader, writer)
        return asyncio.get_running_loop().time()

    assert on_controlled(program, decider) == 0


def test_nor_on_a_loop_in_real_time():
    async def program():
        async with connected_to(echo_slowly) as (reader, writer):
            await asks(reader, writer)

    loop = DelayedLoop([], speed=1, decider=None, limits=Limits())
    try:
        loop.run_until_complete(program())
    finally:
        loop.close()


@deciders
def test_the_end_of_a_connection_may_be_on_its_way(decider):
    async def send_and_close(reader, writer):
        await asyncio.sleep(1)  # by when the client waits already
        slow_down(writer.get_extra_info("socket"))
        for _ in range(LINES):
            writer.write(LINE)
            await asyncio.sleep(0)
        writer.close()

    async def program():
        async with connected_to(send_and_close) as (reader, _), asyncio.timeout(1.01):
            received = await reader.read()
        return received == LINE * LINES, asyncio.get_running_loop().time()

    assert on_controlled(program, decider) == (True, 1)


@deciders
def test_a_half_of_a_connection_may_end_on_its_way(decider):
    async def answer_to_all(reader, writer):
        writer.write(b"%d\n" % len(await reader.read()))
        writer.close()

    async def program():
        async with connected_to(answer_to_all) as (reader, writer), asyncio.timeout(0.01):
            slow_down(writer.get_extra_info("socket"))
            for _ in range(LINES):
                writer.write(LINE)
                await asyncio.sleep(0)
            writer.write_eof()
            return await reader.readline()

    assert on_controlled(program, decider) == b"%d\n" % (LINES * len(LINE))


@deciders
def test_bytes_may_be_on_their_way_to_a_thread(decider):
    async def program():
        with socket.create_server(("127.0.0.1", 0)) as server:
            _, writer = await asyncio.open_connection(*server.getsockname())
            accepted, _ = server.accept()
        slow_down(writer.get_extra_info("socket"))
        with received_in_a_thread(accepted) as received, contextlib.closing(writer):
            async with asyncio.timeout(0.01):
                for _ in range(LINES):
                    writer.write(LINE)
                    await asyncio.sleep(0)
                return await received

    assert on_controlled(program, decider) == LINES * len(LINE)


@deciders
def test_between_two_threads_too(decider):
    async def program():
        with socket.create_server(("127.0.0.1", 0)) as server:
            sender = socket.create_connection(server.getsockname())
            accepted, _ = server.accept()
        slow_down(sender)
        with sender, received_in_a_thread(accepted) as received:
            async with asyncio.timeout(0.01):
                for _ in range(LINES):
                    sender.sendall(LINE)
                return await received

    assert on_controlled(program, decider) == LINES * len(LINE)


@deciders
def test_what_the_receiver_has_no_room_for_is_not_on_its_way(decider, sleeps):
    async def never_read(reader, writer):
        writer.transport.pause_reading()
        try:
            await asyncio.sleep(100)
        finally:
            writer.transport.abort()

    async def program():
        async with connected_to(never_read) as (_, writer):
            try:
                async with asyncio.timeout(3):
                    for _ in range(10):
                        writer.write(bytes(1_000_000))
                        await writer.drain()
            except TimeoutError:
                return asyncio.get_running_loop().time()
            finally:
                writer.transport.abort()

    assert on_controlled(program, decider) == 3
    assert sum(sleeps) < _patience._WAY_PATIENCE


@deciders
def test_what_never_comes_is_not_waited_for_for_ever(decider, monkeypatch):
    async def program():
        loop = asyncio.get_running_loop()
        async with connected_to(echo_slowly) as (reader, writer):
            sock = writer.get_extra_info("socket")
            slow_down(sock, 100)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", True, 0))  # closed, it sends no more
            try:
                async with asyncio.timeout(5):
                    await asks(reader, writer)
            except TimeoutError:
                return loop.time()

    monkeypatch.setattr(_patience, "_WAY_PATIENCE", 0.1)

    assert on_controlled(program, decider) == 5


@deciders
def test_a_connection_that_is_accepted_late_is_known_then(decider):
    async def program():
        with socket.create_server(("127.0.0.1", 0)) as server:
            reader, writer = await asyncio.open_connection(*server.getsockname())
            await asyncio.sleep(1)
            sock, _ = server.accept()
        serving = asyncio.create_task(echo_slowly(*await asyncio.open_connection(sock=sock)))
        try:
            async with asyncio.timeout(0.01):
                await asks(reader, writer)
        finally:
            writer.close()
            await serving

    on_controlled(program, decider)


@deciders
def test_one_that_nobody_accepts_is_there(decider, sleeps):
    async def program():
        with socket.create_server(("127.0.0.1", 0)) as server:
            reader, writer = await asyncio.open_connection(*server.getsockname())
            try:
                await reader.read()
            finally:
                writer.close()

    with pytest.raises(Blocked):
        on_controlled(program, decider)
    assert sum(sleeps) < _patience._WAY_PATIENCE


@deciders
def test_where_the_system_does_not_tell_a_datagram_is_waited_for(decider, monkeypatch):
    async def program():
        async with connected_to(echo_slowly) as (reader, writer), asyncio.timeout(0.01):
            await asks(reader, writer)
        return asyncio.get_running_loop().time()

    monkeypatch.setattr(under_way, "is_told_of", lambda sock: False)
    # One that would be as slow as the rest.
    monkeypatch.setattr(under_way, "follow", lambda: time.sleep(0.05) or True)

    assert on_controlled(program, decider) == 0


@deciders
def test_datagrams_are_looked_for_behind_what_is_sent_later(decider, monkeypatch):
    class Receiver(asyncio.DatagramProtocol):
        def __init__(self):
            self.received = asyncio.get_running_loop().create_future()

        def datagram_received(self, data, address):
            self.received.set_result(data)

    async def program():
        transport, receiver = await asyncio.get_running_loop().create_datagram_endpoint(
            Receiver, local_addr=("127.0.0.1", 0)
        )
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            address = transport.get_extra_info("sockname")
            # As if the system had held it back until now.
            monkeypatch.setattr(under_way, "follow", lambda: bool(sender.sendto(b"late", address)))
            try:
                async with asyncio.timeout(3):
                    return await receiver.received
            finally:
                transport.close()

    assert on_controlled(program, decider) == b"late"
