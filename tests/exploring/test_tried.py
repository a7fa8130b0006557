"""What came of a failure on asyncio's own loop, in real time, with its delays for real."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from quality.kernels import KERNELS, Kernel
from quality.programs import answers_of_two_services_come_in_order, ends_within_three_turns

from pytest_interleave import choose, explore
from pytest_interleave.exploration import Failure, trial
from pytest_interleave.exploration.execution import Execution, Limits
from pytest_interleave.loop import _delayed
from pytest_interleave.loop._delayed import DelayedLoop

Program = Callable[[], Coroutine[Any, Any, None]]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a busy machine take its time."""
    monkeypatch.setattr(trial, "_SECONDS", 30.0)
    monkeypatch.setattr(_delayed, "_PATIENCE", 10.0)


async def service(seconds: float) -> None:
    await asyncio.sleep(seconds)


async def in_order(*seconds: float) -> None:
    ended: list[int] = []

    async def call(number: int) -> None:
        await service(seconds[number])
        ended.append(number)

    await asyncio.gather(*map(call, range(len(seconds))))
    assert ended == sorted(ended)


async def a_slow_service() -> None:
    await in_order(0.01, 0.03)


async def many_services() -> None:
    await in_order(*(number / 1000 for number in range(1, 12)))


async def locks_in_two_orders() -> None:
    a, b = asyncio.Lock(), asyncio.Lock()

    async def transfer(source: asyncio.Lock, target: asyncio.Lock, after: float) -> None:
        await asyncio.sleep(after)
        async with source:
            await service(0.01)
            async with target:
                pass

    await asyncio.gather(transfer(a, b, 0), transfer(b, a, 0.03))


async def locks_in_two_orders_while_a_server_listens() -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    try:
        await locks_in_two_orders()
    finally:
        server.close()


async def a_timeout_beats_three_turns() -> None:
    await ends_within_three_turns(0.1)


async def answers_of_threads() -> None:
    ended: list[int] = []

    async def call(number: int) -> None:
        await asyncio.to_thread(int)
        ended.append(number)

    await asyncio.gather(call(1), call(2))
    assert ended == [1, 2]


async def streams() -> None:
    ended: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def call(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"%d\n" % number)
        await reader.readline()
        writer.close()
        ended.append(number)

    await asyncio.gather(call(1), call(2))
    server.close()
    assert ended == [1, 2]


async def who_swallows_every_cancellation() -> None:
    async def stubborn() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                pass

    left = asyncio.create_task(stubborn())
    await in_order(0.01, 0.03)
    left.cancel()


async def who_never_rests() -> None:
    async def busy() -> None:
        while True:
            await asyncio.sleep(0)

    left = asyncio.create_task(busy())
    await in_order(0.01, 0.03)
    left.cancel()


async def a_value_and_a_slow_service() -> None:
    seen: list[str] = []

    async def call(name: str, seconds: float) -> None:
        await service(seconds)
        seen.append(name)

    kind = choose(["read", "write"])
    await asyncio.gather(call("first", 0.01), call("second", 0.03))
    assert kind == "read" or seen == ["first", "second"]


def find(program: Program) -> Failure:
    [failure] = explore(program, seed=3, runs=2000).failures
    return failure


@pytest.mark.parametrize(
    "program",
    [
        a_slow_service,
        many_services,
        locks_in_two_orders,
        locks_in_two_orders_while_a_server_listens,
        a_timeout_beats_three_turns,
        answers_of_threads,
        streams,
        answers_of_two_services_come_in_order,
        who_swallows_every_cancellation,
        who_never_rests,
        a_value_and_a_slow_service,
    ],
)
def test_what_asyncio_can_do_fails_on_its_own_loop_with_real_delays(program: Program) -> None:
    failure = find(program)

    assert str(failure.tried) == "same"
    assert "; on a plain loop, with those delays for real" in " ".join(failure.text.split())
    assert "it fails the same way.\n" in failure.text


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_each_known_bug_fails_there_the_same_way(kernel: Kernel) -> None:
    assert str(find(kernel.buggy).tried) == "same"


@pytest.mark.parametrize("program", [a_slow_service, many_services, locks_in_two_orders, a_timeout_beats_three_turns])
def test_nothing_fails_there_that_is_not_delayed(program: Program) -> None:
    execution = Execution(program, stretch=False, limits=Limits())
    loop = DelayedLoop([], speed=1, decider=None, limits=Limits())

    error = execution.on_loop(loop)
    execution.close()

    assert error is None
    assert loop.is_closed()


def test_its_clock_is_real_and_nothing_comes_before_its_time() -> None:
    moments: list[tuple[float, float]] = []

    async def sleep_twice() -> None:
        for _ in range(2):
            await service(0.02)
            moments.append((asyncio.get_running_loop().time(), time.perf_counter()))

    execution = Execution(sleep_twice, stretch=False, limits=Limits())
    began = time.perf_counter()
    error = execution.on_loop(
        # A schedule in which the first sleep ends at once, which no asyncio does.
        DelayedLoop([((1,), "timer", 1), ((1,), "step", 1)], speed=1, decider=None, limits=Limits())
    )
    execution.close()

    assert error is None
    assert all(now - began >= 0.02 * count for count, (_, now) in enumerate(moments, start=1))
    assert all(own >= 0.02 * count for count, (own, _) in enumerate(moments, start=1))


