"""``mark.virtual_time``: a plain run that jumps over its waits."""

from __future__ import annotations

import pytest
from sessions import run_fresh

MARKS = """
import asyncio, pytest, pytest_asyncio
pytestmark = [pytest.mark.asyncio, pytest.mark.virtual_time]
"""


def test_an_hour_takes_no_time_and_is_exact(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        MARKS
        + """
async def test_it():
    loop = asyncio.get_running_loop()
    await asyncio.gather(*(asyncio.sleep(3600) for _ in range(10)))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3600):
            await asyncio.Event().wait()
    assert loop.time() == 7200
"""
    )
    pytester.runpytest("--timeout=60").assert_outcomes(passed=1)


def test_a_client_waits_for_a_slow_server(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        MARKS
        + """
import aiohttp
from aiohttp import web

async def test_it():
    async def slow(request):
        await asyncio.sleep(600)
        return web.Response(text="late")

    app = web.Application()
    app.router.add_get("/", slow)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=500)) as session:
        with pytest.raises(asyncio.TimeoutError):
            await session.get(f"http://127.0.0.1:{runner.addresses[0][1]}/")
        assert 500 <= loop.time() <= 502
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        async with session.get(url, timeout=aiohttp.ClientTimeout()) as response:
            assert await response.text() == "late"
    assert 1100 <= loop.time() <= 1102
    await runner.cleanup()
"""
    )
    pytester.runpytest("--timeout=60").assert_outcomes(passed=1)


def test_fixtures_run_in_virtual_time(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        MARKS
        + """
@pytest_asyncio.fixture
async def slow():
    await asyncio.sleep(1000)
    yield asyncio.get_running_loop().time()
    await asyncio.sleep(1000)

async def test_it(slow):
    assert slow == 1000
    await asyncio.sleep(1)
"""
    )
    pytester.runpytest("--timeout=60").assert_outcomes(passed=1)


def test_wider_loops_keep_their_time(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
import asyncio, pytest, pytest_asyncio
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.virtual_time(limit=4000)]

@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def born():
    await asyncio.sleep(100)
    return asyncio.get_running_loop()

async def test_one(born):
    await asyncio.sleep(3000)
    assert born.time() == 3100

async def test_two(born):
    assert asyncio.get_running_loop() is born
    await asyncio.sleep(3000)
    assert born.time() == 6100

async def test_three(born):
    await asyncio.sleep(5000)
"""
    )
    result = pytester.runpytest("--timeout=60")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        ["*Still running after 4000 s of virtual time*", "    at *.py:* in test_three: await asyncio.sleep(5000)"]
    )


def test_one_file_may_mix_the_clocks(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        MARKS
        + """
async def test_virtual():
    await asyncio.sleep(5000)
    assert asyncio.get_running_loop().time() == 5000

@pytest.mark.virtual_time(False)
async def test_real():
    assert type(asyncio.get_running_loop()).__module__ != "pytest_interleave.loop.virtual"

async def test_virtual_again():
    assert asyncio.get_running_loop().time() == 0
"""
    )
    pytester.runpytest("--timeout=60").assert_outcomes(passed=3)


def test_the_key_is_for_all_async_tests_but_those_with_a_loop_of_their_own(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ninterleave_virtual_time = true\nasyncio_mode = auto")
    pytester.makeconftest(
        """
import asyncio

class Own(asyncio.SelectorEventLoop): pass

def pytest_asyncio_loop_factories(config, item):
    return {"own": Own} if "own" in item.name else {"stock": asyncio.SelectorEventLoop}
"""
    )
    pytester.makepyfile(
        """
import asyncio

def test_sync(): pass

async def test_it():
    await asyncio.sleep(5000)
    assert asyncio.get_running_loop().time() == 5000

async def test_own():
    assert type(asyncio.get_running_loop()).__name__ == "Own"
"""
    )
    pytester.runpytest("--timeout=60").assert_outcomes(passed=3)


def test_a_deadlock_says_who_waits_and_what_ticks_for_ever_ends(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        MARKS
        + """
async def test_deadlock():
    lock = asyncio.Lock()
    await lock.acquire()
    await lock.acquire()

async def test_heartbeat():
    async def beat():
        while True:
            await asyncio.sleep(20)
    task = asyncio.create_task(beat())
    await asyncio.Event().wait()

async def test_after():
    await asyncio.sleep(1)
"""
    )
    result = pytester.runpytest("--timeout=60")
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        [
            "Deadlock: everybody waits*",
            "*the test waits for*Lock*",
            "*.py:* in test_deadlock: await lock.acquire()",
            "Still running after 86400 s of virtual time, the limit of a test.",
            "  the test waits for <asyncio.locks.Event*",
            "    at *.py:* in test_heartbeat: await asyncio.Event().wait()",
            "  task * waits for a timer",
            "    at *.py:* in beat: await asyncio.sleep(20)",
            "*mark.virtual_time(limit=seconds).",
        ]
    )


def test_detectors_listen(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        MARKS
        + """
async def fails():
    raise ValueError("lost")

async def waits():
    await asyncio.sleep(1_000)

async def test_lost():
    task = asyncio.create_task(fails())
    await asyncio.sleep(1)
    del task

async def test_leak():
    task = asyncio.create_task(waits(), name="left")
    await asyncio.sleep(1)
"""
    )
    result = pytester.runpytest("--timeout=60")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["lost-exception:*", "leaked-task: task 'left'*"])


def test_threads_are_waited_for(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        MARKS
        + """
import time

async def test_it():
    async with asyncio.timeout(60):
        assert await asyncio.to_thread(lambda: time.sleep(0.1) or "answer") == "answer"
"""
    )
    pytester.runpytest("--timeout=60").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ("virtual_time('yes')", "mark.virtual_time takes one positional bool and the keywords limit and clocks."),
        ("virtual_time(limits=3)", "mark.virtual_time takes*not limits."),
        ("virtual_time(limit=0)", "0 is not a valid limit of mark.virtual_time*"),
        ("virtual_time(limit='1h')", "'1h' is not a valid limit of mark.virtual_time*"),
    ],
)
def test_a_wrong_mark_fails_its_test_with_one_line(pytester: pytest.Pytester, mark: str, message: str) -> None:
    pytester.makepyfile(f"import pytest\n@pytest.mark.asyncio\n@pytest.mark.{mark}\nasync def test_it(): pass")
    result = pytester.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([message])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_sync_test_cannot_be_in_virtual_time(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import pytest\n@pytest.mark.virtual_time\ndef test_it(): pass")
    result = pytester.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["mark.virtual_time is for async tests*"])


def test_a_wrong_value_of_the_key_is_one_line(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ninterleave_virtual_time = maybe")
    result = pytester.runpytest()

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: 'maybe' is not a valid interleave_virtual_time. Valid values: true, false."])


def test_an_explored_test_has_the_time_of_its_mark(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
import asyncio, pytest

@pytest.mark.asyncio
@pytest.mark.virtual_time(limit=10_000)
async def test_it():
    await asyncio.gather(asyncio.sleep(7000), asyncio.sleep(7000))
"""
    )
    pytester.runpytest("--interleave", "--interleave-runs=5", "--timeout=60").assert_outcomes(passed=1)


def test_suites_that_do_not_ask_for_it_do_not_import_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
import sys, pytest

@pytest.mark.asyncio
async def test_it():
    assert "pytest_interleave.loop.virtual" not in sys.modules
    assert "pytest_interleave.loop._base" not in sys.modules
"""
    )
    run_fresh(pytester).assert_outcomes(passed=1)
