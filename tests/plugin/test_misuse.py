"""Tests that could not have run as meant: each fails and says what to change; with ``warn``, as pytest-asyncio."""

from __future__ import annotations

import pytest

FAIL = "[pytest]\ninterleave_misuse = fail\n"


def test_each_misuse_fails_and_says_what_to_change(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import functools, unittest
        import pytest, pytest_asyncio

        async def test_unmarked():
            assert False

        @pytest.mark.asyncoi
        async def test_misspelt():
            assert False

        @pytest.mark.asyncio
        def test_sync_marked():
            assert False

        def decorate(function):
            @functools.wraps(function)
            def wrapper(*args, **kwargs):
                return function(*args, **kwargs)
            return wrapper

        @decorate
        async def test_hidden():
            assert False

        @pytest.mark.asyncio
        @decorate
        async def test_hidden_and_marked():
            assert False

        class TestPlain(unittest.TestCase):
            async def test_in_test_case(self):
                assert False

        class TestIsolated(unittest.IsolatedAsyncioTestCase):
            async def test_fine(self):
                assert True

        @pytest.mark.asyncio
        async def test_generator():
            yield

        @pytest.fixture
        async def unawaited():
            return 1

        @pytest.mark.asyncio
        async def test_unawaited_fixture(unawaited):
            assert False

        def test_sync_with_unawaited_fixture(unawaited):
            assert False
        """
    )

    result = pytester.runpytest("-Wdefault")

    outcomes = result.parseoutcomes()
    assert outcomes["passed"] == 1
    assert outcomes["failed"] + outcomes["errors"] == 9
    text = result.stdout.str()
    for line in (
        "async def functions are not natively supported",
        "Mark the test with '@pytest.mark.asyncio', or set asyncio_mode = auto.",
        "The mark '@pytest.mark.asyncoi' is unknown: did you mean '@pytest.mark.asyncio'?",
        "test_sync_marked is marked with '@pytest.mark.asyncio' but it is not an async function.",
        "test_hidden is a sync function that returns a coroutine. Let the decorator's wrapper be 'async def'",
        "test_hidden_and_marked is an async test behind a sync decorator.",
        "Derive TestPlain from unittest.IsolatedAsyncioTestCase, or make it a plain class.",
        "This test is an async generator (it contains a yield)",
        "test_unawaited_fixture requested the async fixture 'unawaited', which nothing awaits",
        "make it with '@pytest_asyncio.fixture', or set asyncio_mode = auto.",
    ):
        assert line in text
    assert "INTERNALERROR" not in text


def test_with_the_keys_of_pytest_asyncio_its_milder_behaviour_is_the_default(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_mode = strict\n")
    pytester.makepyfile(
        """
        import unittest, pytest

        @pytest.mark.asyncio
        def test_sync_marked():
            pass

        @pytest.mark.asyncio
        async def test_generator():
            yield
        """
    )

    result = pytester.runpytest("-Wdefault")
    strict = pytester.runpytest("-Werror")

    result.assert_outcomes(passed=1, xfailed=1, warnings=2)
    strict.assert_outcomes(failed=2)
    assert "INTERNALERROR" not in strict.stdout.str()


def test_a_mark_inherited_by_a_sync_test_is_no_misuse(pytester: pytest.Pytester) -> None:
    pytester.makeini(FAIL)
    pytester.makepyfile(
        """
        import pytest

        pytestmark = pytest.mark.asyncio

        def test_sync():
            pass

        async def test_async():
            pass
        """
    )

    result = pytester.runpytest("-Wdefault")

    result.assert_outcomes(passed=2, warnings=1)
    result.stdout.fnmatch_lines(["*is marked with '@pytest.mark.asyncio' but it is not an async function*"])


def test_fail_can_be_chosen_besides_the_keys_of_pytest_asyncio(pytester: pytest.Pytester) -> None:
    pytester.makeini(FAIL + "asyncio_mode = strict\n")
    pytester.makepyfile("import pytest\n@pytest.mark.asyncio\ndef test_sync(): pass")

    result = pytester.runpytest()

    result.assert_outcomes(failed=1)


def test_an_async_fixture_that_nothing_awaits_is_said_where_the_test_is_explored_as_well(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        async def client():
            yield 1

        @pytest.mark.asyncio
        async def test_it(client):
            pass
        """
    )

    result = pytester.runpytest("--interleave")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*test_it requested the async fixture 'client', which nothing awaits: make it with *"])


@pytest.mark.parametrize("flags", [(), ("--interleave",)])
def test_a_wrong_mark_of_one_test_leaves_the_others_of_its_file_alone(
    pytester: pytest.Pytester, flags: tuple[str, ...]
) -> None:
    pytester.makepyfile(
        test_marks="""
        import pytest

        @pytest.mark.asyncio(loop_scope="modul")
        async def test_scope(): pass

        @pytest.mark.asyncio(loop_scop="module")
        async def test_argument(): pass

        @pytest.mark.asyncio(scope="module", loop_scope="module")
        class TestClass:
            async def test_inherited(self): pass

        @pytest.mark.asyncio
        async def test_right(): pass
        """
    )

    result = pytester.runpytest(*flags)

    result.assert_outcomes(passed=1, errors=3)
    result.stdout.fnmatch_lines(
        [
            "test_marks.py::test_scope: mark.asyncio got an unexpected loop scope value 'modul'. Valid scopes are: *",
            "test_marks.py::test_argument: mark.asyncio accepts only keyword arguments 'loop_scope' and *",
            "test_marks.py::TestClass::test_inherited: An asyncio pytest marker defines both *",
        ]
    )
