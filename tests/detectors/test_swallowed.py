"""A task that goes on when it is cancelled ends all the same, and the line is named that swallowed the cancellation."""

import pytest
from sessions import run_forked

_HEAD = """
import asyncio
import contextlib
import pytest

async def stubborn():
    while True:
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            pass

async def suppressing(event):
    while True:
        with contextlib.suppress(ValueError, asyncio.CancelledError):
            await event.wait()
"""


def _run(pytester: pytest.Pytester, body: str, *arguments: str) -> pytest.RunResult:
    pytester.makeini("[pytest]\nasyncio_mode = auto\n")
    pytester.makepyfile(test_it=_HEAD + body + "\nasync def test_next():\n    await asyncio.sleep(0)\n")
    return run_forked(pytester, "-W", "error", *arguments, timeout=60)


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch, pytester: pytest.Pytester) -> None:
    pytester.makeconftest("from pytest_interleave.loop import host\nhost._PATIENCE_SECONDS = 0.3\n")


def test_a_test_over_its_limit_ends(pytester: pytest.Pytester) -> None:
    body = """
@pytest.mark.interleave(timeout=0.5)
async def test_it():
    await stubborn()
"""
    result = _run(pytester, body)

    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "Hang: this took longer than its limit of 0.5 s.",
            "swallowed-cancellation: 'test_it' was cancelled, and went on as if nothing had been  (test_it.py:9)",
            "    cancelled at *test_it.py:8 in stubborn: await asyncio.sleep(1)",
            "    It waits there again, and was abandoned.",
        ]
    )
    assert "leaked-task" not in result.stdout.str()
    assert "Exception ignored" not in result.stderr.str()


def test_a_fixture_that_waits_for_such_a_task_ends(pytester: pytest.Pytester) -> None:
    body = """
@pytest.fixture
async def service():
    task = asyncio.create_task(stubborn(), name="service")
    yield
    task.cancel()
    await task

@pytest.mark.interleave(timeout=0.5)
async def test_it(service):
    await asyncio.sleep(0)
"""
    result = _run(pytester, body)

    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        [
            "Hang: this took longer than its limit of 0.5 s.",
            "swallowed-cancellation: task 'service' (stubborn) was cancelled, and went on as * (test_it.py:9)",
        ]
    )
    assert result.stdout.str().count("swallowed-cancellation: ") == 1


def test_who_waits_for_one_that_goes_on_elsewhere_is_told_of_it(pytester: pytest.Pytester) -> None:
    body = """
async def test_it():
    jobs = asyncio.Queue()
    for _ in range(2):
        jobs.put_nowait(asyncio.Event())

    async def work():
        while True:
            job = await jobs.get()
            try:
                await job.wait()
            except BaseException:
                print("a job failed")

    async def read(answers):
        while True:
            await answers.get()

    worker, bystander = asyncio.create_task(work()), asyncio.create_task(read(asyncio.Queue()))
    await asyncio.sleep(0)
    worker.cancel()
    try:
        await asyncio.gather(worker, return_exceptions=True)
    finally:
        bystander.cancel()
"""
    result = _run(pytester, body)

    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "Deadlock: everybody waits, and nothing can come from outside.",
            "  task 'Task-*' waits for <asyncio.locks.Event *",
            "    was cancelled, and has not ended",
            "    at *test_it.py:* in work: await job.wait()",
            "swallowed-cancellation: task 'Task-*' (test_it.<locals>.work) was cancelled, and went on as if nothing *",
        ]
    )
    assert "leaked-task: task 'pytest-interleave'" not in result.stdout.str()


def test_a_task_that_is_left_ends_within_the_limit_of_the_tear_down(pytester: pytest.Pytester) -> None:
    body = """
@pytest.mark.interleave(timeout=0.5)
async def test_it():
    asyncio.create_task(stubborn(), name="service")
    await asyncio.sleep(0)
"""
    result = _run(pytester, body)

    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        ["Hang: *", "  task 'service' waits for a timer", "swallowed-cancellation: task 'service' (stubborn) *"]
    )


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(("coroutine", "line"), [("stubborn()", 9), ("suppressing(asyncio.Event())", 14)])
def test_a_task_that_is_left_ends_without_a_limit(pytester: pytest.Pytester, coroutine: str, line: int) -> None:
    body = f"""
async def test_it():
    asyncio.create_task({coroutine}, name="service")
    await asyncio.sleep(0)
"""
    result = _run(pytester, body)

    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines([f"swallowed-cancellation: task 'service' (s*) was *(test_it.py:{line})"])


