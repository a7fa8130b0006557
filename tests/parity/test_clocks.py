"""Libraries that read Python's clocks, on the controlled loop with virtual ones."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import time

import aiohttp
import cachetools
import httpcore
import pytest
import redis.asyncio
from aiohttp import web

from pytest_interleave import explore

INSTANT = datetime.datetime(2024, 2, 29, 23, 59, 30, tzinfo=datetime.UTC)


def check(program, **options) -> None:
    """Run it in asyncio's own order and in a few others."""
    options = {"runs": 8, "seed": 1, "clocks": INSTANT, **options}
    exploration = explore(program, **options)

    assert exploration.verdict in ("exhausted", "sampled"), str(exploration)


def test_cachetools() -> None:
    async def program():
        cache = cachetools.TTLCache(10, ttl=60)  # its default argument is ``time.monotonic`` itself
        cache["ada"] = "seat"
        await asyncio.sleep(59)
        assert cache["ada"] == "seat"
        await asyncio.sleep(1)
        assert "ada" not in cache

    check(program)


async def serve(app: web.Application) -> tuple[web.AppRunner, str]:
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}/"


def test_cookies_of_aiohttp_and_the_date_in_a_handler() -> None:
    async def handler(request: web.Request) -> web.Response:
        now = datetime.datetime.now(datetime.UTC)
        response = web.json_response([now.isoformat(timespec="seconds"), dict(request.cookies)])
        response.set_cookie("short", "1", max_age=60)
        expires = now + datetime.timedelta(seconds=120)
        response.set_cookie("long", "1", expires=expires.strftime("%a, %d %b %Y %H:%M:%S GMT"))
        return response

    async def program():
        app = web.Application()
        app.router.add_get("/", handler)
        runner, url = await serve(app)
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:

            async def get() -> tuple[str, set[str]]:
                async with session.get(url) as response:
                    date, cookies = await response.json()
                    return date, set(cookies)

            assert await get() == ("2024-02-29T23:59:30+00:00", set())
            await asyncio.sleep(1)
            assert (await get())[1] == {"short", "long"}
            await asyncio.sleep(90)
            date, cookies = await get()
            assert cookies == {"long"}
            assert date >= "2024-03-01T00:01:01"
        await runner.cleanup()

    check(program, mode="stock")


def test_httpcore_closes_what_was_kept_alive_too_long() -> None:
    async def handler(request: web.Request) -> web.Response:
        assert request.transport is not None
        return web.json_response(request.transport.get_extra_info("peername")[1])

    async def program():
        app = web.Application()
        app.router.add_get("/", handler)
        runner, url = await serve(app)
        async with httpcore.AsyncConnectionPool(keepalive_expiry=5) as pool:
            first = (await pool.request("GET", url)).content
            await asyncio.sleep(3)
            assert (await pool.request("GET", url)).content == first
            await asyncio.sleep(6)
            assert (await pool.request("GET", url)).content != first
        await runner.cleanup()

    check(program, mode="stock")


def test_a_key_of_redis_expires_at_the_servers_clock() -> None:
    values: dict[bytes, tuple[bytes, float]] = {}

    handlers = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.append(asyncio.current_task())
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                writer.write(reply([await read_part(reader) for _ in range(int(line[1:]))]))
        writer.close()

    async def read_part(reader: asyncio.StreamReader) -> bytes:
        size = int((await reader.readline())[1:])
        return (await reader.readexactly(size + 2))[:-2]

    def reply(parts: list[bytes]) -> bytes:
        if parts[0] == b"SET":
            values[parts[1]] = parts[2], time.time() + int(parts[4])
        elif parts[0] == b"GET":
            value, expires = values.get(parts[1], (b"", 0.0))
            return b"$%d\r\n%s\r\n" % (len(value), value) if time.time() < expires else b"$-1\r\n"
        return b"+OK\r\n"

    async def program():
        values.clear()
        handlers.clear()
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with redis.asyncio.Redis(port=port, protocol=2) as client:
            await client.set("ada", "seat", ex=60)
            await asyncio.sleep(50)
            assert await client.get("ada") == b"seat"
            await asyncio.sleep(10)
            assert await client.get("ada") is None
        server.close()
        await asyncio.gather(*handlers)

    check(program, mode="stock")


def test_replays_begin_at_the_instant_of_the_search() -> None:
    born = set()

    async def program():
        born.add((time.time(), time.monotonic(), time.perf_counter()))
        left = [True]

        async def book(after: float) -> bool:
            await asyncio.sleep(after)
            seen = left[0]
            await asyncio.sleep(0.01)
            left[0] = False
            return seen

        assert sum(await asyncio.gather(book(0), book(0.05))) == 1

    exploration = explore(program, seed=1, clocks=True)

    assert exploration.verdict == "failed"
    assert exploration.failures[0].reproduced == 5
    assert len(born) == 1


@pytest.mark.parametrize("clocks", [False, True, INSTANT])
def test_they_are_given_back(clocks) -> None:
    async def program():
        await asyncio.sleep(3000)
        raise KeyboardInterrupt

    before = time.monotonic(), time.time()
    with pytest.raises(KeyboardInterrupt):
        explore(program, clocks=clocks)

    assert repr(time.monotonic) == "<built-in function monotonic>"
    assert 0 <= time.monotonic() - before[0] < 600
    assert 0 <= time.time() - before[1] < 600


def test_without_them_the_summary_names_the_argument() -> None:
    async def program():
        start = time.monotonic()
        await asyncio.sleep(0.05)
        assert time.monotonic() - start > 0.05

    assert "With clocks=True they are virtual, and it passes" in str(explore(program))
    check(program)
