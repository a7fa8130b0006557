"""Unmodified libraries: the same on asyncio's own loop and on the controlled one."""

import asyncio
import contextlib

import aiosqlite
import anyio
import anyio.from_thread
import anyio.to_thread
import fastapi
import httpx
import redis.asyncio
import uvicorn
import websockets.asyncio.client
import websockets.asyncio.server
from aiohttp import ClientSession, ClientTimeout, WSMsgType, web
from aiohttp.test_utils import TestClient, TestServer

from parity.loops import parity

# -- anyio -----------------------------------------------------------------------------------------------------------


@parity
async def test_anyio_task_groups_and_cancel_scopes():
    log = []

    async def work(name, delay, *, task_status=anyio.TASK_STATUS_IGNORED):
        task_status.started(name)
        try:
            await anyio.sleep(delay)
            log.append(name)
        except anyio.get_cancelled_exc_class():
            log.append(f"{name} cancelled")
            raise

    async with anyio.create_task_group() as group:
        log.append(await group.start(work, "quick", 0.01))
        group.start_soon(work, "slow", 100)
        with anyio.move_on_after(0.03) as scope:
            await anyio.sleep_forever()
        log.append(scope.cancelled_caught)
        group.cancel_scope.cancel()
    try:
        with anyio.fail_after(0.01):
            await anyio.sleep(5)
    except TimeoutError:
        log.append("timeout")
    return log


@parity
async def test_anyio_memory_streams():
    send, receive = anyio.create_memory_object_stream(1)
    log = []

    async def produce():
        async with send:
            for number in range(4):
                await send.send(number)
                log.append(("sent", number))

    async with anyio.create_task_group() as group, receive:
        group.start_soon(produce)
        async for item in receive:
            log.append(("received", item))
    return log


@parity
async def test_anyio_threads():
    async def back(value):
        await anyio.sleep(0.01)
        return value * 2

    def work():
        return anyio.from_thread.run(back, 21), anyio.from_thread.run_sync(len, "four")

    results = []
    async with anyio.create_task_group() as group:

        async def call():
            results.append(await anyio.to_thread.run_sync(work))

        for _ in range(3):
            group.start_soon(call)
    return results


@parity
async def test_anyio_tcp():
    async def handle(stream):
        async with stream:
            async for data in stream:
                await stream.send(data.upper())

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, handle)
        async with await anyio.connect_tcp("127.0.0.1", listener.extra(anyio.abc.SocketAttribute.local_port)) as stream:
            await stream.send(b"hello")
            answer = await stream.receive()
        group.cancel_scope.cancel()
    return answer


# -- aiohttp ---------------------------------------------------------------------------------------------------------


def make_aiohttp_app(seconds):
    async def slow(request):
        await asyncio.sleep(seconds)
        return web.json_response({"path": request.path, "body": await request.text()})

    async def socket(request):
        channel = web.WebSocketResponse()
        await channel.prepare(request)
        async for message in channel:
            await channel.send_str(message.data.upper())
        return channel

    async def stream(request):
        response = web.StreamResponse()
        await response.prepare(request)
        for number in range(3):
            await response.write(b"%d" % number)
            await asyncio.sleep(seconds)
        return response

    app = web.Application()
    app.add_routes([web.post("/slow", slow), web.get("/socket", socket), web.get("/stream", stream)])
    return app


@parity
async def test_aiohttp_with_its_own_test_client():
    async with TestClient(TestServer(make_aiohttp_app(0.01))) as client:

        async def ask(number):
            async with client.post("/slow", data=str(number)) as response:
                return response.status, await response.json()

        log = await asyncio.gather(*map(ask, range(3)))
        async with client.ws_connect("/socket") as channel:
            await channel.send_str("hello")
            message = await channel.receive()
            log.append((message.type is WSMsgType.TEXT, message.data))
        async with client.get("/stream") as response:
            log.append(await response.read())
        async with client.get("/missing") as response:
            log.append(response.status)
    return log


