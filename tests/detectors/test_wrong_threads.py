"""What a thread does to a task past its loop is told, and nothing else."""

from textwrap import dedent

import pytest
from sessions import run_forked

HEAD = """\
import asyncio, threading, time
import pytest

def after_a_moment(function):
    def work():
        time.sleep(0.1)
        function()
    threading.Thread(target=work, name="worker").start()
    asyncio.get_running_loop().call_later(0.5, lambda: None)  # by which the loop wakes up

async def answer():
    return 7
"""

WRONG = {
    "event": ("done = asyncio.Event()", "done.set()", "await done.wait()"),
    "future": ("done = loop.create_future()", "done.set_result(1)", "await done"),
    "queue": ("done = asyncio.Queue()", "done.put_nowait(1)", "await done.get()"),
    "call_later": ("done = asyncio.Event()", "loop.call_later(0, done.set)", "await done.wait()"),
    "call_soon": ("done = asyncio.Event()", "loop.call_soon(done.set)", "await done.wait()"),
    "task": (
        "made = asyncio.Event()",
        "loop.create_task(answer()).add_done_callback(lambda _: made.set())",
        "await made.wait()",
    ),
}


def run(pytester: pytest.Pytester, body: str, *arguments: str) -> pytest.RunResult:
    pytester.makeini("[pytest]\nasyncio_mode = auto\n")
    pytester.makepyfile(test_it=HEAD + "\n" + dedent(body))
    return run_forked(pytester, *arguments, timeout=60)


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("scope", ["function", "session"])
def test_a_wake_up_past_the_loop_is_told(pytester: pytest.Pytester, name: str, scope: str) -> None:
    first, wrong, last = WRONG[name]
    call = wrong.partition(".add_done")[0]
    body = f"""
    @pytest.mark.asyncio(loop_scope="{scope}")
    async def test_it():
        loop = asyncio.get_running_loop()
        {first}
        def wake():
            {wrong}
        after_a_moment(wake)
        {last}
    """
    result = run(pytester, body)

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            f"wrong-thread: {call}* in thread 'worker' wakes a task, but not its loop  (test_it.py:*)",
            "    in test_it.<locals>.wake",
            "  *loop.call_soon_threadsafe(...)*",
            "  in test_it.py::test_it",
        ]
    )

    strict = run(pytester, body, "--interleave-detect=wrong-thread=fail")
    strict.assert_outcomes(failed=1)


def test_a_function_of_asyncios_that_a_timer_calls_is_told_too(pytester: pytest.Pytester) -> None:
    body = """
    async def test_it():
        done = asyncio.Event()
        threading.Timer(0.1, done.set).start()
        asyncio.get_running_loop().call_later(0.5, lambda: None)
        await done.wait()
    """
    result = run(pytester, body)

    result.stdout.fnmatch_lines(["wrong-thread: Event.set in thread 'Thread-*' wakes a task, but not its loop"])


def test_nothing_is_said_of_what_wakes_the_loop_or_is_of_its_own_thread(pytester: pytest.Pytester) -> None:
    body = """
    async def test_threadsafe():
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        after_a_moment(lambda: loop.call_soon_threadsafe(done.set))
        await done.wait()

    async def test_coroutine():
        loop = asyncio.get_running_loop()
        assert await asyncio.to_thread(lambda: asyncio.run_coroutine_threadsafe(answer(), loop).result()) == 7

    async def test_signal():
        import os, signal
        done = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, done.set)
        after_a_moment(lambda: os.kill(os.getpid(), signal.SIGUSR2))
        await done.wait()

    async def test_a_loop_of_the_threads_own():
        async def wait():
            done = asyncio.Event()
            asyncio.get_running_loop().call_soon(done.set)
            await done.wait()
        await asyncio.to_thread(asyncio.run, wait())
    """
    result = run(pytester, body, "--interleave-strict")

    result.assert_outcomes(passed=4)
    result.stdout.no_fnmatch_line("wrong-thread*")