_ELSEWHERE = """
import socket

async def then_waits():
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        pass
    await asyncio.Event().wait()

async def then_ticks():
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(60)
    while True:
        await asyncio.sleep(0.01)

async def then_listens():
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(60)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        await asyncio.get_running_loop().sock_recv(ours, 1)

async def cleans_up():
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.Event().wait()
"""


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(
    ("name", "lines"),
    [
        (
            "then_waits",
            [
                "swallowed-cancellation: task 'service' (then_waits) was cancelled, and went on as * (test_it.py:22)",
                "    cancelled at *test_it.py:21 in then_waits: await asyncio.sleep(60)",
                "    waits at *test_it.py:24 in then_waits: await asyncio.Event().wait()",
                "    It does not end there, and was abandoned.",
            ],
        ),
        (
            "then_ticks",
            [
                "swallowed-cancellation: task 'service' (then_ticks) was cancelled, and went on as * (test_it.py:27)",
                "    waits at *test_it.py:30 in then_ticks: await asyncio.sleep(0.01)",
            ],
        ),
        (
            "then_listens",
            ["swallowed-cancellation: task 'service' (then_listens) was cancelled, and went on as * (test_it.py:33)"],
        ),
        (
            "cleans_up",
            [
                "swallowed-cancellation: task 'service' (cleans_up) was cancelled, and its clean-up waits for what "
                "nobody brings  (test_it.py:44)",
                "  Give what it waits for a time limit (asyncio.timeout), or do without it.",
            ],
        ),
    ],
)
def test_a_task_that_goes_on_elsewhere_ends_without_a_limit(
    pytester: pytest.Pytester, name: str, lines: list[str]
) -> None:
    body = f"""
async def test_it():
    asyncio.create_task({name}(), name="service")
    await asyncio.sleep(0)
"""
    result = _run(pytester, _ELSEWHERE + body)

    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(lines)


@pytest.mark.usefixtures("_impatient")
def test_who_waits_for_such_a_task_is_not_waited_for_either(pytester: pytest.Pytester) -> None:
    body = """
async def test_it():
    service = asyncio.create_task(stubborn(), name="service")
    async def stop():
        await asyncio.gather(service, return_exceptions=True)
    asyncio.create_task(stop(), name="stopper")
    await asyncio.sleep(0)
"""
    result = _run(pytester, body)

    result.assert_outcomes(passed=2, errors=1)
    assert "swallowed-cancellation: task 'stopper'" not in result.stdout.str()


@pytest.mark.usefixtures("_impatient")
def test_a_long_clean_up_is_waited_for(pytester: pytest.Pytester) -> None:
    body = """
done = []

async def closing():
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        await asyncio.sleep(1)
        done.append("closed")

async def shielding():
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.shield(asyncio.sleep(0.7))
        done.append("shielded")

async def behind_its_handler():
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(60)
    await asyncio.sleep(0.5)
    done.append("orderly")

async def test_it():
    asyncio.create_task(closing())
    asyncio.create_task(shielding())
    asyncio.create_task(behind_its_handler())
    await asyncio.sleep(0)

def test_done():
    assert sorted(done) == ["closed", "orderly", "shielded"]
"""
    result = _run(pytester, body)

    result.assert_outcomes(passed=3)
    assert "swallowed" not in result.stdout.str()


@pytest.mark.usefixtures("_impatient")
def test_the_level_off_ends_it_too(pytester: pytest.Pytester) -> None:
    body = """
@pytest.mark.interleave_detect(swallowed_cancellation="off")
async def test_it():
    asyncio.create_task(stubborn(), name="service")
    await asyncio.sleep(0)
"""
    result = _run(pytester, body)

    result.assert_outcomes(passed=2)
    assert "swallowed" not in result.stdout.str()
