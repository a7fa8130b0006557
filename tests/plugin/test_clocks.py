"""Python's clocks, where a test asks for virtual ones: in plain runs in virtual time, and explored."""

from __future__ import annotations

import datetime
import re
import shlex
import time
from pathlib import Path

import pytest
from sessions import run_fresh

MARKS = """
import asyncio, datetime, time, pytest, pytest_asyncio
from time import monotonic, perf_counter
pytestmark = [pytest.mark.asyncio, pytest.mark.virtual_time(clocks=True)]
"""
AUTO = MARKS.replace("pytest.mark.asyncio, ", "")
EXPLORED = """
import asyncio, datetime, time, pytest, pytest_asyncio
from time import monotonic, perf_counter
pytestmark = [pytest.mark.asyncio, pytest.mark.interleave(clocks=True, runs=30)]
"""
TTL = """
from cachetools import TTLCache

@pytest_asyncio.fixture
async def cache():
    cache = TTLCache(10, ttl=300)  # whose default argument is time.monotonic itself
    cache["ada"] = 1
    await asyncio.sleep(290)
    return cache

async def test_it(cache):
    await asyncio.sleep(9)
    assert "ada" in cache
    await asyncio.sleep(1)
    assert "ada" not in cache
"""
NEEDS_CLOCKS = TTL.replace("300", "0.3").replace("290", "0.2").replace("(9)", "(0.05)").replace("(1)", "(0.05)")


@pytest.fixture(autouse=True)
def clocks_are_left_alone():
    """After each of these tests, whatever became of its inner session."""
    yield
    assert repr(time.monotonic) == "<built-in function monotonic>"
    assert repr(time.sleep) == "<built-in function sleep>"
    assert time.clock_gettime(time.CLOCK_MONOTONIC) - time.monotonic() < 60
    assert abs(Path("/proc/self").stat().st_ctime - time.time()) < 3600 * 24 * 365
    start = time.perf_counter()
    assert time.perf_counter() > start


@pytest.mark.parametrize("marks", [MARKS, EXPLORED])
def test_a_cache_forgets_in_virtual_time(pytester: pytest.Pytester, marks: str) -> None:
    pytester.makepyfile(marks + TTL)
    result = pytester.runpytest("--timeout=60")

    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*inconclusive*")


def test_all_clocks_go_with_the_loop_and_stand_still_between_awaits(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        MARKS
        + """
def read():
    utc = datetime.timezone.utc
    return [
        monotonic(), perf_counter(), time.monotonic(), time.perf_counter(), time.time(),
        time.monotonic_ns() / 1e9, time.perf_counter_ns() / 1e9, time.time_ns() / 1e9,
        time.clock_gettime(time.CLOCK_REALTIME),
        datetime.datetime.now().timestamp(), datetime.datetime.now(utc).timestamp(),
    ]

async def test_it():
    for seconds in (0.1, 0.3, 40, 86_000, 0.001, 0.7):
        before = read()
        assert sum(range(100_000)) and read() == before
        await asyncio.sleep(seconds)
        elapsed = [now - then for now, then in zip(read(), before)]
        assert all(seconds < value < seconds + 3e-6 for value in elapsed), elapsed  # no sleep ends on time
    assert time.strftime("%Y") == time.strftime("%Y", time.localtime(time.time()))
"""
    )
    pytester.runpytest("--timeout=60").assert_outcomes(passed=1)


def test_they_start_at_one_instant_in_each_run_and_each_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        EXPLORED
        + """
seen = set()

@pytest.fixture
def born():
    return time.time_ns(), time.monotonic_ns()

async def test_it(born):
    seen.add(born)
    await asyncio.gather(*(asyncio.sleep(number) for number in (1, 1.5)))
    await asyncio.gather(*(asyncio.sleep(number) for number in (1, 1.5)))

async def test_again(born):
    assert seen == {born}
    assert born[0] % 1_000_000_000 == 0
"""
    )
    pytester.runpytest("--timeout=60").assert_outcomes(passed=2)


