"""Locks that a task kept when it ended, and wake-ups that were lost: told when the loop of the test ends."""

from textwrap import dedent

import pytest
from sessions import run_forked

HEAD = """\
import asyncio
import pytest

class Cache:
    def __init__(self):
        self.lock = asyncio.Lock()

    async def refresh(self, fails):
        await self.lock.acquire()
        if fails:
            return
        self.lock.release()

    async def hold(self):
        async with self.lock:
            await asyncio.sleep(60)

"""


def run(pytester: pytest.Pytester, body: str, *arguments: str) -> pytest.RunResult:
    pytester.makeini("[pytest]\nasyncio_mode = auto\n")
    pytester.makepyfile(test_it=HEAD + dedent(body))
    return run_forked(pytester, *arguments, timeout=60)


@pytest.mark.parametrize("scope", ["function", "module"])
@pytest.mark.parametrize("options", [(), ("--interleave", "--interleave-runs=5")], ids=["plain", "explored"])
def test_a_lock_that_an_ended_task_keeps_is_told_once(
    pytester: pytest.Pytester, scope: str, options: tuple[str, ...]
) -> None:
    body = f"""
    @pytest.mark.asyncio(loop_scope="{scope}")
    async def test_it():
        cache = Cache()
        await asyncio.create_task(cache.refresh(True), name="refresher")
    """
    result = run(pytester, body, *options)

    result.assert_outcomes(passed=1)
    told = [
        "kept-lock: task 'refresher' has ended, and keeps a lock that it took  (test_it.py:9)",
        "    await self.lock.acquire()",
        "    <asyncio.locks.Lock object at * [[]locked[]]>: whoever asks for it now waits for ever",
        "  Take it by 'async with', or release it in a 'finally'.",
        "  in test_it.py::test_it",
    ]
    if scope == "module" and options:  # of what is left open in such a loop nothing is said
        result.stdout.no_fnmatch_line("kept-lock*")
    else:
        result.stdout.fnmatch_lines(told, consecutive=True)
        assert str(result.stdout).count("kept-lock") == 1


@pytest.mark.parametrize(
    "body",
    [
        "await asyncio.create_task(cache.refresh(False))",
        "await cache.lock.acquire()",  # the test's own
        "await cache.refresh(True)",
        "await asyncio.create_task(cache.refresh(True)); cache.lock.release()",  # given back by another
        "await asyncio.create_task(cache.refresh(True)); cache.lock.release(); await cache.lock.acquire()",
        "await asyncio.create_task(semaphore.acquire())",
    ],
)
def test_other_locks_are_not_told(pytester: pytest.Pytester, body: str) -> None:
    source = f"async def test_it():\n    cache, semaphore = Cache(), asyncio.Semaphore(1)\n    {body}\n"

    result = run(pytester, source, "--interleave-strict")

    result.assert_outcomes(passed=1)


def test_who_holds_a_lock_when_it_is_ended_with_its_loop_is_told_as_left_running(pytester: pytest.Pytester) -> None:
    body = """
    async def test_it():
        cache = Cache()
        asyncio.create_task(cache.hold(), name="holder")
        await asyncio.sleep(0)
    """
    result = run(pytester, body)

    result.stdout.fnmatch_lines(["leaked-task: task 'holder' *"])
    result.stdout.no_fnmatch_line("kept-lock*")


def test_a_task_that_waits_for_what_is_free_is_told_with_that(pytester: pytest.Pytester) -> None:
    body = """
    class Gate(asyncio.Lock):
        def release(self):
            self._locked = False  # and wakes nobody

    async def enter(gate):
        async with gate:
            pass

    async def test_it():
        gate = Gate()
        await gate.acquire()
        asyncio.create_task(enter(gate), name="visitor")
        await asyncio.sleep(0)
        gate.release()
        await asyncio.sleep(0)
    """
    result = run(pytester, body)

    result.stdout.fnmatch_lines(
        [
            "leaked-task: task 'visitor' (enter) was still running when the test had ended  (test_it.py:*)",
            "    waits at *test_it.py:* in enter",
            "    for <test_it.Gate object at * [[]unlocked, *>, which is there to be had: its wake-up was lost",
        ]
    )
