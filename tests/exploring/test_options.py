"""Flags, ini keys and the mark."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

_TWO = """
async def test_one():
    await work()

async def test_two():
    await work()
"""


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("--interleave-runs=0", "'0' is not a valid --interleave-runs: it must be a whole number, 1 or more."),
        ("--interleave-runs=2.5", "'2.5' is not a valid --interleave-runs: it must be a whole number, 1 or more."),
        ("--interleave-time=-1", "'-1' is not a valid --interleave-time: it must be a number of seconds above 0."),
        ("--interleave-time=nan", "'nan' is not a valid --interleave-time: it must be a number of seconds above 0."),
        ("--interleave-seed=x", "'x' is not a valid --interleave-seed: it must be a whole number, 0 or more."),
        ("--interleave-mode=x", "'x' is not a valid --interleave-mode. Valid values: stock, realistic, *"),
        ("--interleave-order-only=x", "'x' is not a valid --interleave-order-only. Valid values: note, fail, off."),
        ("--interleave-profile=x", "'x' is not a valid --interleave-profile. Valid values: default, night."),
        ("--interleave-json=/proc/no/file", "--interleave-json: cannot write /proc/no/file: *"),
        ("-ointerleave_runs=x", "'x' is not a valid interleave_runs: it must be a whole number, 1 or more."),
        ("-ointerleave=maybe", "'maybe' is not a valid value of interleave: it must be true or false."),
    ],
)
def test_wrong_options_are_refused_in_one_line(explore, option: str, line: str) -> None:
    result = explore(_TWO, option, flag="ointerleave=" not in option)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {line}"])


def test_wrong_marks_fail_their_test_in_one_line(explore) -> None:
    result = explore(
        """
        @pytest.mark.interleave(runs=0)
        async def test_1(): pass

        @pytest.mark.interleave(unknown=0)
        async def test_2(): pass

        @pytest.mark.interleave("x")
        async def test_3(): pass

        @pytest.mark.interleave(mode="x")
        async def test_4(): pass
        """,
        flag=False,
    )

    result.assert_outcomes(errors=4)
    result.stdout.fnmatch_lines(
        [
            "test_it.py::test_1: 0 is not a valid mark.interleave's runs: it must be a whole number, 1 or more.",
            "test_it.py::test_2: mark.interleave takes *, not unknown",
            "test_it.py::test_3: mark.interleave takes *",
            "test_it.py::test_4: 'x' is not a valid mark.interleave's mode. Valid values: *",
        ]
    )
    assert "During handling" not in result.stdout.str()


def test_marks_explore_and_leave_out(explore) -> None:
    source = """
        @pytest.mark.interleave(runs=30)
        async def test_marked():
            await work()

        async def test_plain():
            await work()

        @pytest.mark.interleave(False)
        async def test_left_out():
            assert type(asyncio.get_running_loop()).__module__.startswith(("asyncio", "pytest_interleave.loop._plain"))
    """

    result = explore(source, "-v", flag=False)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["test_it.py::test_marked: 30 runs, *", "1 explored in 30 runs*"])

    result = explore(source, "-v", "--interleave-runs=40")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*::test_marked: 30 runs, *", "*::test_plain: 40 runs, *", "2 explored in 70 runs*"])


def test_ini_keys_and_the_profile_for_nights(explore) -> None:
    result = explore(_TWO, flag=False, ini="interleave = true\ninterleave_runs = 40\ninterleave_seed = 77\n")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        ["interleave: realistic, up to 40 runs a test, --interleave-seed=77", "2 explored in 80 runs*"]
    )

    result = explore(_TWO, "--interleave-profile=night", "--interleave-time=0.3")
    result.stdout.fnmatch_lines(["interleave: realistic, up to 10000 runs or 0.3 s a test, *"])


def test_nothing_to_explore_is_said_and_counted(explore, tmp_path: Path) -> None:
    result = explore(
        """
        async def test_nothing():
            await asyncio.sleep(1)

        async def test_something():
            await work()

        def test_sync():
            pass
        """,
        "-v",
        f"--interleave-json={tmp_path / 'folder' / 'out.json'}",
    )

    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        ["*::test_nothing: nothing to explore*", "1 explored in 202 runs* 1 had nothing to explore"]
    )
    tests = json.loads((tmp_path / "folder" / "out.json").read_text())["tests"]
    assert [(test["nodeid"], test["verdict"], test["runs"]) for test in tests] == [
        ("test_it.py::test_nothing", "exhausted", 2),
        ("test_it.py::test_something", "sampled", 200),
    ]
    keys = ["nodeid", "outcome", "verdict", "runs", "found_in_run", "seed", "token", "label", "tried"]
    keys += ["sentence", "seconds", "suspensions", "suspensions_tried", "cuts", "cuts_tried", "findings"]
    assert list(tests[0]) == keys


def test_a_thread_beside_the_tests_changes_nothing(explore) -> None:
    stop = threading.Event()
    beside = threading.Thread(target=stop.wait)
    beside.start()
    try:
        result = explore("async def test_nothing(): await asyncio.sleep(1)", "-v")
    finally:
        stop.set()
        beside.join()

    result.stdout.fnmatch_lines(
        [
            "*::test_nothing: nothing to explore: 1 suspension point, *",
            "1 had nothing to explore in 2 runs, * s",
        ]
    )
