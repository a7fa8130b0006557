"""Who waits for what is at hand for a person, in tests and outside."""

import asyncio
import io
import threading
import time
from textwrap import dedent
from typing import Any

import pytest
from sessions import run_forked

import pytest_interleave

RESTS = """
import asyncio, os, signal, time

async def test_rests():
    async def rest():
        await asyncio.Queue().get()
    async def interrupt():
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(60)
    async with asyncio.TaskGroup() as group:
        group.create_task(rest(), name="courier")
        group.create_task(interrupt(), name="keyboard")
"""


async def _take(queue: "asyncio.Queue[int]") -> None:
    await queue.get()


async def _nap() -> None:
    await asyncio.sleep(60)


def _text() -> str:
    file = io.StringIO()
    pytest_interleave.print_tasks(file)
    return file.getvalue()


async def _main() -> str:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_take(asyncio.Queue()), name="courier"), group.create_task(_nap(), name="sleeper")]
        waiter = asyncio.create_task(asyncio.Event().wait(), name="waiter")
        outer = asyncio.create_task(_join(waiter), name="outer")
        await asyncio.sleep(0.01)
        text = _text()
        for task in (*tasks, outer, waiter):
            task.cancel()
        return text


async def _join(task: "asyncio.Task[Any]") -> None:
    await task


def test_it_tells_of_each_task_outside_of_tests() -> None:
    lines = asyncio.run(_main())
    assert "task 'Task-" in lines
    assert "runs\n    at " in lines
    assert "in _main: text = _text()" in lines
    assert "task 'courier' waits for <Queue at " in lines
    assert "in _take: await queue.get()" in lines
    assert "task 'sleeper' waits for a timer" in lines
    assert "task 'waiter' waits for <asyncio.locks.Event object at" in lines
    assert "task 'outer' waits for task 'waiter'" in lines
    assert "in _join: await task" in lines
    assert "/asyncio/" not in lines


def test_a_thread_sees_what_blocks_the_loop() -> None:
    async def blocks(seen: threading.Event) -> None:
        seen.wait(60)

    texts: list[str] = []
    seen = threading.Event()

    def look() -> None:
        while "in blocks: seen.wait(60)" not in (text := _text()):
            time.sleep(0.01)
        texts.append(text)
        seen.set()

    thread = threading.Thread(target=look)
    thread.start()
    asyncio.run(blocks(seen))
    thread.join()
    assert " runs\n" in texts[0]


def test_without_a_loop_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    pytest_interleave.print_tasks()
    assert "No event loop is running" in capsys.readouterr().err


def test_an_interrupt_says_who_waited(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_mode = auto\n")
    pytester.makepyfile(test_it=dedent(RESTS))
    result = run_forked(pytester, timeout=60)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(
        [
            "*= interleave: who waited for what at Ctrl-C =*",
            "  the test waits for the tasks 'courier', 'keyboard'",
            "    at *test_it.py:* in test_rests: async with asyncio.TaskGroup() as group:",
            "  task 'courier' waits for <Queue at *",
            "    at *test_it.py:* in rest: await asyncio.Queue().get()",
            "  task 'keyboard' runs",
            "    at *test_it.py:* in interrupt: os.kill(os.getpid(), signal.SIGINT)",
        ]
    )
    assert result.stdout.str().count("who waited for what") == 1


SIGNALLED = """
    import asyncio
    import os
    import signal
    import pytest

    @pytest.mark.asyncio
    async def test_patient():
        courier = asyncio.create_task(asyncio.Event().wait(), name="courier")
        await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.sleep(0)
        courier.cancel()
        {last}
"""


def test_a_signal_prints_the_tasks_past_what_is_captured(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SIGNALLED.format(last="pass"))

    result = run_forked(pytester)

    result.assert_outcomes(passed=1)
    result.stderr.fnmatch_lines(["*in test_patient: os.kill*", "*task 'courier' waits*"])


def test_a_signal_prints_the_tasks_of_an_explored_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SIGNALLED.format(last="pass"))

    result = run_forked(pytester, "--interleave", "--interleave-runs=3")

    result.assert_outcomes(passed=1)
    result.stderr.fnmatch_lines(["*in test_patient: os.kill*", "*task 'courier' waits*"])
    assert "No event loop" not in result.stderr.str()


def test_a_signal_that_is_answered_does_not_keep_a_deadlock_from_being_told(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SIGNALLED.format(last="await asyncio.Event().wait()"))

    result = run_forked(pytester, timeout=60)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Deadlock*"])


def test_a_signal_that_the_suite_answers_is_left_to_it(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import signal
        seen = []
        signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))

        def pytest_unconfigure():
            print("answered", seen == [signal.SIGUSR1])
        """
    )
    pytester.makepyfile(SIGNALLED.format(last="pass"))

    result = run_forked(pytester, "-s")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*answered True*"])
    assert "courier" not in result.stderr.str()


def test_the_call_graph_of_python_3_14_is_added_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def format_call_graph(task: "asyncio.Task[Any]") -> str:
        return f"* {task.get_name()}\n  + Awaited by:"

    monkeypatch.setattr(asyncio, "format_call_graph", format_call_graph, raising=False)

    text = asyncio.run(_main())

    _, _, graph = text.partition("asyncio's own call graph:\n")
    assert "  * courier\n    + Awaited by:\n" in graph
    assert "  * sleeper\n" in graph
