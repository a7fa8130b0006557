"""Unmodified clients and servers at named hosts. ``test_hosts.py`` runs this file in several ways."""

import asyncio
import socket

import aiohttp
import httpx
import pytest
import redis.asyncio
import websockets
from aiohttp import web
from fastapi import FastAPI, WebSocket

from pytest_interleave import Hosts

pytestmark = pytest.mark.asyncio
both_schemes = pytest.mark.parametrize("scheme", ["http", "https"])


def make_app():
    async def hello(request):
        return web.json_response({"scheme": request.scheme, "host": request.host})

    async def talk(request):
        channel = web.WebSocketResponse()
        await channel.prepare(request)
        async for message in channel:
            await channel.send_str(message.data.upper())
        return channel

    async def upload(request):
        return web.Response(text=str(len(await request.read())))

    app = web.Application(client_max_size=10**8)
    app.router.add_get("/", hello)
    app.router.add_get("/talk", talk)
    app.router.add_post("/upload", upload)
    return app


def make_fastapi():
    app = FastAPI()

    @app.get("/sync")
    def in_thread():
        return {"from": "thread"}

    @app.get("/")
    async def hello():
        return {"from": "loop"}

    @app.websocket("/talk")
    async def talk(channel: WebSocket):
        await channel.accept()
        await channel.send_text((await channel.receive_text()).upper())
        await channel.close()

    return app


