"""``--interleave-cancel`` drops the connection of each client at each await of the handler that works for it."""

import json
from textwrap import dedent

import pytest
from sessions import run_forked

APP = """
import asyncio
import contextlib
from aiohttp import ClientSession, web


class Stock:
    def __init__(self):
        self.slots = asyncio.Semaphore(1)
        self.saved = []
        self.jobs = set()

    async def save(self, item):
        await asyncio.sleep(0.01)
        self.saved.append(item)


STOCK = web.AppKey("stock", Stock)


async def acquires_before_try(request):
    stock = request.app[STOCK]
    item = await request.json()
    await stock.slots.acquire()
    await stock.save(item)
    stock.slots.release()
    return web.json_response(item)


async def is_right(request):
    stock = request.app[STOCK]
    item = await request.json()
    async with stock.slots:
        await stock.save(item)
    return web.json_response(item)


async def checks_out(request):
    stock = request.app[STOCK]
    await stock.slots.acquire()
    await stock.save(1)
    return web.Response()


async def checks_in(request):
    request.app[STOCK].slots.release()
    return web.Response()


async def leaves_a_task(request):
    stock = request.app[STOCK]
    beat = asyncio.create_task(asyncio.Event().wait())
    await stock.save(1)
    beat.cancel()
    return web.Response()


async def begins_a_job(request):
    stock = request.app[STOCK]

    async def job():
        while True:
            await stock.save(1)

    stock.jobs.add(asyncio.create_task(job()))
    await stock.save(1)
    return web.Response()


async def ends_its_jobs(app):
    yield
    for job in app[STOCK].jobs:
        job.cancel()


async def leaves_a_connection(request):
    _, writer = await asyncio.open_connection("backend", 7000)
    await request.app[STOCK].save(1)
    writer.close()
    return web.Response()


async def swallows(request):
    for _ in range(8):
        with contextlib.suppress(asyncio.CancelledError):
            await request.app[STOCK].save(1)
    return web.Response()


async def waits_for_another(request):
    await request.app[STOCK].slots.acquire()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    return web.Response()


def make_app():
    app = web.Application()
    app[STOCK] = Stock()
    app.cleanup_ctx.append(ends_its_jobs)
    for handler in HANDLERS:
        app.router.add_post(f"/{handler.__name__}", handler)
    return app


HANDLERS = [
    acquires_before_try, is_right, checks_out, checks_in, leaves_a_task, begins_a_job, leaves_a_connection, swallows,
    waits_for_another,
]
"""
HEAD = """
import asyncio
import pytest
from app import make_app

CANCELS = {"handler_cancellation": True}

@pytest.fixture
async def client(aiohttp_client):
    return await aiohttp_client(make_app(), server_kwargs=CANCELS)
"""


def run(pytester: pytest.Pytester, body: str, *arguments: str, app: str = APP) -> pytest.RunResult:
    pytester.makeini("[pytest]\nasyncio_mode = auto\n")
    pytester.makepyfile(app=app, test_it=HEAD + dedent(body))
    return run_forked(pytester, "--interleave-cancel", "--interleave-seed=1", "--interleave-runs=80", *arguments)


def place_of(text: str) -> str:
    """Return where that line stands first."""
    return f"app.py:{[line.strip() for line in APP.strip().splitlines()].index(text) + 1}"


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("acquires_before_try", "a Semaphore is still held, taken at {acquire}"),
        ("leaves_a_task", "the task Event.wait is still there, made at {make}"),
        ("swallows", "the cancellation is swallowed: swallows went on at {sleep}"),
    ],
)
def test_what_a_cancelled_handler_leaves_behind_fails_the_test(pytester: pytest.Pytester, name: str, left: str) -> None:
    body = f"""
    async def test_it(client):
        async with client.post("/{name}", json="book") as response:
            assert response.status == 200
    """
    result = run(pytester, body, "--interleave-json=found.json")

    result.assert_outcomes(failed=1)
    sleep = place_of("await asyncio.sleep(0.01)")
    text = left.format(
        sleep=sleep,
        acquire=place_of("await stock.slots.acquire()"),
        make=place_of("beat = asyncio.create_task(asyncio.Event().wait())"),
    )
    result.stdout.fnmatch_lines(
        [
            f"The client went away, and {text}",
            f"Fails if the client of `{name}` goes away at {sleep} (`await asyncio.sleep(0.01)`).",
            "stock: *5 of 5.",
        ]
    )
    (test,) = json.loads((pytester.path / "found.json").read_text())["tests"]
    again = run_forked(pytester, "-p", "no:cacheprovider", f"--interleave-replay={test['token']}")
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines([f"The client went away, and {text}"])


