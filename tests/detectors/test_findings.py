"""What becomes of a finding: levels, the allow-list, the report of the test, the summary, JSON, xdist."""

from __future__ import annotations

import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from sessions import run_forked

from pytest_interleave.detectors.findings import DETECTORS, Finding

CONFTEST = """
import pytest
from pytest_interleave.detectors.findings import Finding
from pytest_interleave.plugin.detecting.hooks import report_finding

@pytest.fixture
def find(request):
    def find(detector, place="worker.py:7"):
        path = str(request.config.rootpath / place)
        finding = Finding(detector, "it went wrong", path, ("a detail",), "Do it right.")
        report_finding(request.config, request.node, finding)
    return find
"""
TESTS = """
import pytest

def test_fails(find):
    find("never-awaited")

def test_fails_by_itself(find):
    find("never-awaited")
    assert 1 == 2

def test_finds_two(find):
    find("never-awaited")
    find("lost-exception", "other.py:9")

def test_reports(find):
    find("leaked-task")

def test_reports_the_same(find):
    find("leaked-task")

@pytest.mark.interleave_detect(left_open="off")
def test_is_quiet(find):
    find("left-open")

@pytest.mark.interleave_detect(leaked_task="fail")
def test_marked(find):
    find("leaked-task")

@pytest.mark.interleave_allow("never-awaited", match=r"worker\\.py")
def test_allowed(find):
    find("never-awaited")

@pytest.mark.interleave_allow("never-awaited", match="elsewhere")
def test_allowed_elsewhere(find):
    find("never-awaited")

@pytest.mark.xfail(strict=False)
def test_expected(find):
    find("never-awaited")
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(TESTS)
    return pytester


def test_a_finding_fails_its_test_or_is_listed_once(suite: pytest.Pytester) -> None:
    result = suite.runpytest("-W", "error")

    result.assert_outcomes(failed=5, passed=4, xfailed=1)
    text = result.stdout.str()
    summary = text.partition("= interleave findings =")[2].partition("short test summary")[0]
    assert "never-awaited: it went wrong  (worker.py:7)\n    a detail\n  Do it right." in text
    assert "2 findings: never-awaited, lost-exception\n[1] never-awaited" in text
    assert text.index("assert 1 == 2") < text.index("- interleave findings -")
    assert summary.count("leaked-task: it went wrong") == 1
    assert "test_reports and 1 more" in summary
    assert "never-awaited" not in summary


@pytest.mark.parametrize("strict", [("--interleave-strict",), ("-o", "interleave_strict=true")])
def test_strict_lets_all_fail_but_what_is_named(suite: pytest.Pytester, strict: tuple[str, ...]) -> None:
    result = suite.runpytest(*strict, "--interleave-detect=left-open=off", "-k", "reports or quiet")

    result.assert_outcomes(failed=2, passed=1)


def test_the_ini_file_sets_levels_and_allows(suite: pytest.Pytester) -> None:
    suite.makeini(
        "[pytest]\ninterleave_detect =\n    leaked-task = fail\ninterleave_allow =\n    never-awaited: worker\n"
    )

    result = suite.runpytest("-k", "fails or test_reports")

    result.assert_outcomes(failed=3, passed=1)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--interleave-detect=leaked-tasks=fail"], "there is no detector 'leaked-tasks'. Did you mean 'leaked-task'?"),
        (["--interleave-detect=leaked-task=loud"], "'loud' is not a level. Levels are: off, report, fail."),
        (["--interleave-detect=leaked-task"], "'leaked-task' is not of the form name=level"),
        (["-o", "interleave_allow=leaked-task: ("], "'(' is not a regular expression"),
        (["-o", "interleave_strict=perhaps"], "'perhaps' is not a valid interleave_strict"),
    ],
)
def test_wrong_settings_end_the_session_with_one_line(suite: pytest.Pytester, arguments: list[str], line: str) -> None:
    result = suite.runpytest(*arguments)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert re.search(f"^ERROR: .*{re.escape(line)}", result.stderr.str(), re.MULTILINE)


def test_a_wrong_mark_fails_its_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.interleave_detect(leakedtask="fail")
        def test_name(): pass

        @pytest.mark.interleave_allow("leaked-task", match="(")
        def test_pattern(): pass

        @pytest.mark.interleave_detect("leaked-task")
        class TestClass:
            def test_form(self): pass

        def test_without(): pass
        """
    )

    result = pytester.runpytest("--strict-markers")

    result.assert_outcomes(failed=3, passed=1)
    result.stdout.fnmatch_lines_random(
        [
            "*no detector 'leakedtask'. Did you mean 'leaked-task'?",
            "*'(' is not a regular expression*",
            "*takes detectors by name*",
        ]
    )


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_the_json_file_has_the_findings_of_plain_runs(suite: pytest.Pytester, workers: tuple[str, ...]) -> None:
    result = run_forked(suite, "--interleave-json=out.json", *workers)

    result.assert_outcomes(failed=5, passed=4, xfailed=1)
    assert "test_reports" in result.stdout.str().partition("= interleave findings =")[2]
    tests = json.loads(Path("out.json").read_text())["tests"]
    found = {test["nodeid"].partition("::")[2]: test["findings"] for test in tests}
    assert [entry["detector"] for entry in found["test_finds_two"]] == ["never-awaited", "lost-exception"]
    assert found["test_reports"][0] == {
        "detector": "leaked-task",
        "summary": "it went wrong",
        "where": "worker.py:7",
        "details": ["a detail"],
        "advice": "Do it right.",
        "level": "report",
    }
    assert "test_is_quiet" not in found
    assert "test_allowed" not in found


