"""Options, keys, marks and decorator arguments that are wrong: one clear line each, never an INTERNALERROR."""

from __future__ import annotations

import pytest

FILTER = "filterwarnings = error\n"


@pytest.mark.parametrize(
    ("ini", "arguments", "line"),
    [
        ("asyncio_mode = semi", (), "ERROR: 'semi' is not a valid asyncio_mode. Valid modes: auto, strict."),
        ("", ("--asyncio-mode=semi",), "ERROR: 'semi' is not a valid asyncio_mode. Valid modes: auto, strict."),
        ("asyncio_loop_scope = loop", (), "ERROR: 'loop' is not a valid asyncio_loop_scope. Valid scopes are: *"),
        (
            "asyncio_default_test_loop_scope = x",
            (),
            "ERROR: 'x' is not a valid asyncio_default_test_loop_scope. Valid scopes are: *",
        ),
        (
            "asyncio_default_fixture_loop_scope = x",
            (),
            "ERROR: 'x' is not a valid asyncio_default_fixture_loop_scope. Valid scopes are: *",
        ),
        ("interleave_misuse = maybe", (), "ERROR: 'maybe' is not a valid interleave_misuse. Valid values: fail, warn."),
        ("asyncio_debug = perhaps", (), "ERROR: asyncio_debug: *perhaps*"),
    ],
)
def test_a_wrong_option_is_one_line(pytester: pytest.Pytester, ini: str, arguments: tuple[str, ...], line: str) -> None:
    pytester.makeini(f"[pytest]\n{FILTER}{ini}\n")

    result = pytester.runpytest(*arguments)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([line])
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()


def test_wrong_marks_and_fixtures_fail_with_one_line(pytester: pytest.Pytester) -> None:
    pytester.makeini(f"[pytest]\n{FILTER}")
    pytester.makeconftest(
        """
        import pytest

        def pytest_collection_modifyitems(items):
            for item in items:
                if item.name == "test_late_mark":
                    item.add_marker(pytest.mark.asyncio(loop_scope="late"), append=False)
        """
    )
    pytester.makepyfile(
        """
        import pytest, pytest_asyncio

        @pytest_asyncio.fixture(loop_scope="galaxy")
        async def lost():
            pass

        @pytest_asyncio.fixture(scope="session", loop_scope="function")
        async def wide():
            pass

        @pytest_asyncio.fixture
        async def empty():
            if False:
                yield

        @pytest_asyncio.fixture
        async def twice():
            yield 1
            yield 2

        @pytest.mark.asyncio
        async def test_lost(lost): pass

        @pytest.mark.asyncio
        async def test_wide(wide): pass

        @pytest.mark.asyncio
        async def test_empty(empty): pass

        @pytest.mark.asyncio
        async def test_twice(twice): pass

        @pytest.mark.asyncio
        async def test_late_mark(): pass
        """
    )

    result = pytester.runpytest()

    result.assert_outcomes(errors=4, passed=1, failed=1)
    text = result.stdout.str()
    assert "fixture 'lost': 'galaxy' is not a valid loop_scope. Valid scopes are: function, class, module" in text
    assert (
        "ScopeMismatch: the session scoped async fixture 'wide' runs in the function loop (by its loop_scope)" in text
    )
    assert "fixture 'empty' did not yield a value" in text
    assert "fixture 'twice': Async generator fixture didn't stop.Yield only once." in text
    assert "mark.asyncio got an unexpected loop scope value 'late'. Valid scopes are:" in text
    assert "INTERNALERROR" not in text


def test_a_loop_factory_that_makes_no_loop_is_one_line(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("def pytest_asyncio_loop_factories(config, item):\n    return {'bad': dict}\n")
    pytester.makepyfile("import pytest\n@pytest.mark.asyncio\nasync def test_a(): pass\n")

    result = pytester.runpytest()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["The loop factory dict must return an event loop, but it returned {}."])


def test_start_up_survives_warnings_as_errors(pytester: pytest.Pytester) -> None:
    pytester.makeini(f"[pytest]\n{FILTER}asyncio_mode = auto\n")
    pytester.makepyfile("async def test_a(): pass\n")

    result = pytester.runpytest()

    result.assert_outcomes(passed=1)


def test_one_key_sets_the_loop_of_tests_and_fixtures(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_loop_scope = session\nasyncio_mode = auto\n")
    pytester.makepyfile(
        """
        import asyncio, pytest, pytest_asyncio

        loops = []

        @pytest.fixture
        async def narrow():
            loops.append(asyncio.get_running_loop())

        @pytest.fixture(scope="module")
        async def wide():
            loops.append(asyncio.get_running_loop())

        @pytest_asyncio.fixture(loop_scope="function")
        async def own():
            return asyncio.get_running_loop()

        async def test_a(narrow, wide):
            loops.append(asyncio.get_running_loop())

        async def test_b(narrow, wide):
            loops.append(asyncio.get_running_loop())
            assert len(set(loops)) == 1

        @pytest.mark.asyncio(loop_scope="function")
        async def test_explicit_arguments_win(own):
            assert own is asyncio.get_running_loop()
            assert own not in loops
        """
    )

    result = pytester.runpytest()

    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        ["asyncio: mode=*, asyncio_default_fixture_loop_scope=session, *_test_loop_scope=session"]
    )


def test_the_header_says_so_when_tests_and_fixtures_get_different_loops(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = session\n")
    pytester.makepyfile("def test_a(): pass\n")

    result = pytester.runpytest()

    result.stdout.fnmatch_lines(["asyncio: fixtures run in the session loop and tests in the function loop; *"])
    result.stdout.fnmatch_lines(["*Set asyncio_loop_scope = session for both."])