def test_a_connection_that_it_opened_counts(pytester: pytest.Pytester) -> None:
    body = """
    async def serve(reader, writer):
        await reader.read()
        writer.close()

    async def test_it(hosts, client):
        hosts.serve("backend:7000", serve)
        async with client.post("/leaves_a_connection") as response:
            assert response.status == 200
    """
    result = run(pytester, body)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["The client went away, and a connection is still open, made at app.py:*"])


QUIET = """
async def ask(client, *paths):
    for path in paths:
        async with client.post(path, json="book") as response:
            assert response.status == 200

async def test_right(client):
    await ask(client, "/is_right", "/is_right")

async def test_without_cancellation_the_handler_goes_on(aiohttp_client):
    await ask(await aiohttp_client(make_app()), "/acquires_before_try")

async def test_what_the_next_request_gives_back_is_no_leak(client):
    await ask(client, "/checks_out", "/checks_in")

async def test_what_the_next_request_gives_back_is_no_leak_either(aiohttp_client):
    await ask(await aiohttp_client(make_app()), "/checks_out", "/checks_in")

async def test_a_job_that_outlives_its_request(client):
    await ask(client, "/begins_a_job")

async def test_that_the_client_sees_it_is_no_news(client):
    seen = []
    async def work():
        await ask(client, "/is_right")
        seen.append(1)
    await asyncio.wait([asyncio.create_task(work())])
    assert seen == [1]

async def test_a_handler_that_waits_for_the_test(client):
    asking = asyncio.create_task(ask(client, "/waits_for_another"))
    await asyncio.sleep(1)
    asking.cancel()

async def test_named_host(hosts):
    import aiohttp
    hosts.serve("stock.example.com", make_app())
    async with aiohttp.ClientSession() as session:
        await ask(session, "http://stock.example.com/acquires_before_try")
"""


def test_it_never_cries_wolf(pytester: pytest.Pytester) -> None:
    result = run(pytester, QUIET, "-v")

    result.assert_outcomes(passed=8)
    result.stdout.fnmatch_lines(["*::test_right: *cancelled at each await (tried all *), nothing left behind"])


ASGI = """
import asyncio
from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

slots = None


async def wrong():
    await slots.acquire()
    for number in range(2):
        await asyncio.sleep(0.1)
        yield f"{number}"
    slots.release()


async def right():
    async with slots:
        for number in range(2):
            await asyncio.sleep(0.1)
            yield f"{number}"


async def stream_wrong(request):
    return StreamingResponse(wrong())


async def stream_right(request):
    return StreamingResponse(right())


async def plain(request):
    await slots.acquire()
    await asyncio.sleep(0.1)
    slots.release()
    return JSONResponse(1)


def make_app():
    global slots
    slots = asyncio.Semaphore(1)
    return Starlette(
        routes=[Route("/wrong", stream_wrong), Route("/right", stream_right), Route("/plain", plain)]
    )
"""


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_starlette_cancels_streams_and_lets_the_rest_go_on(pytester: pytest.Pytester, scheme: str) -> None:
    body = f"""
    import aiohttp

    @pytest.mark.parametrize("path", ["wrong", "right", "plain"])
    async def test_it(hosts, path):
        hosts.serve("api.example.com", make_app())
        async with aiohttp.ClientSession() as session:
            async with session.get("{scheme}://api.example.com/" + path) as response:
                await response.read()
    """
    result = run(pytester, body, app=ASGI)

    result.assert_outcomes(failed=1, passed=2)
    result.stdout.fnmatch_lines(
        [
            "*test_it?wrong?*",
            "The client went away, and a Semaphore is still held, taken at app.py:10",
            "Fails if the client of `wrong` goes away at app.py:12 (`await asyncio.sleep(0.1)`).",
        ]
    )


