"""The private fixtures of pytest-asyncio 1.x that give the runner of a scope's loop."""

from __future__ import annotations

import pytest


def test_the_runner_of_a_scope_runs_coroutines_in_the_loop_of_its_tests(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function")
    pytester.makepyfile(
        """
        import asyncio, contextvars, pytest, pytest_asyncio

        ended = []
        var = contextvars.ContextVar("var", default=0)

        async def loop_of(value=None):
            await asyncio.sleep(0)
            var.set(1)
            return asyncio.get_running_loop()

        @pytest.fixture
        def site(_function_scoped_runner):
            assert isinstance(_function_scoped_runner, asyncio.Runner)
            yield _function_scoped_runner.run(loop_of())
            ended.append(_function_scoped_runner.run(loop_of()).is_closed())

        @pytest_asyncio.fixture(loop_scope="session", scope="session")
        async def wide():
            yield asyncio.get_running_loop()
            ended.append("wide")

        @pytest.fixture(params=["class", "module", "package", "session"])
        def of_scope(request):
            return request.getfixturevalue(f"_{request.param}_scoped_runner").get_loop()

        async def test_async(site, _function_scoped_runner):
            assert site is asyncio.get_running_loop() is _function_scoped_runner.get_loop()
            with pytest.raises(RuntimeError, match="running"):
                _function_scoped_runner.run(loop_of())

        def test_sync(site, of_scope):
            assert ended
            assert not site.is_closed() and not of_scope.is_closed()
            assert site is not of_scope

        @pytest.mark.asyncio(loop_scope="session")
        async def test_session(wide, _session_scoped_runner):
            assert wide is asyncio.get_running_loop() is _session_scoped_runner.get_loop()

        def test_context(_session_scoped_runner, wide):
            context = contextvars.copy_context()
            assert _session_scoped_runner.run(loop_of(), context=context) is wide
            assert context[var] == 1 and var.get() == 0
            with pytest.raises(ValueError, match="coroutine"):
                _session_scoped_runner.run(loop_of)
            with pytest.raises(ZeroDivisionError):
                _session_scoped_runner.run(fails())

        async def fails():
            1 / 0

        def test_ended():
            assert set(ended) == {False}
        """
    )

    pytester.runpytest("-Werror").assert_outcomes(passed=8)
    pytester.runpytest("-Werror", "--interleave", "--interleave-runs=5").assert_outcomes(passed=8)


def test_a_loop_may_be_closed_by_its_runner(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import asyncio

        def test_sync(_function_scoped_runner):
            with _function_scoped_runner as runner:
                loop = runner.get_loop()
                runner.run(asyncio.sleep(0))
            assert loop.is_closed()
        """
    )

    pytester.runpytest("-Werror").assert_outcomes(passed=1)


def test_the_old_fixture_may_give_the_loop_of_the_runner(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import asyncio, pytest

        @pytest.fixture
        def event_loop(_function_scoped_runner):
            yield _function_scoped_runner.get_loop()

        @pytest.mark.asyncio
        async def test_async(event_loop):
            assert event_loop is asyncio.get_running_loop()
            await asyncio.sleep(0)
        """
    )

    pytester.runpytest("-Werror").assert_outcomes(passed=1)


LEAK_CHECK = """
import asyncio, pytest, pytest_asyncio

def list_tasks():
    tasks = getattr(asyncio.tasks, "_all_tasks", None) or getattr(asyncio.tasks, "_scheduled_tasks", ())
    return {task for task in tasks if not task.done()}

@pytest_asyncio.fixture(autouse=True)
def no_leaks(request):
    before = list_tasks()
    yield
    for value in request.node.funcargs.values():
        if isinstance(value, asyncio.Runner):
            value.get_loop().run_until_complete(asyncio.sleep(0))
    assert not list_tasks() - before
"""


def test_a_suite_that_counts_tasks_around_each_test_finds_none_of_ours(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function")
    pytester.makeconftest(LEAK_CHECK)
    pytester.makepyfile(
        """
        import asyncio, pytest, pytest_asyncio

        async def numbers():
            for number in range(3):
                yield number

        @pytest_asyncio.fixture
        async def site():
            yield
            await asyncio.sleep(0)

        @pytest_asyncio.fixture
        async def number():
            return 1

        @pytest_asyncio.fixture(scope="session", loop_scope="session")
        async def wide():
            yield
            await asyncio.sleep(0)

        async def test_leaves_a_generator(site):
            async for number in numbers():
                break
            del number

        @pytest.mark.asyncio(loop_scope="session")
        async def test_in_a_wider_loop(wide, site):
            async for number in numbers():
                break

        def test_sync(wide, number):
            pass

        async def test_after():
            assert len(asyncio.all_tasks()) == 1
        """
    )

    for arguments in ([], ["--interleave", "--interleave-runs=5"]):
        pytester.runpytest(*arguments).assert_outcomes(passed=4)


def test_what_a_test_has_asked_for_last_is_done_before_sync_fixtures_end(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import asyncio, pytest, pytest_asyncio

        done = []

        @pytest_asyncio.fixture
        async def opens_loop():
            yield

        @pytest.fixture
        def site(opens_loop):
            yield
            assert done == [1]

        @pytest.mark.asyncio
        async def test_it(site):
            asyncio.get_running_loop().call_soon(done.append, 1)

        @pytest.mark.asyncio
        async def test_no_further(site):
            asyncio.get_running_loop().call_soon(asyncio.get_running_loop().call_soon, done.append, 2)
        """
    )

    pytester.runpytest("-Werror").assert_outcomes(passed=2)