@pytest.mark.parametrize("where", ["key", "mark"])
def test_the_instant_can_be_given(pytester: pytest.Pytester, where: str) -> None:
    instant = "2024-02-29T23:59:30Z"
    marks = MARKS if where == "key" else MARKS.replace("clocks=True", f"clocks='{instant}'")
    pytester.makepyfile(
        marks
        + """
async def test_it():
    await asyncio.sleep(31)
    assert datetime.datetime.now(datetime.timezone.utc).isoformat() == "2024-03-01T00:00:01.000001+00:00"
"""
    )
    options = [f"-ointerleave_clocks={instant}"] if where == "key" else []
    pytester.runpytest("--timeout=60", *options).assert_outcomes(passed=1)


def test_workers_start_at_the_same_instant(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
import os, time_machine

travel = time_machine.travel(os.getpid() * 1000)  # until tests are collected no two processes agree on the time
travel.start()

def pytest_collection():
    travel.stop()
"""
    )
    pytester.makepyfile(
        MARKS
        + """
import pathlib

@pytest.mark.parametrize("number", range(4))
async def test_it(number, worker_id):
    pathlib.Path(f"{worker_id}-{number}.txt").write_text(str(time.time_ns()))
"""
    )
    run_fresh(pytester, "-n2", "-p", "no:cacheprovider").assert_outcomes(passed=4)

    assert len({path.read_text() for path in pytester.path.glob("*.txt")}) == 1


RACE = """
class Session:
    def __init__(self):
        self.token, self.expires = None, 0

    async def login(self):
        await asyncio.sleep(0.1)
        return object()

    async def get(self):
        if time.monotonic() >= self.expires:
            self.token = None
            token = await self.login()
            self.token, self.expires = token, time.monotonic() + 30
        await asyncio.sleep(0.01)
        assert self.token is not None
        return self.token

async def test_it():
    session = Session()
    await session.get()

    async def arrive(after):
        await asyncio.sleep(after)
        return await session.get()

    await asyncio.gather(arrive(29.9), arrive(31))
    assert datetime.datetime.now(datetime.timezone.utc).year == 2024
"""


def test_a_race_at_an_expiry_is_found_and_replayed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(EXPLORED + RACE)
    options = ["-ointerleave_clocks=2024-02-29T23:59:30Z", "--interleave-seed=1", "--timeout=60"]
    result = pytester.runpytest(*options)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([">*assert self.token is not None*", "*latency: asyncio can do this*"])
    line = next(line for line in result.outlines if line.startswith("Replay it:"))
    assert "-o interleave_clocks=2024-02-29T23:59:30Z" in line
    again = pytester.runpytest(*shlex.split(line.partition("pytest ")[2]))
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines([">*assert self.token is not None*", "*Reproduced 5 of 5; not tried on a plain*"])


def test_a_test_that_reads_real_clocks_is_told_of_the_setting(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(EXPLORED.replace("clocks=True, ", "") + NEEDS_CLOCKS)
    result = pytester.runpytest("--timeout=60")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["*: inconclusive, since it fails * in virtual time only: it reads Python's clocks, which are real. With "
         "@pytest.mark.interleave(clocks=True) they are virtual, and it passes"]
    )  # fmt: skip


def test_a_test_that_measures_something_else_is_not(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        EXPLORED.replace("clocks=True, ", "")
        + """
import threading

async def test_it():
    start = asyncio.get_running_loop().time()
    await asyncio.to_thread(threading.Event().wait, 0.05)
    assert asyncio.get_running_loop().time() - start >= 0.04
"""
    )
    for options, why in (
        ([], "*real time, and not by Python's clocks alone: it fails with *(clocks=True), too"),
        (
            ["--interleave-clocks"],
            "*something that is not in the loop, while Python's clocks are virtual: clocks=False*",
        ),
    ):
        result = pytester.runpytest("--timeout=60", *options)
        result.assert_outcomes(passed=1)
        result.stdout.fnmatch_lines([why])


# -- who sees which clock ----------------------------------------------------------------------------------------------


def test_threads_of_the_test_follow_and_waits_of_the_library_do_not(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        MARKS
        + """
import queue, subprocess, threading
from concurrent.futures import ThreadPoolExecutor, wait

def waits():
    condition = threading.Condition()
    with condition:
        assert not condition.wait_for(lambda: False, timeout=0.02)  # ends, though no virtual time passes
    with pytest.raises(queue.Empty):
        queue.Queue().get(timeout=0.02)
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(["sleep", "60"], timeout=0.02)
    return monotonic()

async def test_it():
    start = monotonic()
    assert await asyncio.to_thread(waits) == start
    await asyncio.sleep(1000)
    assert await asyncio.to_thread(lambda: monotonic()) > start + 1000
    assert await asyncio.to_thread(asyncio.run, asyncio.sleep(0.01, "a loop of its own")) == "a loop of its own"
    with ThreadPoolExecutor() as pool:
        assert not wait([pool.submit(time.sleep, 0.05)], timeout=0.01).done
"""
    )
    pytester.runpytest("--timeout=60").assert_outcomes(passed=1)


def test_time_sleep_takes_time_once_for_threads_that_sleep_at_once(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        MARKS
        + """
async def test_it():
    start = monotonic(), time.time()
    await asyncio.gather(*(asyncio.to_thread(time.sleep, 0.05) for _ in range(3)))
    for clock, then in zip((monotonic, time.time), start):
        assert 0.05 < clock() - then < 0.06
    deadline = monotonic() + 0.05
    while monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(TypeError):
        time.sleep("long")
"""
    )
    pytester.runpytest("--timeout=60").assert_outcomes(passed=1)


def test_a_sleep_that_blocks_the_loop_is_told_as_ever(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(MARKS + "async def test_it():\n    time.sleep(0.4)")
    result = pytester.runpytest("--timeout=60")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["blocked-loop: time.sleep(0.4) waited for *", "    in test_it"])
    result.stdout.no_fnmatch_line("*which was at*")


def test_threads_that_were_there_before_see_the_real_clocks(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
import threading, time

asked, answered, seen = threading.Event(), threading.Event(), []

def tell():
    asked.wait()
    seen.append((time.monotonic(), time.time()))
    answered.set()

threading.Thread(target=tell, daemon=True).start()
"""
    )
    pytester.makepyfile(
        MARKS
        + """
async def test_it(request):
    conftest = request.config.pluginmanager.get_plugin(str(request.path.parent / "conftest.py"))
    await asyncio.sleep(80_000)
    conftest.asked.set()
    conftest.answered.wait()
    (mono, wall), = conftest.seen
    assert monotonic() - mono > 79_000 and time.time() - wall > 79_000
"""
    )
    pytester.runpytest("--timeout=60").assert_outcomes(passed=1)


