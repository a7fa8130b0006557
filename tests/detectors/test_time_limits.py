"""A test that takes longer than it may is ended, alone, and tells who waits for what."""

import re
from textwrap import dedent

import pytest
from sessions import run_forked

HEAD = """\
import asyncio, signal, time
import pytest

async def fetch(queue):
    return await queue.get()

@pytest.fixture
async def resource():
    yield
    print("torn down")

@pytest.fixture
async def slow_to_end():
    yield
    await asyncio.sleep(100)
"""


def run(pytester: pytest.Pytester, body: str, *arguments: str) -> pytest.RunResult:
    pytester.makeini("[pytest]\nasyncio_mode = auto\n")
    pytester.makepyfile(test_it=HEAD + "\n" + dedent(body))
    return run_forked(pytester, "-p", "no:timeout", *arguments, timeout=60)


@pytest.mark.parametrize("scope", ["function", "module"])
def test_a_test_that_waits_ends_alone(pytester: pytest.Pytester, scope: str) -> None:
    body = f"""
    pytestmark = pytest.mark.asyncio(loop_scope="{scope}")

    @pytest.mark.interleave(timeout=0.3)
    async def test_waits(resource):
        clock = asyncio.create_task(asyncio.sleep(100), name="clock")
        await fetch(asyncio.Queue())

    async def test_after():
        await asyncio.sleep(0.5)
    """
    result = run(pytester, body, "--strict-markers", "-rP")

    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "Hang: this took longer than its limit of 0.3 s.",
            "  the test waits for <Queue at * maxsize=0 _getters?1?>",
            "    at *test_it.py:* in fetch: return await queue.get()",
            "  task 'clock' waits for a timer",
        ]
    )
    result.stdout.fnmatch_lines_random(["torn down"])
    assert "interleave: realistic" not in result.stdout.str()


@pytest.mark.parametrize("seconds", ["inf", "1e300"])
def test_a_limit_may_be_beyond_what_an_alarm_takes(pytester: pytest.Pytester, seconds: str) -> None:
    run(pytester, "async def test_it(): pass", f"--interleave-timeout={seconds}").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("async def test_it():\n    time.sleep(50)", "in test_it: time.sleep(50)"),
        ("async def test_it():\n    while True:\n        pass", "in test_it: *"),
        ("def test_it():\n    time.sleep(50)", "in test_it"),
        ("async def test_it(slow_to_end):\n    pass", "in slow_to_end: await asyncio.sleep(100)"),
        (
            "async def test_it():\n    for _ in range(2):\n        try:\n            time.sleep(50)\n"
            "        except Exception:\n            pass",
            "in test_it: time.sleep(50)",
        ),
    ],
)
def test_whatever_it_does_it_ends(pytester: pytest.Pytester, body: str, line: str) -> None:
    result = run(pytester, body, "--interleave-timeout=0.3")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["Hang: this took longer than its limit of 0.3 s.", f"    at *test_it.py:* {line}"])


def test_one_that_ignores_its_cancellation_ends(pytester: pytest.Pytester) -> None:
    body = """
    async def test_it():
        while True:
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                pass

    async def test_other():
        pass
    """
    result = run(pytester, body, "-o", "interleave_timeout=0.3")

    outcomes = result.parseoutcomes()
    assert (outcomes["failed"], outcomes["passed"]) == (1, 1)


def test_the_lines_of_libraries_are_counted(pytester: pytest.Pytester) -> None:
    body = """
    import anyio, httpx

    async def answer(request):
        await asyncio.Event().wait()

    @pytest.mark.interleave(timeout=0.5)
    async def test_it():
        tasks = [
            asyncio.create_task(anyio.Event().wait(), name="of a library"),
            asyncio.create_task(answer(None), name="of the user"),
        ]
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
            await client.get("http://example.com")
    """
    result = run(pytester, body)

    result.assert_outcomes(failed=1)
    lines = result.stdout.lines
    first = next(number for number, line in enumerate(lines) if line.startswith("  the test waits for <"))
    assert "in test_it: await client.get(" in lines[first + 1]
    assert re.fullmatch(r"    … \d+ lines of httpx …", lines[first + 2])
    assert "in answer: await asyncio.Event().wait()" in lines[first + 3]
    others = [line.partition(" waits ")[0] for line in lines if line.startswith("  task ")]
    assert others == ["  task 'of the user'", "  task 'of a library'"]


