"""``concurrently``: what is in flight at once, and what holds the others back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anyio
import httpx
import pytest
from aiohttp import web
from traffic.conftest import run

from pytest_interleave import Concurrency, concurrently

Get = Callable[[], Awaitable[object]]


async def operate() -> None:
    await asyncio.sleep(1)


def failure_of(program: Callable[[], Any]) -> str:
    with pytest.raises(AssertionError) as failure:
        run(program())
    return str(failure.value)


@asynccontextmanager
async def serving(seconds: float) -> AsyncIterator[str]:
    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(seconds)
        return web.Response(text="done")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def by_aiohttp(limit: int, seconds: float = 1.0) -> AsyncIterator[Get]:
    async with serving(seconds) as url, aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=limit)) as session:

        async def get() -> None:
            async with session.get(url) as response:
                assert await response.text() == "done"

        yield get


@asynccontextmanager
async def by_httpx(limit: int, seconds: float = 1.0) -> AsyncIterator[Get]:
    async with serving(seconds) as url, httpx.AsyncClient(limits=httpx.Limits(max_connections=limit or None)) as client:

        async def get() -> None:
            assert (await client.get(url)).text == "done"

        yield get


async def gather_ten(get: Get, **expected: int) -> Concurrency:
    with concurrently(**expected) as block:
        await asyncio.gather(*(get() for _ in range(10)))
    return block


def test_ten_operations_under_gather_take_one_second() -> None:
    block = run(gather_ten(operate, at_least=10, at_most=10))

    assert (block.most, block.seconds, block.clock) == (10, 1, "virtual")
    assert repr(block) == "<Concurrency: at most 10 in flight at once, in 1 s of virtual time>"
    assert block.describe().endswith("= in flight, . held back")


def test_a_task_group_and_async_with_do_as_well() -> None:
    async def program() -> Concurrency:
        async with concurrently(at_least=3) as block, asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(operate())
        return block

    assert run(program()).most == 3


def test_tasks_that_anyio_makes_for_the_user_count() -> None:
    async def program() -> Concurrency:
        with concurrently(at_least=3) as block:
            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(operate)
        return block

    assert run(program()).most == 3


@pytest.mark.parametrize("client", [by_aiohttp, by_httpx])
@pytest.mark.parametrize("start", [run, asyncio.run])
def test_a_server_that_answers_at_once_makes_no_difference(client: Any, start: Any) -> None:
    async def program() -> Concurrency:
        async with client(0, 0.0) as get:
            return await gather_ten(get, at_least=10)

    assert start(program()).most == 10


@pytest.mark.parametrize("client", [by_aiohttp, by_httpx])
def test_clients_overlap_and_the_server_in_the_test_does_not_count(client: Any) -> None:
    async def program() -> tuple[Concurrency, Concurrency]:
        async with client(0) as get:
            many = await gather_ten(get, at_least=10)
            with concurrently(at_least=1) as one:
                await get()
                await get()
            return many, one

    many, one = run(program())

    assert (many.most, many.seconds) == (10, 1)
    assert (one.most, one.seconds) == (1, 2)


@pytest.mark.parametrize(
    ("client", "holder"),
    [
        (by_aiohttp, "Held back by aiohttp's TCPConnector(limit=, limit_per_host=) at test_overlap.py:"),
        (by_httpx, "Held back by httpx's Limits(max_connections=) at test_overlap.py:"),
    ],
)
def test_the_limit_of_a_pool_is_named(client: Any, holder: str) -> None:
    async def program() -> None:
        async with client(2) as get:
            await gather_ten(get, at_least=10)

    text = failure_of(program)

    assert text.startswith("At most 2 in flight at once, where 10 were expected.")
    assert holder in text


def test_a_semaphore_is_named_with_its_line_and_the_timeline_shows_the_turns() -> None:
    async def program() -> None:
        limit = asyncio.Semaphore(5)

        async def limited() -> None:
            async with limit:
                await operate()

        await gather_ten(limited, at_least=10)

    text = failure_of(program)

    assert "Held back by Semaphore at test_overlap.py:" in text
    assert ": async with limit:" in text
    assert text.count("limited |" + "=" * 25 + " " * 25 + "|") == 5
    assert text.count("limited |" + "." * 25 + "=" * 25 + "|") == 5


@pytest.mark.parametrize("kind", ["lock", "queue", "event"])
def test_other_things_that_hold_back_are_named(kind: str) -> None:
    async def program() -> None:
        lock, queue, event = asyncio.Lock(), asyncio.Queue[int](), asyncio.Event()
        queue.put_nowait(1)

        async def held(number: int) -> None:
            if kind == "lock":
                async with lock:
                    await operate()
            elif kind == "queue":
                await queue.get()
                await operate()
                queue.put_nowait(1)
            else:
                if number:
                    await event.wait()
                await operate()
                event.set()

        with concurrently(at_least=3):
            await asyncio.gather(held(0), held(1), held(2))

    text = failure_of(program)

    assert f"Held back by {kind.capitalize()} at test_overlap.py:" in text


def test_a_loop_is_told_by_its_lines() -> None:
    async def one_by_one() -> None:
        for _ in range(3):
            await operate()

    async def program() -> None:
        with concurrently(at_least=3):
            await one_by_one()

    text = failure_of(program)

    assert "One task does it all, one operation after the other:\n  test_overlap.py:" in text
    assert ": await one_by_one()\n  test_overlap.py:" in text
    assert "Let them overlap: asyncio.gather(), or asyncio.TaskGroup." in text


def test_a_library_s_coroutines_are_told_by_the_line_that_makes_tasks_of_them() -> None:
    async def program() -> None:
        limits = httpx.Limits(max_connections=2)
        async with serving(1) as url, httpx.AsyncClient(limits=limits) as client:
            with concurrently(at_least=3):
                await asyncio.gather(*(client.get(url) for _ in range(3)))

    text = failure_of(program)

    assert text.count("AsyncClient.get |") == 3
    assert text.count("| test_overlap.py:") == 3
    assert "Held back by httpx's Limits(max_connections=) at test_overlap.py:" in text


def test_a_loop_is_told_also_where_a_library_makes_tasks_for_it() -> None:
    async def program() -> None:
        async with by_httpx(0) as get:
            with concurrently(at_least=3):
                for _ in range(3):
                    await get()

    assert "One task does it all, one operation after the other:\n  test_overlap.py:" in failure_of(program)


@pytest.mark.parametrize("start", [asyncio.run, run], ids=["plain", "virtual"])
def test_what_is_waited_for_in_real_time_does_not_block(start: Any) -> None:
    async def program() -> None:
        with concurrently(at_least=2):
            await asyncio.to_thread(time.sleep, 0.2)

    with pytest.raises(AssertionError) as failure:
        start(program())

    assert "One task does it all" in str(failure.value)
    assert "Blocked" not in str(failure.value)


def test_long_lines_are_cut_at_a_hundred_columns() -> None:
    async def operation_with_quite_a_long_name_of_its_own(number: int) -> None:
        await asyncio.sleep({0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0, 4: 5.0, 5: 6.0, 6: 7.0, 7: 8.0, 8: 9.0}[number])

    async def program() -> None:
        with concurrently(at_least=3):
            await asyncio.gather(*map(operation_with_quite_a_long_name_of_its_own, range(2)))

    lines = failure_of(program).splitlines()

    assert max(map(len, lines)) == 100
    assert sum(line.endswith("…") for line in lines) == 2


def test_a_blocking_call_is_named() -> None:
    async def program() -> None:
        async def block() -> None:
            time.sleep(0.02)

        await gather_ten(block, at_least=2)

    text = failure_of(program)

    assert "in 10 goes: test_overlap.py:" in text
    assert ": time.sleep(0.02)" in text


def test_a_mock_that_answers_at_once_is_told_of() -> None:
    async def answer() -> None:
        pass

    text = failure_of(lambda: gather_ten(answer, at_least=2))

    assert "Nothing was in flight at all: what the block calls never waits" in text


def test_a_limit_that_must_hold() -> None:
    text = failure_of(lambda: gather_ten(operate, at_most=3))

    assert text.startswith("10 in flight at once, where at most 3 may be.")


def test_a_plain_loop_measures_what_was() -> None:
    block = asyncio.run(gather_ten(lambda: asyncio.sleep(0.05), at_least=10))

    assert (block.most, block.clock) == (10, "real")
    assert block.seconds >= 0.05


def test_blocks_of_different_tasks_may_cross_and_leave_nothing_behind() -> None:
    async def block(start: float, length: float, number: int) -> int:
        await asyncio.sleep(start)
        with concurrently(at_least=number, at_most=number) as found:
            await asyncio.gather(*(asyncio.sleep(length) for _ in range(number)))
        return found.most

    async def program() -> list[int]:
        loop: Any = asyncio.get_running_loop()
        found = await asyncio.gather(block(0, 5, 2), block(1, 10, 3), block(2, 1, 4))
        assert "create_task" not in vars(loop)
        assert "select" not in vars(loop._selector)
        assert getattr(loop, "on_idle", None) is None
        return found

    sleep = time.sleep

    assert run(program()) == [2, 3, 4]
    assert time.sleep is sleep


def test_an_error_in_the_block_stays_what_it_is() -> None:
    async def program() -> None:
        with concurrently(at_least=10):
            raise KeyError("own")

    with pytest.raises(KeyError, match="own"):
        run(program())


def test_what_it_needs_is_said_in_one_line() -> None:
    with pytest.raises(ValueError, match="needs at_least= or at_most="):
        concurrently()
    with pytest.raises(ValueError, match="0 is not a valid at_least"):
        concurrently(at_least=0)
    with pytest.raises(RuntimeError, match="use it in an async test"), concurrently(at_least=1):
        pass


def test_under_pytest_it_works_in_every_kind_of_run(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
import asyncio, pytest
from pytest_interleave import concurrently

async def both():
    with concurrently(at_least=2) as block:
        await asyncio.gather(asyncio.sleep(0.01), asyncio.sleep(0.01))
    return block

@pytest.mark.asyncio
async def test_plain():
    assert (await both()).clock == "real"

@pytest.mark.asyncio
@pytest.mark.virtual_time
async def test_virtual():
    assert (await both()).clock == "virtual"

@pytest.mark.asyncio
@pytest.mark.interleave(runs=5)
async def test_explored():
    await both()

@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.virtual_time
async def test_wide():
    with concurrently(at_least=2):
        for _ in range(2):
            await asyncio.sleep(1)
"""
    )
    result = pytester.runpytest("--interleave-seed=1")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["*One task does it all*", "*py:*: await asyncio.sleep(1)"])
    result.stdout.no_fnmatch_line("*overlap.py:*")