RELAYS = """
import asyncio
from websockets.asyncio.server import serve

async def relay(reader, writer, others):
    others.append(writer)
    writer.write(b"welcome\\n")
    while line := await reader.readline():
        for other in others:
            other.write(line)
    writer.close()

async def chat(websocket, others):
    others.append(websocket)
    await websocket.send("welcome")
    async for text in websocket:
        for other in others:
            await other.send(text)

make_app = None
"""
TEST_OF_RELAYS = """
from functools import partial
import app
from websockets.asyncio.client import connect

async def test_streams():
    async with await asyncio.start_server(partial(app.relay, others=[]), "127.0.0.1", 0) as server:
        address = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(*address)
        other_reader, sender = await asyncio.open_connection(*address)
        assert [await each.readline() for each in (reader, other_reader)] == [b"welcome\\n"] * 2

        async def send():
            sender.write(b"hello\\n")

        async def receive():
            return await reader.readline()

        assert await asyncio.gather(receive(), send()) == [b"hello\\n", None]
        sender.close()
        writer.close()
        await asyncio.sleep(1)

async def test_websockets():
    async with app.serve(partial(app.chat, others=[]), "127.0.0.1", 0) as server:
        url = "ws://127.0.0.1:%d" % server.sockets[0].getsockname()[1]
        async with connect(url) as reader, connect(url) as sender:
            assert [await each.recv() for each in (reader, sender)] == ["welcome"] * 2
            await sender.send("hello")
            assert await reader.recv() == "hello"
"""


def test_who_waits_for_what_the_client_had_sent_is_no_news(pytester: pytest.Pytester) -> None:
    result = run(pytester, TEST_OF_RELAYS, app=RELAYS)

    result.assert_outcomes(passed=2)


FLIGHTS = """
import asyncio

flights = {}

async def load(key):
    await asyncio.sleep(0.01)
    return key

async def handle(reader, writer):
    key = await reader.readline()
    try:
        if key in flights:
            writer.write(await flights[key])
            return
        flight = flights[key] = asyncio.get_running_loop().create_future()
        loading, leaving = asyncio.create_task(load(key)), asyncio.create_task(reader.read())
        await asyncio.wait([loading, leaving], return_when=asyncio.FIRST_COMPLETED)
        if not loading.done():
            loading.cancel()
            return
        leaving.cancel()
        flight.set_result(loading.result())
        writer.write(flights.pop(key).result())
    finally:
        writer.close()

make_app = None
"""
TEST_OF_FLIGHTS = """
import app

async def test_two_ask_for_the_same():
    app.flights.clear()
    async with await asyncio.start_server(app.handle, "127.0.0.1", 0) as server:
        async def ask():
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            try:
                writer.write(b"a\\n")
                return await reader.readline()
            finally:
                writer.close()

        assert await asyncio.gather(ask(), ask(), return_exceptions=True) == [b"a\\n"] * 2
"""


def test_another_handler_that_waits_for_ever_for_that_of_the_client_is_told(pytester: pytest.Pytester) -> None:
    result = run(pytester, TEST_OF_FLIGHTS, app=FLIGHTS)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "The client went away, and somebody waits for ever (nothing can wake it) at app.py:13",
            "Fails if the client of `handle` goes away at app.py:17",
        ]
    )


def test_a_handler_of_streams(pytester: pytest.Pytester) -> None:
    app = """
    import asyncio

    lock = None

    async def handle(reader, writer):
        await lock.acquire()
        writer.write(await reader.readexactly(2))
        lock.release()
        writer.close()
    """
    body = """
    import app

    async def test_it(hosts):
        app.lock = asyncio.Lock()
        hosts.serve("cache:1", app.handle)
        reader, writer = await asyncio.open_connection("cache", 1)
        writer.write(b"a")
        await asyncio.sleep(0.1)
        writer.write(b"b")
        assert await reader.read() == b"ab"
        writer.close()
    """
    result = run(pytester, body.replace("from app import make_app", ""), app=dedent(app) + "make_app = None\n")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "The client went away, and a Lock is still held, taken at app.py:6",
            "Fails if the client of `handle` goes away at app.py:7 (`await reader.readexactly(2)`).",
        ]
    )
