"""pytest's own options, and other plugins, beside exploration."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

_LOSES_UPDATE = """
async def test_loses_update():
    state = {"n": 0}
    await lose_update(state)
    assert state["n"] == 2

async def test_passes():
    await work()

async def test_loses_another():
    state = {"n": 0}
    await lose_update(state)
    assert state["n"] == 2
"""


def test_selection_stop_and_durations(explore) -> None:
    explore(_LOSES_UPDATE, "-x").assert_outcomes(failed=1)
    explore(_LOSES_UPDATE, "-k", "passes").assert_outcomes(passed=1, deselected=2)
    result = explore(_LOSES_UPDATE, "--durations=3", "-vv")
    result.assert_outcomes(failed=2, passed=1)
    # The time of one run, not of the exploration, which the summary has.
    assert all(float(seconds) < 0.2 for seconds in re.findall(r"^([\d.]+)s call", result.stdout.str(), re.MULTILINE))


def test_last_failed(explore) -> None:
    explore(_LOSES_UPDATE, cache=True).assert_outcomes(failed=2, passed=1)
    explore(_LOSES_UPDATE, "--lf", cache=True).assert_outcomes(failed=2)


def test_where_nothing_can_be_kept_pytest_alone_warns_of_it(explore, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    result = explore(_LOSES_UPDATE, "-o", f"cache_dir={tmp_path / 'file' / 'cache'}", cache=True, fresh=True)

    result.assert_outcomes(failed=2, passed=1, warnings=2)
    assert "interleave/failures" not in result.stdout.str() + result.stderr.str()


@pytest.mark.parametrize("option", ["--setup-plan", "--setup-only", "--collect-only"])
def test_nothing_is_run_where_pytest_runs_nothing(explore, option: str) -> None:
    result = explore(
        """
        @pytest.fixture
        async def box():
            return []

        async def test_one(box):
            raise SystemExit
        """,
        option,
    )

    assert result.ret == 0
    result.stdout.no_fnmatch_line("*explored*")


def test_xdist_workers_share_a_seed_and_send_what_they_found(explore, tmp_path: Path) -> None:
    pytest.importorskip("xdist")

    result = explore(_LOSES_UPDATE, "-n2", f"--interleave-json={tmp_path / 'out.json'}", "--interleave-time=5")

    result.assert_outcomes(failed=2, passed=1)
    header = re.findall(r"--interleave-seed=(\d+)$", result.stdout.str(), re.MULTILINE)
    assert len(header) == 1
    tests = json.loads((tmp_path / "out.json").read_text())["tests"]
    assert {test["seed"] for test in tests} == {int(header[0])}
    assert sorted(test["outcome"] for test in tests) == ["failed", "failed", "passed"]
    result.stdout.fnmatch_lines(["*late) ends before*", "3 explored in *"])


def test_xdist_with_marks_only(explore) -> None:
    pytest.importorskip("xdist")

    result = explore("@pytest.mark.interleave(runs=30)" + _LOSES_UPDATE, "-n1", flag=False)

    result.assert_outcomes(failed=1, passed=2)
    result.stdout.fnmatch_lines(["1 explored in *"])


def test_pdb_stops_in_the_failing_schedule_and_nowhere_before(explore, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        stub="""
        import sys

        class Debugger:
            quitting = False

            def __init__(self, *args, **kwargs):
                pass

            def reset(self):
                pass

            def set_trace(self, frame, *args, **kwargs):
                print("BREAKPOINT", frame.f_locals.get("state"))

            def interaction(self, frame, traceback):
                if isinstance(traceback, BaseException):
                    traceback = traceback.__traceback__
                while traceback.tb_next is not None:
                    traceback = traceback.tb_next
                print("STOPPED", traceback.tb_frame.f_locals.get("state"))
        """
    )

    result = explore(
        """
        async def test_loses_update():
            state = {"n": 0}
            breakpoint()
            import pdb
            await lose_update(state)
            assert state["n"] == 2
        """,
        "--pdb",
        "--pdbcls=stub:Debugger",
        fresh=True,
    )

    result.assert_outcomes(failed=1)
    assert result.stdout.str().count("BREAKPOINT") == 1
    result.stdout.fnmatch_lines(["*BREAKPOINT {'n': 0}*", "*STOPPED {'n': 1}*"])


def test_other_plugins_see_the_whole_report(explore, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        seen = []

        def pytest_runtest_logreport(report):
            seen.append(f"log {report.when} {report.outcome} {[title for title, _ in report.sections]}")

        def pytest_exception_interact(node, call, report):
            seen.append(f"interact {report.when} {report.outcome}")

        def pytest_terminal_summary(terminalreporter):
            for line in seen:
                terminalreporter.write_line(line)
        """
    )

    result = explore(_LOSES_UPDATE, "-k", "update")

    result.stdout.fnmatch_lines(
        [
            "log setup passed ??",
            "log call failed ?'interleave'?",
            "interact call failed",
            "log teardown passed ??",
        ],
        consecutive=True,
    )


