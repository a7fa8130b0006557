"""A library that looks again and again whether there is anything to do is nothing to choose from while there is not."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from pytest_interleave import explore
from pytest_interleave.exploration.execution import Execution, Limits
from pytest_interleave.exploration.result import RunResult
from pytest_interleave.schedule import Fifo

LIBRARY = """
import asyncio

async def look(flags, act=None):
    while not flags:
        await asyncio.sleep(0.1)
        if act is not None:
            act()
"""


def library(tmp_path: Path) -> Any:
    """Return ``look`` from a file that counts as installed."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    names: dict[str, Any] = {"__name__": "looking"}
    exec(compile(LIBRARY, str(folder / "looking.py"), "exec"), names)
    return names["look"]


def own(program: Any) -> RunResult:
    execution = Execution(program, stretch=True, limits=Limits())
    try:
        return execution(Fifo())
    finally:
        execution.close()


def kinds(result: RunResult) -> Counter[str]:
    assert result.error is None
    return Counter(entry[0] for entry in result.trace.entries if isinstance(entry, tuple))


def looking_for(seconds: float, look: Any, act: Any = None) -> Any:
    async def program() -> None:
        flags: list[str] = []
        looking = asyncio.create_task(look(flags, act))
        await asyncio.sleep(seconds)
        flags.append("stop")
        await looking

    return program


def test_what_a_library_does_not_find_is_no_choice_however_often_it_looks(tmp_path: Path) -> None:
    look = library(tmp_path)
    short, long = own(looking_for(0.45, look)), own(looking_for(10.05, look))

    assert kinds(long)["tick"] > 90
    assert short.points == long.points


def test_what_does_something_each_time_is_a_timer_like_any_other(tmp_path: Path) -> None:
    look = library(tmp_path)

    program = looking_for(1.05, look, lambda: asyncio.get_running_loop().call_soon(id, 0))

    assert "tick" not in kinds(own(program))


def test_a_heartbeat_is_a_timer_like_any_other(tmp_path: Path) -> None:
    look = library(tmp_path)
    heard: list[bytes] = []

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            while word := await reader.read(100):
                heard.append(word)

    async def program() -> None:
        async with await asyncio.start_server(hear, "127.0.0.1", 0) as server:
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            await looking_for(1.05, look, lambda: writer.write(b"alive"))()
            writer.close()
            await asyncio.sleep(0.1)

    result = own(program)

    assert "tick" not in kinds(result)
    assert heard == [b"alive"] * len(heard)
    assert len(heard) > 5


def test_polling_of_the_users_own_is_a_choice_each_time() -> None:
    async def look(flags: list[str], act: None) -> None:
        while not flags:
            await asyncio.sleep(0.1)

    assert "tick" not in kinds(own(looking_for(1.05, look)))


def test_a_deadline_behind_many_ticks_is_reached_all_the_same(tmp_path: Path) -> None:
    look = library(tmp_path)

    async def change(state: dict[str, bool]) -> None:
        state["is_open"] = True
        await asyncio.sleep(0.55)  # a service
        state["is_open"] = False

    async def program() -> None:
        flags: list[str] = []
        state = {"is_open": False}
        looking = asyncio.create_task(look(flags))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.75):
                await change(state)
        flags.append("stop")
        await looking
        assert not state["is_open"]

    assert own(program).error is None
    assert explore(program, seed=1).failures


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"here"})


def serving(pause: float) -> Any:
    async def program() -> None:
        server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="off", log_level="error"))
        running = asyncio.create_task(server._serve())
        while not server.started:
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        async with httpx.AsyncClient() as client:
            for _ in range(2):
                await asyncio.sleep(pause)
                assert (await client.get(f"http://127.0.0.1:{port}/")).text == "here"
        server.should_exit = True
        await running

    return program


def test_how_long_uvicorn_has_nothing_to_do_adds_no_choices() -> None:
    short, long = own(serving(0.5)), own(serving(2))

    assert kinds(long)["tick"] > 30
    assert long.points <= short.points + 2
