"""An exception that nobody retrieves in some schedule only fails the test, like any other failure of that schedule."""

import json
import re

import pytest

_CACHE = """
    async def refresh(cache):
        await asyncio.sleep(0.02)
        return cache["a"]

    async def evict(cache):
        await asyncio.sleep(0.03)
        cache.clear()
"""


def test_a_task_that_fails_in_one_schedule_only_is_found_and_replayed(explore, pytester: pytest.Pytester) -> None:
    source = (
        _CACHE
        + """
    async def test_it():
        cache = {"a": 1}
        asyncio.create_task(refresh(cache))
        await asyncio.create_task(evict(cache))
    """
    )
    result = explore(source, "--interleave-json=found.json")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "lost-exception: Task exception was never retrieved: task * (refresh)  (test_it.py:5)",
            "*KeyError: 'a'",
            "  Await the task, or handle the exception in it.",
            "Fails if the sleep of 0.03 s (test_it.py:8, task evict) ends before the sleep of 0.02 s",
            "latency: *Reproduced 5 of 5; *",
        ]
    )
    explore(source, flag=False).assert_outcomes(passed=1)
    token = json.loads((pytester.path / "found.json").read_text())["tests"][0]["token"]
    again = explore(source, f"--interleave-replay={token}")
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["lost-exception: Task exception was never retrieved: *"])


@pytest.mark.parametrize("scope", ["function", "module"])
def test_a_task_is_found_in_a_loop_of_any_scope(explore, scope: str) -> None:
    result = explore(
        _CACHE
        + f"""
    @pytest.mark.asyncio(loop_scope="{scope}")
    async def test_it():
        cache = {{"a": 1}}
        asyncio.create_task(refresh(cache))
        await asyncio.create_task(evict(cache))
    """
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["lost-exception: *(refresh)*", "*Reproduced 5 of 5; *", "*→ raises KeyError*"])


def test_a_task_that_somebody_keeps_is_found_in_its_own_test_only(explore) -> None:
    result = explore(
        _CACHE
        + """
    kept = []

    async def test_it():
        cache = {"a": 1}
        kept.append(asyncio.create_task(refresh(cache)))
        await asyncio.create_task(evict(cache))

    async def test_other():
        await work()
    """
    )

    result.assert_outcomes(failed=1, passed=1)
    assert "LostException" not in result.stdout.str()


def test_a_callback_that_fails_in_one_schedule_only_is_found(explore) -> None:
    result = explore(
        """
        async def test_it():
            orders = []
            def ship():
                orders[0]
            async def order():
                await asyncio.sleep(0.01)
                orders.append(1)
            asyncio.get_running_loop().call_later(0.02, ship)
            await asyncio.gather(order(), asyncio.sleep(0.03))
        """
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "lost-exception: Exception in callback test_it.<locals>.ship() at *",
            '*test_it.py", line 6, in ship',
            "  Handle the exception where it arises: nobody waits for it who could.",
        ]
    )
    finding = result.stdout.str().partition("lost-exception")[2].partition("Handle the exception")[0]
    assert "_run_once" not in finding  # the loop's lines are no news


_LIBRARY = """
import asyncio

def hand_over(waiter):
    return waiter.set_result, 1

async def ask(answer):
    waiter = asyncio.get_running_loop().create_future()

    async def look_up():
        await asyncio.sleep(0.02)
        call = answer, waiter
        asyncio.get_running_loop().call_soon(*(hand_over(waiter) if answer is hand_over else call))

    looking = asyncio.create_task(look_up())
    try:
        await asyncio.wait_for(waiter, 0.1)
    except asyncio.TimeoutError:
        await looking

def answer(waiter):
    waiter.set_result(1)

def complain(waiter):
    if waiter.done():
        raise LookupError
    waiter.set_result(1)
"""


@pytest.mark.parametrize(("answers", "failed"), [("answer", 1), ("complain", 0), ("hand_over", 0)])
def test_a_library_that_answers_what_was_given_up_is_found(
    explore, pytester: pytest.Pytester, answers: str, failed: int
) -> None:
    folder = pytester.mkdir("site-packages")
    (folder / "library.py").write_text(_LIBRARY)
    pytester.makeconftest(f"import sys; sys.path.append({str(folder)!r})")
    result = explore(
        f"""
        import library

        async def test_it():
            await library.ask(library.{answers})
            await asyncio.sleep(0.5)
        """
    )

    result.assert_outcomes(failed=failed, passed=1 - failed)
    if failed:
        result.stdout.fnmatch_lines(["lost-exception: Exception in callback answer(*", "*InvalidStateError*"])


