"""What a test leaves behind is told under ``--interleave`` as in a plain run, and once."""

import gc
import textwrap
import warnings
from collections.abc import Iterator

import pytest

_HEAD = """
import contextlib
kept = []

async def serve(reader, writer):
    await reader.read()
    writer.close()

async def numbers():
    yield 1
    await asyncio.sleep(0.01)
    yield 2

async def forever():
    await asyncio.sleep(3600)

"""
_LEFT = {
    "a task": (
        """
        async def test_it():
            asyncio.create_task(forever(), name="courier")
            await work()
        """,
        ["leaked-task: task 'courier' (forever) was still running when the test had ended*"],
    ),
    "a task in a wider loop": (
        """
        @pytest.mark.asyncio(loop_scope="module")
        async def test_it():
            asyncio.create_task(forever(), name="courier")
            await work()
        """,
        ["leaked-task: task 'courier' (forever) was still running when the test had ended*"],
    ),
    "a task that swallows its cancellation": (
        """
        async def never_ends():
            while True:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(1)

        async def test_it():
            asyncio.create_task(never_ends(), name="courier")
            await work()
        """,
        ["leaked-task: task 'courier' (never_ends) was still running when the test had ended*"],
    ),
    "an async generator": (
        """
        async def test_it():
            kept.append(numbers())
            async for number in kept[-1]:
                break
        """,
        ["left-open: async generator 'numbers' was begun and not finished*"],
    ),
    "a server": (
        """
        async def test_it():
            kept.append(await asyncio.start_server(serve, "127.0.0.1", 0))
            await work()
        """,
        ["left-open: the server of 'serve' on 127.0.0.1:* was not closed*"],
    ),
    "a client session": (
        """
        import aiohttp

        async def test_it():
            session = aiohttp.ClientSession()
            await work()
        """,
        ["left-open: ClientSession was not closed *"],
    ),
}


@pytest.fixture(autouse=True)
def drop_what_was_left() -> Iterator[None]:
    """Collect the servers that the inner sessions leave open, so that no later test is told of them."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.mark.parametrize("name", _LEFT)
def test_what_is_left_is_told_once(explore, name: str) -> None:
    source, lines = _LEFT[name]

    result = explore(_HEAD + textwrap.dedent(source), "-W", "ignore::ResourceWarning")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([*lines, "  in test_it.py::test_it"])
    text = result.stdout.str()
    assert text.count("leaked-task: ") + text.count("left-open: ") == 1


@pytest.mark.parametrize("name", ["a task", "a server"])
def test_the_level_fail_fails_the_test(explore, name: str) -> None:
    source, lines = _LEFT[name]

    result = explore(_HEAD + textwrap.dedent(source), "--interleave-strict")

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(lines)


def test_what_a_fixture_ends_or_ends_by_itself_is_not_told(explore) -> None:
    result = explore(
        _HEAD
        + textwrap.dedent(
            """
        @pytest.fixture
        async def ended():
            tasks = []
            yield tasks
            for task in tasks:
                task.cancel()

        import pytest_asyncio

        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def service():
            task = asyncio.create_task(forever())
            yield
            task.cancel()

        async def test_of_fixture(ended):
            ended.append(asyncio.create_task(forever()))
            await work()

        async def test_short():
            async def short():
                for _ in range(3):
                    await asyncio.sleep(0)
            asyncio.create_task(short())

        async def test_closed():
            async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
                reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                writer.close()

        @pytest.mark.asyncio(loop_scope="module")
        async def test_of_wider_fixture(service):
            await work()

        async def test_finished():
            async with contextlib.aclosing(numbers()) as generator:
                async for number in generator:
                    break
    """
        ),
        "--interleave-strict",
        "--interleave-runs=20",
    )

    result.assert_outcomes(passed=5)


def test_of_a_failing_schedule_nothing_else_is_told(explore) -> None:
    result = explore(
        _HEAD
        + textwrap.dedent(
            """
        async def test_it():
            task = asyncio.create_task(forever())
            state = {"n": 0}
            await lose_update(state)
            assert state["n"] == 2
            task.cancel()
    """
        )
    )

    result.assert_outcomes(failed=1)
    assert "leaked-task" not in result.stdout.str()
