"""The garbage collector is spared what lives as long as the session, and is left as it was found."""

import gc
import sys
from textwrap import dedent

import pytest
from sessions import run_fresh


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(
        dedent("""\
        import gc, weakref

        AT_IMPORT = gc.get_threshold()[0]

        class Node:
            pass

        def test_what_tests_make_is_collected():
            node = Node()
            node.itself = node
            ghost = weakref.ref(node)
            del node
            gc.collect()
            assert ghost() is None

        def test_state():
            print("at import", AT_IMPORT, "now", gc.get_threshold(), "frozen", gc.get_freeze_count() > 10_000)
        """)
    )
    return pytester


def test_collector_rests_while_pytest_collects(suite: pytest.Pytester) -> None:
    result = run_fresh(suite, "-s")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines([f"*at import 1000000 now {gc.get_threshold()} frozen True*"])


@pytest.mark.parametrize("choice", [("-p", "no:interleave-garbage"), ("-p", "tuned")])
def test_users_choice_stands(suite: pytest.Pytester, choice: tuple[str, str]) -> None:
    suite.makepyfile(tuned="import gc; gc.set_threshold(*gc.get_threshold()); gc.disable()")
    result = run_fresh(suite, "-s", *choice)
    result.assert_outcomes(passed=2)
    first = gc.get_threshold()[0]
    result.stdout.fnmatch_lines([f"*at import {first} now {gc.get_threshold()} frozen False*"])


def test_process_is_left_as_it_was_found(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        main=dedent("""\
        import gc, pytest
        before, frozen = gc.get_threshold(), gc.get_freeze_count()
        assert pytest.main(["-q"]) == 0
        print("left", gc.get_threshold() == before, gc.get_freeze_count() <= frozen)
        """)
    )
    suite.run(sys.executable, "main.py").stdout.fnmatch_lines(["left True True"])


def test_nothing_is_left_to_look_at_when_python_exits(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        main=dedent("""\
        import atexit, gc, pytest
        atexit.register(lambda: print("at exit", gc.get_freeze_count() > 10_000))  # is called last
        assert pytest.main(["-q"]) == 0
        """)
    )
    suite.run(sys.executable, "main.py").stdout.fnmatch_lines(["at exit True"])


def test_hypothesis_sees_who_refers_to_what_it_is_given(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import gc, random

        numbers = random.Random()

        def pytest_terminal_summary(terminalreporter):
            terminalreporter.write_line(f"seen: {bool(gc.get_referrers(numbers))}")
        """
    )
    pytester.makepyfile("def test_it():\n    pass\n")

    pytester.runpytest_subprocess().stdout.fnmatch_lines(["seen: True"])