@parity
async def test_aiohttp_server_and_client_over_tls(certificates):
    server_context, client_context = certificates
    runner = web.AppRunner(make_aiohttp_app(0.01))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context).start()
    port = runner.addresses[0][1]
    async with ClientSession() as session:
        url = f"https://localhost:{port}/slow"
        async with session.post(url, data="x", ssl=client_context) as response:
            answer = await response.json()
    await runner.cleanup()
    return answer


@parity
async def test_aiohttp_times_out():
    async with TestClient(TestServer(make_aiohttp_app(2))) as client:
        try:
            async with client.post("/slow", timeout=ClientTimeout(total=0.05)):
                return "answered"
        except TimeoutError:
            return "timeout"


# -- uvicorn, httpx, FastAPI -----------------------------------------------------------------------------------------


def make_fastapi_app():
    app = fastapi.FastAPI()

    def dependency():
        return "from a thread"

    @app.get("/sync")
    def sync(value: str = fastapi.Depends(dependency)):
        return {"value": value}

    @app.get("/async")
    async def not_sync():
        await asyncio.sleep(0.01)
        return {"value": "from the loop"}

    @app.get("/stream")
    async def stream():
        async def parts():
            for number in range(3):
                yield str(number)
                await asyncio.sleep(0.001)

        return fastapi.responses.StreamingResponse(parts())

    return app


@contextlib.asynccontextmanager
async def serving(app):
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", ws="none"))
    server.capture_signals = contextlib.nullcontext
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


@parity
async def test_httpx_against_uvicorn_and_fastapi():
    async with serving(make_fastapi_app()) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        answers = await asyncio.gather(*(client.get(path) for path in ("/sync", "/async", "/sync", "/stream", "/no")))
        return [(answer.status_code, answer.text) for answer in answers]


@parity
async def test_fastapi_without_a_server():
    transport = httpx.ASGITransport(make_fastapi_app())
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        answers = await asyncio.gather(*(client.get(path) for path in ("/sync", "/async", "/sync")))
        return [(answer.status_code, answer.text) for answer in answers]


# -- websockets, redis, aiosqlite ------------------------------------------------------------------------------------


@parity
async def test_websockets():
    async def serve(connection):
        async for message in connection:
            await connection.send(message[::-1])

    async with websockets.asyncio.server.serve(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with websockets.asyncio.client.connect(f"ws://127.0.0.1:{port}", proxy=None) as client:
            log = []
            for message in ("abc", b"bytes"):
                await client.send(message)
                log.append(await client.recv())
            await (await client.ping())
    return log


async def serve_redis(reader, writer):
    """Know just enough: SET, GET and INCR; say OK to what else the client asks."""
    store = {}
    while header := await reader.readline():
        words = []
        for _ in range(int(header[1:])):
            size = int((await reader.readline())[1:])
            words.append((await reader.readexactly(size + 2))[:-2])
        command, *arguments = words
        if command == b"GET":
            value = store.get(arguments[0])
            answer = b"$-1\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value)
        elif command == b"INCRBY":
            store[arguments[0]] = b"%d" % (int(store.get(arguments[0], b"0")) + int(arguments[1]))
            answer = b":%s\r\n" % store[arguments[0]]
        else:
            if command == b"SET":
                store[arguments[0]] = arguments[1]
            answer = b"+OK\r\n"
        writer.write(answer)
    writer.close()


@parity
async def test_redis():
    async with await asyncio.start_server(serve_redis, "127.0.0.1", 0) as server:
        client = redis.asyncio.Redis(port=server.sockets[0].getsockname()[1], protocol=2)
        async with client:
            log = [await client.set("key", "value"), await client.get("key"), await client.get("none")]
            async with client.pipeline(transaction=False) as pipeline:
                log.append(await pipeline.incr("n").incr("n", 5).execute())
        return log


@parity
async def test_aiosqlite():
    async with aiosqlite.connect(":memory:") as database:
        await database.execute("create table t (n integer)")
        await database.executemany("insert into t values (?)", [(number,) for number in range(3)])
        await database.commit()
        async with database.execute("select n from t order by n desc") as cursor:
            rows = [row async for row in cursor]

        async def count():
            async with database.execute("select count(*) from t") as cursor:
                return await cursor.fetchone()

        return rows, await asyncio.wait_for(asyncio.gather(count(), count()), 5)
