"""A fixture's set-up, the test and its tear-down are one task, so that what a fixture opens reaches the test."""

from __future__ import annotations

import pytest


def test_a_crash_in_a_fixtures_task_group_fails_the_test_at_once_and_once(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import asyncio, pytest, pytest_asyncio

        @pytest_asyncio.fixture
        async def service():
            async def serve():
                await asyncio.sleep(0.01)
                raise LookupError("upstream is gone")

            async with asyncio.TaskGroup() as group:
                group.create_task(serve(), name="serve")
                yield

        @pytest.mark.asyncio
        async def test_waits(service):
            await asyncio.sleep(30)

        @pytest.mark.asyncio
        async def test_next():
            await asyncio.sleep(0)
        """
    )

    result = pytester.runpytest()

    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "*LookupError: upstream is gone",
            "*the test was cancelled at test_a_crash*.py:15, because this task of fixture 'service' failed: serve",
        ]
    )


@pytest.mark.parametrize("scope", ["function", "module"])
def test_timeouts_and_cancel_scopes_held_over_a_yield(pytester: pytest.Pytester, scope: str) -> None:
    pytester.makepyfile(
        f"""
        import asyncio, anyio, pytest, pytest_asyncio

        pytestmark = pytest.mark.asyncio(loop_scope="{scope}")

        @pytest_asyncio.fixture(loop_scope="{scope}")
        async def generous():
            async with asyncio.timeout(60):
                yield

        @pytest_asyncio.fixture(loop_scope="{scope}")
        async def scope():
            with anyio.CancelScope() as scope:
                yield scope

        @pytest_asyncio.fixture(loop_scope="{scope}")
        async def anyio_group():
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep, 60)
                yield
                group.cancel_scope.cancel()

        @pytest_asyncio.fixture(loop_scope="{scope}")
        async def tight():
            async with asyncio.timeout(0.01):
                yield

        async def test_all(generous, scope, anyio_group):
            await asyncio.sleep(0)

        async def test_expires(tight):
            await asyncio.sleep(30)

        async def test_after(generous):
            assert asyncio.current_task().cancelling() == 0
            await asyncio.sleep(0)
        """
    )

    result = pytester.runpytest()

    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        ["*TimeoutError: asyncio.timeout(...) entered in fixture 'tight' expired while the test was running, *.py:31*"]
    )


def test_a_timeout_of_the_test_itself_that_lets_its_cancellation_pass_is_no_timeout(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import asyncio, pytest

        @pytest.mark.asyncio
        async def test_leaks():
            async with asyncio.timeout(0.02):
                try:
                    asyncio.current_task().cancel()
                    await asyncio.sleep(1)
                except asyncio.CancelledError:
                    pass  # and does not uncancel
                await asyncio.sleep(1)
        """
    )

    result = pytester.runpytest()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E * asyncio.exceptions.CancelledError", "E * asyncio.timeout(...) expired, and made no TimeoutError *"]
    )
    result.stdout.no_fnmatch_line("*earlier set-up*")


def test_set_up_test_and_tear_down_share_task_and_context(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import asyncio, contextvars, pytest, pytest_asyncio

        var = contextvars.ContextVar("var")
        other = contextvars.ContextVar("other", default="untouched")

        @pytest_asyncio.fixture(params=["function", "module"])
        async def nothing(request):
            pass

        @pytest_asyncio.fixture
        async def fixture():
            token = var.set("from the fixture")
            task = asyncio.current_task()
            yield task
            assert asyncio.current_task() is task
            assert other.get() == "from the test"
            var.reset(token)

        @pytest.fixture
        def sync_fixture(fixture):
            assert var.get() == "from the fixture"
            yield
            assert var.get() == "from the fixture"

        @pytest.mark.asyncio
        async def test_shares(fixture, sync_fixture):
            assert asyncio.current_task() is fixture
            assert var.get() == "from the fixture"
            other.set("from the test")

        @pytest.mark.asyncio
        async def test_leaks_nothing():
            assert other.get() == "untouched"
            with pytest.raises(LookupError):
                var.get()

        def test_leaks_nothing_to_sync_code():
            assert other.get() == "untouched"
            with pytest.raises(LookupError):
                var.get()
        """
    )

    result = pytester.runpytest()

    result.assert_outcomes(passed=3)


def test_context_variables_of_a_wider_fixture_are_seen_and_undone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_a="""
        import contextvars, pytest, pytest_asyncio, shared

        pytestmark = pytest.mark.asyncio(loop_scope="module")

        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def wide():
            token = shared.var.set("wide")
            yield
            shared.var.reset(token)

        @pytest.fixture
        def changed():
            token = shared.var.set("changed by sync code")
            yield
            shared.var.reset(token)

        async def test_sees(wide):
            assert shared.var.get() == "wide"
            shared.var.set("changed by the test")

        async def test_sees_still(wide):
            assert shared.var.get() == "wide"

        async def test_sees_sync_code(wide, changed):
            assert shared.var.get() == "changed by sync code"
        """,
        test_b="""
        import shared

        def test_undone():
            assert shared.var.get("unset") == "unset"
        """,
        shared="import contextvars\nvar = contextvars.ContextVar('var')\n",
    )

    result = pytester.runpytest()

    result.assert_outcomes(passed=4)


def test_a_cancelled_set_up_names_the_crash_too(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import asyncio, pytest, pytest_asyncio

        @pytest_asyncio.fixture
        async def service():
            async def serve():
                raise LookupError("upstream is gone")

            async with asyncio.TaskGroup() as group:
                group.create_task(serve())
                yield

        @pytest_asyncio.fixture
        async def client(service):
            await asyncio.sleep(30)

        @pytest.mark.asyncio
        async def test_waits(client):
            pass
        """
    )

    result = pytester.runpytest()

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*the set-up of fixture 'client' was cancelled at *.py:14, because this task of fixture*"]
    )


@pytest.mark.parametrize("options", [(), ("--interleave", "--interleave-runs=10")], ids=["plain", "explored"])
@pytest.mark.parametrize("end", ["asyncio.CancelledError", "GeneratorExit", "Ended"])
@pytest.mark.parametrize("scope", ["function", "module"])
def test_whatever_ends_a_set_up_is_told_to_each_test_that_asks_for_it(
    pytester: pytest.Pytester, scope: str, end: str, options: tuple[str, ...]
) -> None:
    pytester.makepyfile(
        test_it=f"""
        import asyncio, pytest, pytest_asyncio

        class Ended(BaseException):
            pass

        @pytest_asyncio.fixture(scope="{scope}")
        async def service():
            await asyncio.sleep(0)
            raise {end}

        @pytest.mark.asyncio
        async def test_one(service):
            pass

        @pytest.mark.asyncio
        async def test_two(service):
            pass
        """
    )

    result = pytester.runpytest(*options)

    result.assert_outcomes(errors=2)
    name = end.rpartition(".")[2]
    result.stdout.fnmatch_lines([f"ERROR test_it.py::test_{number} - *{name}*" for number in ("one", "two")])
    result.stdout.no_fnmatch_line("*AssertionError*")