_INNOCENT = {
    "retrieved later": """
        async def test_it():
            async def fail():
                await asyncio.sleep(0.01)
                raise LookupError
            task = asyncio.create_task(fail())
            await work()
            with pytest.raises(LookupError):
                await task
    """,
    "told at once, and retrieved later": """
        async def test_it():
            async def fail():
                await asyncio.sleep(0.01)
                raise LookupError
            def tell(task):
                context = {"message": "a job failed", "exception": task.exception()}
                asyncio.get_running_loop().call_exception_handler(context)
            task = asyncio.create_task(fail())
            task.add_done_callback(tell)
            await asyncio.sleep(0.02)
            with pytest.raises(LookupError):
                await task
    """,
    "retrieved by gather": """
        async def test_it():
            async def fail(seconds):
                await asyncio.sleep(seconds)
                raise LookupError
            with pytest.raises(LookupError):
                await asyncio.gather(fail(0.01), fail(0.02))
            await asyncio.sleep(0.05)
    """,
    "retrieved by a task group": """
        async def test_it():
            async def fail(seconds):
                await asyncio.sleep(seconds)
                raise LookupError
            with pytest.raises(ExceptionGroup):
                async with asyncio.TaskGroup() as group:
                    group.create_task(fail(0.01))
                    group.create_task(fail(0.01))
    """,
    "cancelled at the end": """
        async def test_it():
            async def serve():
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    raise LookupError
            asyncio.create_task(serve())
            await work()
    """,
    "a timeout that did its job": """
        async def test_it():
            async def ask():
                async with asyncio.timeout(0.05):
                    await asyncio.sleep(0.01)
            task = asyncio.create_task(ask())
            await asyncio.sleep(0.5)
    """,
    "a handler whose client went away": """
        async def test_it():
            async def handle(reader, writer):
                await asyncio.sleep(0.005)
                if reader.at_eof():
                    raise EOFError
                writer.close()
            server = await asyncio.start_server(handle, "127.0.0.1", 0)
            async with server:
                _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                await asyncio.sleep(0.01)
                writer.close()
                await asyncio.sleep(0.02)
    """,
    "read from the log": """
        async def test_it(caplog):
            async def fail():
                await asyncio.sleep(0.01)
                raise LookupError
            asyncio.create_task(fail())
            await asyncio.sleep(0.02)
    """,
    "its own handler": """
        async def test_it():
            async def fail():
                await asyncio.sleep(0.01)
                raise LookupError
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
            asyncio.create_task(fail())
            await asyncio.sleep(0.02)
    """,
    "interrupted": """
        async def test_it():
            async def fail():
                await asyncio.sleep(0.01)
                raise LookupError
            async def operation():
                task = asyncio.create_task(fail())
                await asyncio.sleep(0.02)
                with pytest.raises(LookupError):
                    await task
            await pytest_interleave.interrupt(operation())
            await asyncio.sleep(0.05)
    """,
    "allowed": """
        @pytest.mark.interleave_allow("lost-exception", match="LookupError|fail")
        async def test_it():
            async def fail():
                await asyncio.sleep(0.01)
                raise LookupError
            asyncio.create_task(fail())
            await asyncio.sleep(0.02)
    """,
}


@pytest.mark.parametrize("name", _INNOCENT)
def test_what_is_no_lost_exception_passes(explore, name: str) -> None:
    result = explore("import pytest_interleave\n" + re.sub("(?m)^ {8}", "", _INNOCENT[name].rstrip()))

    result.assert_outcomes(passed=1)
    assert "inconclusive" not in result.stdout.str()


def test_the_level_report_fails_no_run(explore) -> None:
    result = explore(
        _CACHE
        + """
    async def test_it():
        cache = {"a": 1}
        asyncio.create_task(refresh(cache))
        await asyncio.create_task(evict(cache))
    """,
        "--interleave-detect=lost-exception=report",
    )

    result.assert_outcomes(passed=1)