@pytest.mark.parametrize("workers", [(), ("-n", "1")])
def test_what_belongs_to_no_test_fails_the_session(pytester: pytest.Pytester, workers: tuple[str, ...]) -> None:
    pytester.makeconftest(
        CONFTEST + "\n"
        "@pytest.fixture(scope='session', autouse=True)\n"
        "def wide(request):\n"
        "    report_finding(request.config, None, Finding('never-awaited', 'nobody knows'))\n"
    )
    pytester.makepyfile("def test_it(): pass")

    result = run_forked(pytester, *workers)

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["never-awaited: nobody knows"])


def test_a_finding_survives_the_way_to_the_controller() -> None:
    finding = Finding("hang", "it hangs", "a.py:1", ("one", "two"), "Wake it.")

    assert Finding.from_json(json.loads(json.dumps(finding.as_json()))) == finding


def test_the_reference_has_each_detector_with_its_level() -> None:
    reference = Path(__file__, "../../../docs/reference.md").resolve().read_text()

    assert [
        name for name, (level, what) in DETECTORS.items() if f"| `{name}` | `{level.value}` | {what}" not in reference
    ] == []


REAL = """
import asyncio, time

async def send(): pass

async def charge():
    raise LookupError("no such card")

async def test_lies_thrice():
    send()
    asyncio.create_task(charge())
    await asyncio.sleep(0)
    asyncio.create_task(asyncio.sleep(60), name="courier")
    time.sleep(0.4)

async def test_fails_and_lies():
    send()
    assert 1 == 2

async def test_right():
    await asyncio.sleep(0)
"""


@pytest.mark.parametrize("options", [(), ("--interleave", "--interleave-runs=3")], ids=["plain", "explored"])
def test_what_detectors_find_comes_as_values(pytester: pytest.Pytester, options: tuple[str, ...]) -> None:
    pytester.makeini("[pytest]\nasyncio_mode = auto\n")
    pytester.makepyfile(test_it=REAL)
    # A lost exception fails explored runs by itself.
    off = "--interleave-detect=lost-exception=off" if options else "--interleave-detect=left-open=off"

    result = run_forked(pytester, "--interleave-json=out.json", off, *options)

    result.assert_outcomes(failed=2, passed=1)
    tests = json.loads(Path("out.json").read_text())["tests"]
    found = {test["nodeid"].partition("::")[2]: test.get("findings", []) for test in tests}
    names = [entry["detector"] for entry in found["test_lies_thrice"]]
    assert sorted(names) == sorted(
        ["never-awaited", "leaked-task", "blocked-loop", *([] if options else ["lost-exception"])]
    )
    for entry in found["test_lies_thrice"]:
        assert entry["where"].startswith("test_it.py:")
        assert entry["summary"]
        assert entry["advice"]
        assert entry["level"] == ("report" if entry["detector"] in ("leaked-task", "blocked-loop") else "fail")
    assert found.get("test_right", []) == []