def test_what_fails_in_virtual_time_only_is_told_and_stays_a_failure() -> None:
    async def measures_real_time() -> None:
        began = time.perf_counter()
        try:
            await in_order(0.2, 0.5)
        except AssertionError:
            assert time.perf_counter() - began > 0.4

    exploration = explore(measures_real_time, seed=3)
    [failure] = exploration.failures

    assert exploration.verdict == "failed"
    assert str(failure.tried) == "passed"
    assert failure.tried is not None
    assert failure.tried.speed == pytest.approx(0.5 / 0.4)
    assert (
        "Reproduced 5 of 5; on a plain loop, with those delays for real, 1.2 times as fast, it does not fail."
        in " ".join(failure.text.split())
    )


def test_another_failure_there_is_told_with_its_place() -> None:
    async def fails_twice() -> None:
        try:
            await in_order(0.01, 0.03)
        except AssertionError:
            if isinstance(asyncio.get_running_loop(), DelayedLoop):
                raise KeyError("later") from None
            raise

    failure = find(fails_twice)

    assert str(failure.tried).startswith("other: KeyError at test_tried.py:")
    assert "for real, it fails otherwise (KeyError at test_tried.py:" in " ".join(failure.text.split())


def test_long_sleeps_are_not_waited_for() -> None:
    async def an_hourly_report() -> None:
        await in_order(55, 60)

    failure = find(an_hourly_report)

    assert str(failure.tried) == "not tried: the run takes 60 s"
    assert "5 of 5; not tried on a plain loop: the run takes 60 s." in " ".join(failure.text.split())


def test_where_nothing_is_late_there_is_nothing_to_try() -> None:
    async def fails_anyhow() -> None:
        await service(0.01)
        raise ValueError

    async def fails_for_a_value() -> None:
        await service(0.01)
        assert choose([1, 2]) == 1

    assert find(fails_anyhow).tried is None
    assert find(fails_for_a_value).tried is None


def test_it_can_be_left_out() -> None:
    [failure] = explore(a_slow_service, seed=3, on_plain_loop=False).failures

    assert failure.tried is None


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="the system does not tell")
@pytest.mark.parametrize("program", [streams, answers_of_threads, locks_in_two_orders_while_a_server_listens])
def test_nothing_is_left_open(program: Program) -> None:
    explore(program, seed=3, runs=2000)
    before = len(os.listdir("/proc/self/fd")), threading.active_count()

    explore(program, seed=3, runs=2000)

    given_up_at = time.monotonic() + 10
    while threading.active_count() > before[1] and time.monotonic() < given_up_at:
        time.sleep(0.01)  # threads that were told to end take a moment
    assert len(os.listdir("/proc/self/fd")) == before[0]
    assert threading.active_count() <= before[1]  # of the first exploration, one may have been ending still


def test_a_deadlock_is_one_beside_a_thread_that_only_waits_for_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_SECONDS", 600.0)  # the test would take as long if that thread owed an answer
    work: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def serve() -> None:
        while work.get():
            pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert str(find(locks_in_two_orders).tried) == "same"
    finally:
        work.put(False)
        thread.join()


def test_under_pytest_with_fixtures_in_the_report_and_in_json(explore, tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    result = explore(
        """
        @pytest.fixture
        async def state(tmp_path):
            await asyncio.sleep(0)
            yield {"n": 0, "folder": tmp_path}
            await asyncio.sleep(0)

        async def test_lost_update(state):
            await lose_update(state)
            assert state["n"] == 2

        @pytest.mark.asyncio(loop_scope="module")
        async def test_shared():
            state = {"n": 0}
            await lose_update(state)
            assert state["n"] == 2

        async def test_passes():
            await work()
        """,
        f"--interleave-json={file}",
    )

    result.assert_outcomes(failed=2, passed=1)
    tests = {test["nodeid"].partition("::")[2]: test["tried"] for test in json.loads(file.read_text())["tests"]}
    assert tests == {
        "test_lost_update": "same",
        "test_shared": "not tried: its loop is shared with other tests",
        "test_passes": None,
    }
    result.stdout.fnmatch_lines(
        ["latency: asyncio can do this*; on a plain loop, with", "those delays for real, it fails the same way."]
    )


def test_real_requests_of_aiohttp(explore, tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    result = explore(
        """
        from aiohttp import web
        from aiohttp.test_utils import TestClient, TestServer

        async def test_two_clients():
            counts = {"n": 0}

            async def count(request):
                value = counts["n"]
                await request.read()
                await asyncio.sleep(0.002)
                counts["n"] = value + 1
                return web.Response()

            app = web.Application()
            app.router.add_post("/", count)
            async with TestClient(TestServer(app)) as client:
                async def call(after):
                    await asyncio.sleep(after)
                    async with client.post("/", data=b"x") as response:
                        await response.read()
                await asyncio.gather(call(0), call(0.01))
            assert counts["n"] == 2
        """,
        f"--interleave-json={file}",
    )

    result.assert_outcomes(failed=1)
    [test] = json.loads(file.read_text())["tests"]
    assert test["tried"] == "same"


def test_frozen_clocks_do_not_stop_it(explore, tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    result = explore(
        """
        from unittest import mock
        import pytest_interleave.loop._delayed as delayed

        @pytest.fixture(autouse=True)
        def frozen(monkeypatch):
            # What freezegun does to the names of modules.
            monkeypatch.setattr(delayed, "perf_counter", lambda: 0.0)

        async def test_lost_update():
            state = {"n": 0}
            await lose_update(state)
            assert state["n"] == 2
        """,
        f"--interleave-json={file}",
    )

    result.assert_outcomes(failed=1)
    [test] = json.loads(file.read_text())["tests"]
    assert test["tried"] == "same"