def test_a_timeout_is_for_one_run(explore) -> None:
    pytest.importorskip("pytest_timeout")

    started = time.perf_counter()
    result = explore(
        """
        import time

        @pytest.mark.timeout(0.3)
        async def test_long_exploration():
            await work()

        @pytest.mark.timeout(0.3)
        async def test_blocks():
            time.sleep(60)
        """,
        "--interleave-runs=10000",
        "--interleave-time=1",
    )

    result.assert_outcomes(passed=1, failed=1)
    assert time.perf_counter() - started < 20
    result.stdout.fnmatch_lines(["*Timeout*0.3s*"])


def test_warnings_as_errors(explore) -> None:
    result = explore(_LOSES_UPDATE, "-W", "error", "-k", "passes", ini="filterwarnings = error")

    result.assert_outcomes(passed=1, deselected=2)
    result.stdout.no_fnmatch_line("* warning*")


def test_without_the_asyncio_plugin(explore) -> None:
    result = explore(_LOSES_UPDATE, "-p", "no:asyncio", "-o", "asyncio_mode=auto", "-k", "passes")

    result.stdout.no_fnmatch_line("*INTERNALERROR*")


_IMPATIENT = "from pytest_interleave.plugin.exploring import progress\nprogress._FIRST_SECONDS = 0.2\n"


def test_no_progress_but_on_a_terminal(explore, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_interleave.plugin.exploring.progress._FIRST_SECONDS", 0.2)

    result = explore("async def test_long(): await work()", "--interleave-time=0.5", "--interleave-runs=1000000")

    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*test_long: * runs, */s")


def test_progress_on_a_terminal(explore, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pexpect = pytest.importorskip("pexpect")
    explore("async def test_long(): await work()", "--collect-only")
    pytester.makeconftest(_IMPATIENT)
    monkeypatch.setenv("TERM", "xterm")

    child = pytester.spawn_pytest("--interleave --interleave-time=1 --interleave-runs=1000000 -p no:cacheprovider")

    child.expect(r"test_long: \d+ runs, \d+/s", timeout=20)
    child.expect("1 passed", timeout=20)
    child.expect(pexpect.EOF, timeout=20)


_TELLS_WHO_CALLS_IT = """
calls = []

async def test_passes():
    frame, names = sys._getframe(), []
    while frame is not None:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    calls.append(names.count("pytest_pyfunc_call"))  # the session around this one has called it, too
    await work()
    print("called through the hook:", f"{calls.count(max(calls))} of {len(calls)}")
"""


def test_where_no_plugin_calls_tests_only_the_reported_run_goes_through_the_hook(explore) -> None:
    result = explore(_TELLS_WHO_CALLS_IT, "-s", "-p", "no:anyio", "--interleave-runs=20")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*called through the hook: 1 of *"])


def test_a_plugin_that_calls_tests_is_asked_in_each_run(explore, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import pytest

        @pytest.hookimpl(wrapper=True)
        def pytest_pyfunc_call(pyfuncitem):
            pyfuncitem.module.asked = getattr(pyfuncitem.module, "asked", 0) + 1
            return (yield)
        """
    )

    result = explore(
        """
        runs = []

        async def test_passes():
            runs.append(None)
            await work()
            print("each was asked for:", asked == len(runs) > 5)
        """,
        "-s",
        "--interleave-runs=20",
    )

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*each was asked for: True"])


def test_many_tests_that_are_skipped_for_one_reason_have_one_line(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import asyncio, pytest

        @pytest.fixture
        def database():
            pytest.skip("no database")

        @pytest.mark.asyncio
        @pytest.mark.parametrize("number", range(5))
        async def test_it(database, number):
            await asyncio.sleep(0)

        @pytest.mark.asyncio
        async def test_other():
            pytest.skip("no disk")
        """
    )

    quiet, verbose = (pytester.runpytest("--interleave", *more) for more in ([], ["-v"]))

    for result in (quiet, verbose):
        result.assert_outcomes(skipped=6)
        result.stdout.fnmatch_lines(["*test_other: not explored: no disk"])
    quiet.stdout.fnmatch_lines(["*test_it?0? and 4 more: not explored: no database"])
    assert len([line for line in verbose.outlines if line.endswith(": not explored: no database")]) == 5