def test_several_findings_are_one_failure_and_the_tests_own_goes_first(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_mode = auto\n")
    pytester.makepyfile(test_it=REAL)

    result = run_forked(pytester, "--interleave-detect=blocked-loop=fail")

    result.assert_outcomes(failed=2, passed=1)
    result.stdout.fnmatch_lines(
        [
            "*_ test_lies_thrice _*",
            "3 findings: never-awaited, lost-exception, blocked-loop",
            "[[]1[]] never-awaited: coroutine 'send' was never awaited  (test_it.py:9)",
            "[[]2[]] lost-exception: Task exception was never retrieved: *",
            "[[]3[]] blocked-loop: time.sleep(0.4) waited for *",
            "*_ test_fails_and_lies _*",
            ">       assert 1 == 2",
            "*- interleave findings -*",
            "never-awaited: coroutine 'send' was never awaited  (test_it.py:16)",
        ]
    )


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "xdist"])
def test_the_short_summary_of_a_server_has_a_line_a_test_and_files_have_it_all(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...]
) -> None:
    monkeypatch.setenv("CI", "true")  # pytest then prints messages whole
    pytester.makeini("[pytest]\nasyncio_mode = auto\ninterleave_detect = blocked-loop = off\n")
    pytester.makepyfile(test_it=REAL + "\nasync def test_waits():\n    await asyncio.Future()\n")

    result = run_forked(pytester, "--junitxml=out.xml", *workers)

    lines = str(result.stdout).partition("= short test summary info =")[2].splitlines()[1:-1]
    assert sorted(lines) == [
        "FAILED test_it.py::test_fails_and_lies - assert 1 == 2",
        "FAILED test_it.py::test_lies_thrice - 2 findings: never-awaited, lost-exception",
        "FAILED test_it.py::test_waits - Deadlock: everybody waits, and nothing can come from outside.",
    ]
    failures = {case.get("name"): case[0] for case in ElementTree.parse("out.xml").iter("testcase") if len(case)}
    for name, message, last in (
        ("test_lies_thrice", "2 findings: never-awaited, lost-exception", "handle the exception in it."),
        ("test_waits", "Deadlock: everybody waits, ", "test_waits: await asyncio.Future()"),
    ):
        assert str(failures[name].get("message")).startswith(message)
        assert str(failures[name].text).startswith(message)
        assert str(failures[name].text).endswith(last)


OBSERVED = """
import pytest
from pytest_interleave import FindingError

@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    error = call.excinfo and call.excinfo.value
    if isinstance(error, BaseExceptionGroup):
        assert call.excinfo.group_contains(FindingError, match="^never-awaited: coroutine 'send' was never awaited")
        print(f"\\nSEEN {item.name}: {[type(each).__name__ for each in error.exceptions]}")
    elif error is not None:
        what = error.finding.detector if isinstance(error, FindingError) else ""
        print(f"\\nSEEN {item.name}: {type(error).__name__} {what}")
    return report
"""


def test_a_test_with_several_failures_has_a_group_its_own_first(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_mode = auto\ninterleave_detect = blocked-loop = off\n")
    pytester.makeconftest(OBSERVED)
    pytester.makepyfile(
        test_it=REAL
        + """
import pytest, unittest

async def test_lies_once():
    send()

@pytest.mark.xfail(raises=ZeroDivisionError)
async def test_expected():
    send()
    1 / 0

async def test_gives_up():
    send()
    pytest.xfail("later")

class TestCase(unittest.TestCase):
    def test_of_a_case(self):
        send()
        self.assertEqual(1, 2)
"""
    )

    result = run_forked(pytester, "-s", "-rN")

    result.assert_outcomes(failed=4, passed=1, xfailed=2)
    assert [line.removeprefix("SEEN ").rstrip() for line in result.outlines if line.startswith("SEEN ")] == [
        "test_lies_thrice: ['FindingError', 'FindingError']",
        "test_fails_and_lies: ['AssertionError', 'FindingError']",
        "test_lies_once: FindingError never-awaited",
        "test_expected: ZeroDivisionError",
        "test_gives_up: XFailed",
        "test_of_a_case: ['AssertionError', 'FindingError']",
    ]
    assert str(result.stdout).count("AssertionError: 1 != 2") == 1


def test_a_debugger_stops_where_the_finding_is_or_else_where_the_test_failed(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_mode = auto\ninterleave_detect = blocked-loop = off\n")
    pytester.makepyfile(test_it=REAL)

    command = [sys.executable, "-m", "pytest", "--pdb", "-k", "lies"]
    result = pytester.run(*command, stdin=b"p finding.finding.detector\nq\n")
    other = pytester.run(*command, "-k", "fails", stdin=b"q\n")

    result.stdout.fnmatch_lines(["*> */test_it.py(9)<module>()", "-> send()"])
    other.stdout.fnmatch_lines(["*> */test_it.py(17)test_fails_and_lies()", "-> assert 1 == 2"])