async def fake_redis(reader, writer):
    store = {}
    while line := await reader.readline():
        words = []
        for _ in range(int(line[1:])):
            size = int((await reader.readline())[1:])
            words.append((await reader.readexactly(size + 2))[:-2])
        if words[0] == b"SET":
            store[words[1]] = words[2]
            writer.write(b"+OK\r\n")
        elif words[0] == b"GET":
            value = store.get(words[1])
            writer.write(b"$-1\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value))
        elif words[0] == b"HELLO":
            writer.write(b"*2\r\n$5\r\nproto\r\n:2\r\n")
        else:
            writer.write(b"+OK\r\n")


@both_schemes
async def test_aiohttp_client_and_application(hosts, scheme):
    hosts.serve("api.example.com", make_app())

    async with aiohttp.ClientSession() as session:
        for _ in range(2):
            async with session.get(f"{scheme}://api.example.com/") as response:
                assert await response.json() == {"scheme": scheme, "host": "api.example.com"}
        async with session.post(f"{scheme}://api.example.com/upload", data=b"x" * 30_000) as response:
            assert await response.text() == "30000"
        async with session.ws_connect(f"{scheme}://api.example.com/talk") as channel:
            await channel.send_str("hello")
            assert await channel.receive_str() == "HELLO"

    assert hosts["api.example.com"].connections == 1


@both_schemes
async def test_httpx_and_fastapi(hosts, scheme):
    hosts.serve("api.example.com", make_fastapi())

    async with httpx.AsyncClient(base_url=f"{scheme}://api.example.com") as client:
        one, two = await asyncio.gather(client.get("/"), client.get("/sync"))

    assert (one.json(), two.json()) == ({"from": "loop"}, {"from": "thread"})


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_websockets(hosts, scheme):
    hosts.serve("live.example.com", make_fastapi())

    async with websockets.connect(f"{scheme}://live.example.com/talk") as channel:
        await channel.send("hello")
        assert await channel.recv() == "HELLO"


async def test_redis(hosts):
    hosts.serve("redis://cache", fake_redis)

    async with redis.asyncio.Redis(host="cache") as client:
        await client.set("key", "value")
        assert await client.get("key") == b"value"


async def test_several_hosts_at_once(hosts):
    hosts.serve("*.example.com", make_app())
    hosts.serve("https://other.org:8443", make_app())
    hosts.serve("https://my_service", make_app())
    urls = ["http://a.example.com", "https://b.example.com", "https://other.org:8443", "https://my_service"]

    async def fetch(session, url):
        async with session.get(url) as response:
            return (await response.json())["host"]

    async with aiohttp.ClientSession() as session:
        found = await asyncio.gather(*(fetch(session, url) for url in urls))

    assert found == ["a.example.com", "b.example.com", "other.org:8443", "my_service"]


async def test_a_later_declaration_wins(hosts):
    async def answer(reader, writer):
        writer.write(b"second")

    async def old(reader, writer):
        writer.write(b"first")

    hosts.serve("cache:1", old)
    hosts.serve("cache:1", answer)

    reader, writer = await asyncio.open_connection("cache", 1)
    assert await reader.read() == b"second"
    writer.close()


async def test_a_sync_client_in_a_thread(hosts):
    async def answer(reader, writer):
        writer.write(b"hello")

    def talk():
        with socket.create_connection(("cache", 1), timeout=5) as sock:
            return sock.recv(5)

    hosts.serve("cache:1", answer)

    assert await asyncio.to_thread(talk) == b"hello"


async def test_a_handler_that_hangs_does_not_hold_up_the_end(hosts):
    async def hang(reader, writer):
        await asyncio.Event().wait()

    async def slow(request):
        await asyncio.sleep(3600)

    app = web.Application()
    app.router.add_get("/", slow)
    hosts.serve("cache:1", hang)
    hosts.serve("api.example.com", app)
    _, writer = await asyncio.open_connection("cache", 1)
    with pytest.raises(TimeoutError):
        async with aiohttp.ClientSession() as session, asyncio.timeout(0.05):
            await session.get("http://api.example.com/")
    writer.close()


async def test_a_port_that_is_not_declared_refuses(hosts):
    hosts.serve("api.example.com:8080", make_app())

    async with aiohttp.ClientSession() as session:
        with pytest.raises(
            aiohttp.ClientConnectorError, match=r"the test declares api\.example\.com at 8080"
        ) as caught:
            await session.get("http://api.example.com/")

    assert caught.value.errno == 111


async def test_loopback_addresses_and_localhost_work_as_ever(hosts):
    async def answer(reader, writer):
        writer.write(b"hello")
        writer.close()

    async with await asyncio.start_server(answer, "localhost", 0, family=socket.AF_INET) as server:
        for name in ("127.0.0.1", "localhost"):
            reader, writer = await asyncio.open_connection(name, server.sockets[0].getsockname()[1])
            assert await reader.read() == b"hello"
            writer.close()


@pytest.mark.interleave_allow("undeclared-host")
async def test_what_is_not_declared_is_refused(hosts):
    hosts.serve("api.example.com", make_app())

    with pytest.raises(socket.gaierror, match=r"Did you mean api\.example\.com"):
        await asyncio.open_connection("api.exmaple.com", 80)
    with pytest.raises(OSError, match=r"8\.8\.8\.8:53 is no host of this test"):
        await asyncio.open_connection("8.8.8.8", 53)
    with pytest.raises(httpx.ConnectError):
        async with httpx.AsyncClient() as client:
            await client.get("http://[2001:db8::1]/")
    with pytest.raises(aiohttp.ClientConnectorDNSError):
        async with aiohttp.ClientSession() as session:
            await session.get("http://nobody.example.org")
    with socket.socket(type=socket.SOCK_DGRAM) as sock, pytest.raises(OSError, match=r"8\.8\.8\.8:53 is no host"):
        sock.sendto(b"x", ("8.8.8.8", 53))
    assert [refusal.target for refusal in hosts.refusals][:2] == ["api.exmaple.com:80", "8.8.8.8:53"]


async def test_hosts_of_a_block():
    async with Hosts() as outer:
        outer.serve("a.example.com", make_app())
        async with Hosts() as inner:
            inner.serve("b.example.com", make_app())
            async with httpx.AsyncClient() as client:
                assert (await client.get("http://a.example.com")).json()["host"] == "a.example.com"
                assert (await client.get("http://b.example.com")).json()["host"] == "b.example.com"


async def test_udp_on_loopback(hosts):
    received = asyncio.get_running_loop().create_future()

    class Protocol(asyncio.DatagramProtocol):
        def datagram_received(self, data, address):
            received.set_result(data)

    loop = asyncio.get_running_loop()
    server, _ = await loop.create_datagram_endpoint(Protocol, ("127.0.0.1", 0))
    client, _ = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, remote_addr=server.get_extra_info("sockname")
    )
    client.sendto(b"hello")

    assert await received == b"hello"
    client.close()
    server.close()
