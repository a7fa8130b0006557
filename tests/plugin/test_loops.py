"""Loops that meet, loops of old suites, loops of xunit-style functions."""

from __future__ import annotations

import pytest
from sessions import run_fresh


def test_a_report_of_two_loops_says_which_fixture_lives_where_and_what_to_set(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import asyncio, pytest, pytest_asyncio

        @pytest_asyncio.fixture(scope="session")
        async def pool():
            return asyncio.get_running_loop().create_future()

        @pytest.mark.asyncio
        async def test_uses(pool):
            await pool
        """
    )

    result = pytester.runpytest()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*attached to a different loop",
            "*Two event loops met in this test:",
            "*fixture 'pool' runs in the session loop",
            "*the test runs in the function loop",
            '*Set asyncio_loop_scope = session in the ini file, or mark *@pytest.mark.asyncio(loop_scope="session").',
        ]
    )


def test_a_report_of_a_closed_loop_says_what_to_do(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import asyncio, pytest

        kept = []

        @pytest.mark.asyncio
        async def test_keeps():
            kept.append(asyncio.get_running_loop())

        @pytest.mark.asyncio
        async def test_uses():
            kept[0].call_soon(print)
        """
    )

    result = pytester.runpytest()

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*Something was kept from an earlier test, whose loop is closed. Make it in a fixture*"]
    )


def test_getfixturevalue_of_an_async_fixture_in_a_running_test_names_the_alternative(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    pytester.makepyfile(
        """
        import pytest, pytest_asyncio

        @pytest_asyncio.fixture
        async def late():
            yield 1

        @pytest.fixture
        def ready(request):
            return request.getfixturevalue("late")

        @pytest.mark.asyncio
        async def test_bad(request):
            request.getfixturevalue("late")

        @pytest.mark.asyncio
        async def test_good(request, ready):
            assert request.getfixturevalue("late") == ready == 1

        def test_sync(request):
            assert request.getfixturevalue("late") == 1
        """
    )

    result = pytester.runpytest()

    result.assert_outcomes(failed=1, passed=2)
    result.stdout.fnmatch_lines(
        ["*RuntimeError: request.getfixturevalue('late') was called while async code is running in 'test_bad': *"]
    )


def test_getfixturevalue_shows_the_line_that_called_it_and_nothing_of_how_it_was_refused(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        test_it="""
        import pytest, pytest_asyncio

        @pytest_asyncio.fixture
        async def late():
            return 1

        @pytest_asyncio.fixture
        async def nested(request):
            return request.getfixturevalue("late")

        def fetch(request):
            return request.getfixturevalue("late")

        @pytest.mark.asyncio
        async def test_in_helper(request):
            fetch(request)

        @pytest.mark.asyncio
        async def test_in_fixture(nested):
            pass
        """
    )

    result = pytester.runpytest()
    whole = pytester.runpytest("--full-trace")

    result.assert_outcomes(failed=1, errors=1)
    places = [line for line in result.outlines if line.startswith(("test_", "../", "/")) and ".py:" in line]
    assert [place.split(" ")[0] for place in places] == ["test_it.py:9:", "test_it.py:16:", "test_it.py:12:"]
    whole.stdout.fnmatch_lines(["*fixture_jobs.py*"])


def test_async_xunit_functions_are_awaited_in_the_loop_of_the_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import asyncio, pytest

        events = []

        async def setup_module(module):
            await asyncio.sleep(0)
            events.append("setup_module")

        async def setup_function():
            await asyncio.sleep(0)
            events.append("setup_function")

        async def teardown_function(function):
            await asyncio.sleep(0)
            events.append(f"teardown {function.__name__}")

        @pytest.mark.asyncio
        async def test_function():
            assert events == ["setup_module", "setup_function"]

        @pytest.mark.asyncio(loop_scope="class")
        class TestMethods:
            @classmethod
            async def setup_class(cls):
                await asyncio.sleep(0)
                events.append("setup_class")

            async def setup_method(self, method):
                self.loop = asyncio.get_running_loop()
                events.append(f"setup {method.__name__}")

            async def teardown_method(self):
                await asyncio.sleep(0)
                events.append("teardown_method")

            async def test_method(self):
                assert self.loop is asyncio.get_running_loop()
                assert events[2:] == ["teardown test_function", "setup_class", "setup test_method"]

            def test_sync(self):
                assert events[5:] == ["teardown_method", "setup test_sync"]

        class TestSyncSetUp:
            def setup_method(self):
                self.value = 1

            @pytest.mark.asyncio
            async def test_sees(self):
                assert self.value == 1
        """
    )

    result = pytester.runpytest("-Wdefault")

    result.assert_outcomes(passed=4, warnings=1)


@pytest.mark.parametrize("scope", ["function", "session"])
def test_a_suite_that_overrides_event_loop_runs_in_that_loop_and_is_told_once(
    pytester: pytest.Pytester, scope: str
) -> None:
    pytester.makeini("[pytest]\nfilterwarnings = error\nasyncio_mode = auto\n")
    pytester.makeconftest(
        f"""
        import asyncio, pytest

        @pytest.fixture(scope="{scope}")
        def event_loop():
            loop = asyncio.new_event_loop()
            loop.is_mine = True
            yield loop
            loop.close()

        @pytest.fixture(scope="{scope}")
        async def pool():
            loop = asyncio.get_running_loop()
            yield loop
            assert not loop.is_closed()
        """
    )
    pytester.makepyfile(
        """
        import asyncio, pytest

        async def test_async(pool, event_loop):
            assert asyncio.get_running_loop() is pool is event_loop
            assert pool.is_mine

        async def test_async_again(pool):
            assert asyncio.get_running_loop() is pool

        def test_by_hand(event_loop, pool):
            assert event_loop is pool
            assert event_loop.run_until_complete(asyncio.sleep(0, 5)) == 5

        @pytest.mark.asyncio(loop_scope="module")
        async def test_of_today():
            assert not hasattr(asyncio.get_running_loop(), "is_mine")
        """
    )

    result = pytester.runpytest()

    result.assert_outcomes(passed=4)
    lines = [line for line in result.outlines if "'event_loop'" in line]
    assert len(lines) == 1
    assert "Overriding it is deprecated" in lines[0]


def test_a_hand_made_event_loop_works_unaided_in_sync_tests(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    pytester.makepyfile(
        """
        import asyncio, pytest

        @pytest.fixture
        def event_loop():
            loop = asyncio.new_event_loop()
            yield loop
            loop.close()

        async def fetch_event(session, number):
            await asyncio.sleep(0)
            return {"id": number}

        def test_fetch(event_loop):
            assert event_loop.run_until_complete(fetch_event(None, 1)) == {"id": 1}
        """
    )

    result = pytester.runpytest()

    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*deprecated*")


def test_an_old_test_may_request_event_loop_without_defining_it(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    pytester.makepyfile(
        """
        import asyncio, pytest

        def test_by_hand(event_loop):
            assert event_loop.run_until_complete(asyncio.sleep(0, 5)) == 5

        @pytest.mark.asyncio
        async def test_async(event_loop):
            assert asyncio.get_running_loop() is event_loop
        """
    )

    result = pytester.runpytest()

    result.assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("return 5", "*The fixture 'event_loop' must give an event loop, but gave 5.*"),
        ("", "*event_loop*but gave None.*"),
    ],
)
def test_an_event_loop_fixture_that_gives_no_loop_is_one_line(pytester: pytest.Pytester, body: str, line: str) -> None:
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.fixture
        def event_loop():
            {body or "pass"}

        @pytest.mark.asyncio
        async def test_a():
            pass
        """
    )

    result = pytester.runpytest()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([line])