@pytest.mark.parametrize("scope", ["function", "module"])
def test_an_alarm_of_pytest_timeout_says_who_waits_and_lets_the_next_test_run(
    pytester: pytest.Pytester, scope: str
) -> None:
    body = f"""
    import asyncio
    import pytest

    pytestmark = pytest.mark.asyncio(loop_scope="{scope}")
    log = []

    @pytest.fixture
    async def service():
        yield
        await asyncio.sleep(0)
        log.append("torn down")

    @pytest.mark.timeout(0.3)
    async def test_hangs(service):
        lock = asyncio.Lock()
        await lock.acquire()
        beating = asyncio.create_task(asyncio.sleep(60), name="beating")
        try:
            await lock.acquire()
        finally:
            beating.cancel()
            log.append("cleaned up")

    async def test_next(service):
        assert log == ["cleaned up", "torn down"]
    """
    pytester.makeini("[pytest]\nasyncio_mode = auto\n")
    pytester.makepyfile(test_it=dedent(body))
    result = run_forked(pytester, timeout=60)

    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "E  *Failed: Timeout * from pytest-timeout.",
            "E  * the test waits for <asyncio.locks.Lock *",
            "E  *which the test holds since *test_it.py:16: await lock.acquire()",
            "E  *at *test_it.py:19 in test_hangs: await lock.acquire()",
        ]
    )


def test_the_mark_of_pytest_timeout_is_taken_where_that_is_missing(pytester: pytest.Pytester) -> None:
    body = """
    @pytest.mark.timeout(0.3)
    async def test_it():
        await asyncio.sleep(100)
    """
    result = run(pytester, body, "--strict-markers")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["Hang: this took longer than its limit of 0.3 s."])

    theirs = run_forked(pytester, "--strict-markers", timeout=60)
    theirs.assert_outcomes(failed=1)
    assert "Hang:" not in theirs.stdout.str()


def test_a_deadlock_is_told_at_once_all_the_same_and_the_users_alarm_stays(pytester: pytest.Pytester) -> None:
    body = """
    def test_before():
        signal.signal(signal.SIGALRM, print)

    @pytest.mark.interleave(timeout=30)
    async def test_dead():
        await asyncio.Event().wait()

    def test_after():
        assert signal.getsignal(signal.SIGALRM) is print
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    """
    result = run(pytester, body)

    result.assert_outcomes(failed=1, passed=2)
    result.stdout.fnmatch_lines(["Deadlock: *"])


def test_wrong_limits_get_one_line(pytester: pytest.Pytester) -> None:
    body = """
    @pytest.mark.interleave(timeout="soon")
    async def test_it():
        pass
    """
    result = run(pytester, body)
    result.assert_outcomes(errors=1)
    line = "'soon' is not a valid mark.interleave's timeout: it must be a number of seconds above 0."
    result.stdout.fnmatch_lines([line])

    usage = run(pytester, body, "--interleave-timeout=0")
    assert usage.ret == pytest.ExitCode.USAGE_ERROR
    usage.stderr.fnmatch_lines(["ERROR: '0' is not a valid --interleave-timeout: *"])


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_alarm_that_rings_just_when_a_phase_has_ended_rings_in_no_other(
    pytester: pytest.Pytester, moment: str
) -> None:
    conftest = f"""
    import signal
    from pytest_interleave.loop import own
    from pytest_interleave.plugin.detecting import time_limits

    class LateSignal:
        def __getattr__(self, name):
            return getattr(signal, name)

        def setitimer(self, which, seconds, interval=0.0):
            if seconds == 0.0 and {moment!r} == "before":
                signal.raise_signal(signal.SIGALRM)
            result = signal.setitimer(which, seconds, interval)
            if seconds == 0.0 and {moment!r} == "after":
                signal.raise_signal(signal.SIGALRM)
            return result

    time_limits.signal = LateSignal()

    def pytest_sessionfinish():
        assert not any(getattr(each, "__name__", "") == "_ring" for each in own.handlers)
    """
    pytester.makeconftest(dedent(conftest))
    body = """
    @pytest.mark.interleave(timeout=0.3)
    async def test_just_in_time():
        await asyncio.sleep(0)

    def test_after():
        assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    """
    result = run(pytester, body)

    result.assert_outcomes(passed=2)
    assert result.ret == pytest.ExitCode.OK
