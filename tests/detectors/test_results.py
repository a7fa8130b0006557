"""Async tests that return something."""

import pytest
from sessions import run_forked

TESTS = """
import asyncio
import pytest

async def work():
    return 1

async def ticks():
    yield 1

async def test_coroutine():
    return work()

async def test_task():
    task = asyncio.create_task(work())
    await task
    return task

async def test_generator():
    return ticks()

async def test_value():
    return 1 == 2

@pytest.mark.interleave_detect(unawaited_result="off")
async def test_off():
    return 1

class TestClass:
    async def test_nothing(self):
        return None

@pytest.mark.asyncio(loop_scope="module")
async def test_in_wider_loop():
    return "value"
"""


@pytest.mark.parametrize("arguments", [(), ("--interleave", "--interleave-runs=5")])
def test_a_test_that_returns_something_fails_once(pytester: pytest.Pytester, arguments: tuple[str, ...]) -> None:
    pytester.makeini("[pytest]\nasyncio_mode = auto\n")
    pytester.makepyfile(test_it=TESTS)
    result = run_forked(pytester, *arguments)
    result.assert_outcomes(failed=5, passed=2)
    result.stdout.fnmatch_lines(
        [
            "unawaited-result: the test returned coroutine 'work', which nobody awaits  (test_it.py:11)",
            "unawaited-result: the test returned a task, which nobody awaits  (test_it.py:13)",
            "unawaited-result: the test returned async generator 'ticks', which nobody awaits  (test_it.py:18)",
            "unawaited-result: the test returned False, which nobody looks at  (test_it.py:21)",
            "unawaited-result: the test returned 'value', which nobody looks at  (test_it.py:32)",
        ]
    )
    result.stdout.no_fnmatch_line("*never-awaited*")