@pytest.mark.parametrize("marks", [MARKS, EXPLORED])
def test_pytest_measures_real_time(pytester: pytest.Pytester, marks: str) -> None:
    pytester.makeconftest(
        """
import time

def pytest_runtest_logreport(report):
    assert report.duration < 60 and report.stop - time.time() < 60
    assert time.clock_gettime(time.CLOCK_MONOTONIC) - time.monotonic() < 60
"""
    )
    pytester.makepyfile(
        marks
        + """
@pytest_asyncio.fixture
async def slow():
    await asyncio.sleep(1000)
    yield
    await asyncio.sleep(1000)

async def test_it(slow):
    await asyncio.gather(asyncio.sleep(600), asyncio.sleep(700))
"""
    )
    result = pytester.runpytest("--timeout=60", "--durations=0", "-vv", "-ointerleave_limit=20000")

    result.assert_outcomes(passed=1)
    result.stdout.no_re_match_line(r"\d{3,}\.\d+s (setup|call|teardown)")


def test_a_busy_loop_that_waits_for_a_clock_ends(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        MARKS
        + """
async def test_it():
    start = monotonic()
    while monotonic() < start + 5:
        pass
    assert time.time() > 0 and start + 5 < monotonic() < start + 6
    await asyncio.sleep(1)
    assert monotonic() == monotonic()
"""
    )
    pytester.runpytest("--timeout=60").assert_outcomes(passed=1)


