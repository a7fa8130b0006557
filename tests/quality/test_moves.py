"""One event that is moved, at the one turn at which it does harm: each move is another order, so that few runs do."""

from __future__ import annotations

import asyncio
import importlib.util
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pytest_interleave import explore
from quality.outside import remote


async def _pass_on() -> None:
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, None)
    await future


async def _answer_that_comes_while_all_is_cleared_away() -> None:
    """Only where the answer is late, there are the turns at which it may come; asyncio's own run does not show them."""
    answers: list[str] = []

    async def ask() -> None:
        await remote("answer")
        answers.append("yes")

    async def give_up() -> None:
        await asyncio.sleep(0.02)
        if not answers:
            for turn in range(20):
                before = len(answers)
                await _pass_on()
                assert turn != 12 or len(answers) == before

    await asyncio.gather(ask(), give_up())


@pytest.mark.parametrize("seed", range(4))
def test_a_turn_that_only_lateness_brings_is_found(seed: int) -> None:
    exploration = explore(_answer_that_comes_while_all_is_cleared_away, seed=seed, runs=200)

    assert exploration.verdict == "failed"


async def _a_look_while_one_of_many_lines_is_answered() -> None:
    """One timer meets one of many arrivals, of which each can be moved as often."""
    busy: list[str] = []
    seen: list[str] = []
    served = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            if line == b"2\n":
                busy.append("for one turn")
                await asyncio.sleep(0)
                busy.clear()
            writer.write(line)
        writer.close()
        await writer.wait_closed()
        served.set()

    async def talk() -> None:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for number in range(1, 10):
            writer.write(b"%d\n" % number)
            await reader.readline()
        writer.close()
        await writer.wait_closed()
        await served.wait()

    async def look_in() -> None:
        await remote("a look")
        seen.extend(busy)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        await asyncio.gather(talk(), look_in())
    assert not seen


@pytest.mark.parametrize("seed", range(4))
def test_a_timer_does_not_stand_behind_all_that_arrives(seed: int) -> None:
    exploration = explore(_a_look_while_one_of_many_lines_is_answered, seed=seed, runs=240)

    assert exploration.verdict == "failed"


LIBRARY = """
import asyncio

async def request(waiting, send, lost):
    waiting["token"] = future = asyncio.get_running_loop().create_future()
    send()
    try:
        return await asyncio.wait_for(future, 0.3)
    except TimeoutError:
        if waiting.pop("token", None) is None:
            lost.append("token")  # the reply has taken it
        return None
"""


def _installed(folder: Path) -> ModuleType:
    file = folder / "site-packages" / "some_client.py"
    file.parent.mkdir()
    file.write_text(LIBRARY)
    spec = importlib.util.spec_from_file_location("some_client", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("seed", range(4))
def test_a_library_s_deadline_meets_its_reply(tmp_path: Path, seed: int) -> None:
    client = _installed(tmp_path)

    async def reply_and_timeout() -> None:
        waiting: dict[str, asyncio.Future[str]] = {}
        jobs: list[asyncio.Task[None]] = []
        lost: list[str] = []

        async def answer() -> None:
            for number in range(12):
                await remote(f"hop {number}")
            for _ in range(6):
                await _pass_on()
            future = waiting.pop("token", None)
            if future is not None and not future.done():
                future.set_result("here you are")

        await client.request(waiting, lambda: jobs.append(asyncio.create_task(answer())), lost)
        await asyncio.gather(*jobs)

        assert not lost

    exploration = explore(reply_and_timeout, seed=seed, runs=100)

    assert exploration.verdict == "failed"


def test_what_comes_in_late_does_not_rename_what_the_test_makes() -> None:
    """A task that a callback makes, as for a connection, has one name, whatever its listener makes meanwhile."""
    names: list[tuple[int, ...]] = []

    async def makes_a_task(*, first: bool) -> None:
        loop: Any = asyncio.get_running_loop()
        made: list[Any] = []
        loop.call_soon(lambda: made.append(loop.create_task(asyncio.sleep(0))))
        if not first:
            await asyncio.sleep(0)
        own: Any = asyncio.create_task(asyncio.sleep(0))
        await own
        await asyncio.gather(*made)
        names.append((loop.ordinals[own.number], loop.ordinals[made[0].number]))

    explore(partial(makes_a_task, first=True), runs=1)
    explore(partial(makes_a_task, first=False), runs=1)

    assert names[0] == names[-1]