def test_pytest_inside_a_running_loop_says_how_to_start_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_inner="""
        import pytest, pytest_asyncio

        @pytest_asyncio.fixture
        async def fixture():
            pass

        @pytest.mark.asyncio
        async def test_a():
            pass

        def test_b(fixture):
            pass

        def test_sync():
            pass
        """,
        outer="""
        import asyncio, pytest

        async def main():
            return pytest.main(["test_inner.py"])

        asyncio.run(main())
        """,
    )

    result = pytester.runpython("outer.py")

    result.assert_outcomes(passed=1, failed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["*async fixture 'fixture' cannot run, because pytest itself was started inside a running*"]
    )
    result.stdout.fnmatch_lines(
        ["*The async test cannot run, because pytest itself*await asyncio.to_thread(pytest.main*"]
    )


def test_interrupt_cancels_the_test_and_tears_its_fixtures_down(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import asyncio, os, signal, pytest, pytest_asyncio

        @pytest_asyncio.fixture
        async def fixture():
            yield
            await asyncio.sleep(0)
            print("torn down")

        @pytest.mark.asyncio
        async def test_a(fixture):
            asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), signal.SIGINT)
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                print("cancelled")
                raise
        """
    )

    result = run_fresh(pytester, "-s")

    result.stdout.fnmatch_lines(["*cancelled", "*torn down", "*KeyboardInterrupt*"])
    assert result.ret == pytest.ExitCode.INTERRUPTED


def test_a_test_that_stops_or_closes_its_loop_harms_nobody_else(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import asyncio, pytest

        @pytest.mark.asyncio(loop_scope="module")
        async def test_stops():
            asyncio.get_running_loop().stop()
            await asyncio.sleep(0.1)

        @pytest.mark.asyncio(loop_scope="module")
        async def test_next():
            await asyncio.sleep(0)
        """
    )

    result = pytester.runpytest()

    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["*RuntimeError: Event loop stopped before Future completed."])


def test_setup_plan_runs_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest, pytest_asyncio

        @pytest_asyncio.fixture
        async def fixture():
            raise AssertionError

        @pytest.mark.asyncio
        async def test_a(fixture):
            raise AssertionError
        """
    )

    result = pytester.runpytest("--setup-plan")

    assert result.ret == 0
    result.stdout.fnmatch_lines(["*SETUP    F fixture"])