def test_a_busy_loop_is_ended_in_real_time(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        MARKS
        + """
async def test_it():
    while monotonic() > 0:
        pass

async def test_after():
    await asyncio.sleep(1)
"""
    )
    result = pytester.runpytest("--interleave-timeout=0.5", "--timeout=60")

    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["*0.5 s*"])


# -- they are always given back ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("marks", [MARKS, EXPLORED])
@pytest.mark.parametrize("end", ["KeyboardInterrupt", "SystemExit", "ValueError", "pytest.exit.Exception"])
@pytest.mark.parametrize("where", ["await asyncio.sleep(1)", ""])
def test_however_a_test_ends(pytester: pytest.Pytester, marks: str, end: str, where: str) -> None:
    pytester.makepyfile(
        marks
        + f"""
@pytest_asyncio.fixture
async def bad():
    {where or "raise " + end}
    yield

async def test_it(bad):
    await asyncio.sleep(1)
    raise {end}
"""
    )
    result = pytester.runpytest_inprocess("--timeout=60", no_reraise_ctrlc=True)

    assert result.ret != pytest.ExitCode.OK  # and see the fixture above


def test_a_test_in_real_time_has_real_clocks(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_mode = auto")
    pytester.makepyfile(
        AUTO
        + """
async def test_virtual():
    await asyncio.sleep(5000)

@pytest.mark.virtual_time(False)
async def test_real():
    assert abs(time.clock_gettime(time.CLOCK_MONOTONIC) - monotonic()) < 60

@pytest.mark.virtual_time(clocks=False)
async def test_virtual_with_real_clocks():
    await asyncio.sleep(5000)
    assert abs(time.clock_gettime(time.CLOCK_MONOTONIC) - monotonic()) < 60

def test_sync():
    assert abs(time.clock_gettime(time.CLOCK_MONOTONIC) - monotonic()) < 60
"""
    )
    pytester.runpytest("--timeout=60", "--interleave-clocks").assert_outcomes(passed=4)


# -- with others -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["function", "module"])
def test_a_fixture_may_travel(pytester: pytest.Pytester, scope: str) -> None:
    pytester.makeini("[pytest]\nasyncio_mode = auto")
    pytester.makepyfile(
        AUTO
        + f"""
import time_machine as machine

@pytest.fixture(scope="{scope}")
def past():
    with machine.travel("2001-01-01T00:00Z", tick=False):
        yield

async def test_it(past):
    start = monotonic()
    await asyncio.sleep(10)
    assert datetime.date.today().year == 2001
    assert monotonic() > start + 10

async def test_more(past):
    assert datetime.date.today().year == 2001

def test_sync(past):
    assert datetime.date.today().year == 2001
"""
    )
    pytester.runpytest("--timeout=60").assert_outcomes(passed=3)

    assert datetime.date.today().year > 2001


def test_freezegun_may_freeze_within_the_test(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_mode = auto")
    pytester.makepyfile(
        AUTO
        + """
import freezegun

@pytest.fixture
def frozen():
    with freezegun.freeze_time("2001-01-01"):
        yield

async def test_fixture(frozen):
    await asyncio.sleep(10)
    assert datetime.date.today().year == 2001

@freezegun.freeze_time("2001-01-01", real_asyncio=True)
async def test_decorated():
    await asyncio.sleep(10)
    assert datetime.date.today().year == 2001

@pytest.fixture(scope="module")
def long():
    with freezegun.freeze_time("2001-01-01"):
        yield

def test_sync(long):
    assert datetime.date.today().year == 2001

async def test_frozen_before(long):
    raise AssertionError("it cannot have what it asks for")

@pytest.mark.interleave(clocks=True)
async def test_explored(long):
    raise AssertionError("it cannot have what it asks for")
"""
    )
    result = pytester.runpytest("--timeout=60")

    result.assert_outcomes(passed=3, failed=1, errors=1)
    result.stdout.fnmatch_lines(["*the clocks are stopped by freezegun, from before the test began, *"] * 2)


def test_wider_loops_and_their_clocks_go_on(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
import asyncio, pytest, pytest_asyncio, time
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.virtual_time(clocks=True)]

@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def born():
    await asyncio.sleep(100)
    return time.monotonic()

async def test_one(born):
    assert time.monotonic() == born
    await asyncio.sleep(3000)

@pytest.fixture
def sync():
    return time.monotonic()

async def test_two(born, sync):
    assert born + 3000 < time.monotonic() < born + 3000.1
    assert sync == pytest.approx(time.monotonic())

@pytest.mark.asyncio(loop_scope="function")
async def test_of_its_own(born):
    assert time.monotonic() == born - 100 - 1e-6 or time.monotonic() < born
"""
    )
    pytester.runpytest("--timeout=60").assert_outcomes(passed=3)


def test_a_fixture_in_a_loop_of_its_own_lets_time_go_on(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        EXPLORED
        + """
@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def other():
    start = monotonic()
    await asyncio.sleep(100)
    assert start + 100 < monotonic() < start + 100.1
    return start

async def test_it(other):
    start = monotonic()
    await asyncio.gather(asyncio.sleep(10), asyncio.sleep(20))
    assert start + 20 < monotonic()
"""
    )
    pytester.runpytest("--timeout=60").assert_outcomes(passed=1)


# -- options -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["-ointerleave_clocks=maybe"],
            "ERROR: 'maybe' is not a valid interleave_clocks. Valid values: true, false, an *",
        ),
        (["-ointerleave_clocks=2024-13-01"], "ERROR: '2024-13-01' is not a valid interleave_clocks.*"),
    ],
)
def test_a_wrong_value_is_one_line(pytester: pytest.Pytester, options: list[str], message: str) -> None:
    result = pytester.runpytest(*options)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


@pytest.mark.parametrize("mark", ["interleave", "virtual_time"])
def test_a_wrong_mark_fails_its_test_with_one_line(pytester: pytest.Pytester, mark: str) -> None:
    pytester.makepyfile(
        f"import pytest\n@pytest.mark.asyncio\n@pytest.mark.{mark}(clocks='noon')\nasync def test_it(): pass"
    )
    result = pytester.runpytest()

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [f"*'noon' is not a valid clocks of mark.{mark}. Valid values: true, false, an instant*"]
    )
    result.stdout.no_fnmatch_line("*Traceback*")


@pytest.mark.parametrize("library", ["raise ImportError", "VERSION = 2"])
def test_without_the_library_one_line_says_what_to_install(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    folder = pytester.mkdir("library")
    (folder / "time_machine.py").write_text(library)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    pytester.makepyfile(EXPLORED.replace("clocks=True, ", "") + NEEDS_CLOCKS)
    what = ".*time-machine.*: pip install 'pytest-interleave\\[clocks\\]'"

    hint = run_fresh(pytester, "-p", "no:time_machine")
    hint.assert_outcomes(passed=1)
    hint.stdout.re_match_lines([f".*inconclusive, since .*interleave\\(clocks=True\\) makes them virtual: {what}"])

    for option in ("--interleave-clocks", "-ointerleave_clocks=true"):
        result = run_fresh(pytester, "-p", "no:time_machine", option)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.re_match_lines([f"ERROR: {re.escape(option.removeprefix('-o').partition('=')[0])}: {what}"])

    for marks in (MARKS, EXPLORED):
        pytester.makepyfile(marks + TTL)
        marked = run_fresh(pytester, "-p", "no:time_machine")
        assert marked.ret == pytest.ExitCode.TESTS_FAILED
        marked.stdout.re_match_lines([what])
        marked.stdout.no_fnmatch_line("*Traceback*")


def test_suites_that_do_not_ask_for_it_do_not_import_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
import sys, pytest

@pytest.mark.asyncio
async def test_it():
    assert "pytest_interleave.clock.virtual" not in sys.modules
    assert "ctypes" not in sys.modules
"""
    )
    run_fresh(pytester, "-p", "no:time_machine").assert_outcomes(passed=1)
