"""How a failure reads in which requests to a server race: by request, not by the server's own lines."""

from __future__ import annotations

import re
from fnmatch import fnmatch

import pytest

from pytest_interleave.exploration import search

LAST_WINS = """
import asyncio
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

async def test_last_wins():
    seen = []
    async def put(request):
        seen.append(request.match_info["n"])
        return web.Response()
    app = web.Application()
    app.router.add_put("/values/{n}", put)
    async with TestServer(app) as server, ClientSession() as ada, ClientSession() as grace:
        url = server.make_url("/values")
        for each in (ada, grace) if IS_KEPT else ():
            await each.put(url / "0")
        await asyncio.gather(ada.put(url / "1"), grace.put(url / "2"))
        assert seen[-1] == "2"
"""


@pytest.mark.parametrize(
    ("is_kept", "expected"),
    [
        (
            False,
            "Fails if the connection for request PUT /values/1 comes in after*seen.append*task*PUT /values/2).*",
        ),
        (True, "Fails if request PUT /values/*"),  # of the two, which is moved is the search's affair
    ],
    ids=["new connection", "kept connection"],
)
def test_the_sentence_names_the_requests(pytester: pytest.Pytester, is_kept: bool, expected: str) -> None:
    pytester.makeini("[pytest]\nasyncio_mode = auto")
    pytester.makepyfile(LAST_WINS.replace("IS_KEPT", str(is_kept)))

    result = pytester.runpytest("--interleave", "--interleave-seed=1", "--interleave-time=20")

    result.assert_outcomes(failed=1)
    report = result.stdout.str().partition("- interleave -")[2]
    sentence = " ".join(report.partition("\n\n")[0].split())
    assert "web_protocol.py" not in report
    assert fnmatch(sentence, f"*{expected}")
    assert "PUT /values/1" in sentence
    assert "PUT /values/2" in sentence
    columns = next(line for line in report.splitlines() if line.startswith("time "))
    assert "PUT /values/1" in columns
    assert "PUT /values/2" in columns


STORE = """
import asyncio

class Store:
    stock = 10

    async def load(self):
        await asyncio.sleep(0.01)
        return self.stock

    async def save(self, stock):
        await asyncio.sleep(0.01)
        self.stock = stock

async def buy_twice(post, store):
    async def customer(after):
        await asyncio.sleep(after)
        await post("/buy")
    await asyncio.gather(customer(0), customer(0.5))
    assert store.stock == 8
"""

AIOHTTP = """
from aiohttp import web
from store import Store, buy_twice

async def test_two_buyers(aiohttp_client):
    store = Store()
    async def buy(request):
        await store.save(await store.load() - 1)
        return web.Response()
    app = web.Application()
    app.router.add_post("/buy", buy)
    client = await aiohttp_client(app)
    await buy_twice(client.post, store)
"""

UVICORN = """
import asyncio
import httpx, uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from store import Store, buy_twice

async def test_two_buyers():
    store = Store()
    async def buy(request):
        await store.save(await store.load() - 1)
        return Response()
    app = Starlette(routes=[Route("/buy", buy, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        await buy_twice(client.post, store)
    server.should_exit = True
    await task
"""


@pytest.mark.parametrize("source", [AIOHTTP, UVICORN], ids=["aiohttp", "uvicorn"])
def test_a_lost_update_behind_a_server_is_told_and_shown_in_the_users_own_lines(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    for name in ("_SHRINK_SECONDS", "_SHRINK_REAL_SECONDS"):  # how busy the machine is, is not what this is about
        monkeypatch.setattr(search, name, 60)
    pytester.makeini("[pytest]\nasyncio_mode = auto\npythonpath = .")
    pytester.makepyfile(store=STORE, test_it=source)

    result = pytester.runpytest("--interleave", "--interleave-seed=1", "--interleave-time=60")

    result.assert_outcomes(failed=1)
    report = result.stdout.str().partition("- interleave -")[2].partition("Found in run")[0]
    sentence, _, rest = report.partition("\n\n")
    named = set(re.findall(r"\((\w+\.py):", sentence))
    assert named <= {"store.py", "test_it.py"}
    assert named or "request POST /buy" in sentence
    assert "orders differ" not in sentence
    table = rest[rest.index("time ") :]
    assert "POST /b" in table.splitlines()[0]
    assert len(re.findall(r"self\.stock = stock", table)) == 2


def test_tasks_of_anyio_have_their_functions_names_and_its_runner_is_the_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import anyio
        import pytest

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.mark.anyio
        async def test_a_lost_update():
            state = {"n": 0}

            async def add(after):
                await anyio.sleep(after)
                n = state["n"]
                await charge()
                state["n"] = n + 1

            async with anyio.create_task_group() as group:
                group.start_soon(add, 0)
                group.start_soon(add, 0.05, name="late.add")
            assert state["n"] == 2

        async def charge():
            await anyio.sleep(0.01)
        """
    )

    result = pytester.runpytest("--interleave", "--interleave-seed=1")

    result.assert_outcomes(failed=1)
    text = " ".join(result.stdout.str().split())
    assert fnmatch(text, '*Fails if the sleep of 0.05 s (*, task add #2) ends before `state?"n"? = n + 1` (*')
    result.stdout.fnmatch_lines(["time     the test               add #1                 add #2"])
    result.stdout.no_fnmatch_line("*_asyncio.py*")
