"""Small async tests that are wrong and might pass, or are right and might fail; and how a plugin judges each.

Only the standard library is imported, and names of ``PROBES`` stay as they are: a test reads this file too.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

#: A test that waits for ever is given up after as many seconds.
PATIENCE_SECONDS = 10

_HEAD = """\
import asyncio, contextvars, functools, os, subprocess, sys, threading, time, unittest, warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from unittest.mock import AsyncMock, patch

import pytest

variable = contextvars.ContextVar("variable", default="unset")
kept = []

async def work():
    await asyncio.sleep(0)

async def fails():
    await asyncio.sleep(0)
    raise LookupError("gone")

async def ticks():
    while True:
        yield await asyncio.sleep(0)

"""


class Probe(NamedTuple):
    """A program, and whether something is wrong with it."""

    title: str
    is_wrong: bool
    source: str
    arguments: tuple[str, ...] = ()


def _wrong(title: str, source: str, *arguments: str) -> Probe:
    return Probe(title, True, source, arguments)


def _right(title: str, source: str, *arguments: str) -> Probe:
    return Probe(title, False, source, arguments)


_FORGOTTEN = "async def test_it():\n    work()\n"
_AS_ERRORS = ("-Werror::RuntimeWarning", "-Werror::pytest.PytestUnraisableExceptionWarning")
_GROUP_FIXTURE = """\
@pytest.fixture
async def group():
    async with asyncio.TaskGroup() as group:
        yield group
"""

PROBES: tuple[Probe, ...] = (
    _wrong("a forgotten `await`", _FORGOTTEN),
    _wrong("the same, with warnings as errors", _FORGOTTEN, *_AS_ERRORS),
    _wrong("… in a sync test", "def test_it():\n    work()\n"),
    _wrong("… in a fixture", "@pytest.fixture\nasync def made():\n    work()\n\nasync def test_it(made):\n    pass\n"),
    _wrong("… in a callback", "async def test_it():\n    asyncio.get_running_loop().call_soon(work)\n"),
    _wrong("… of an `AsyncMock`", "async def test_it():\n    mock = AsyncMock()\n    mock.send()\n"),
    _wrong("… of a coroutine that is kept", "async def test_it():\n    kept.append(work())\n"),
    _wrong("a test that returns a coroutine", "async def test_it():\n    return work()\n"),
    _wrong("`return` in place of `assert`", "async def test_it():\n    return 1 == 2\n"),
    _wrong(
        "a task failed and nobody awaited it",
        "async def test_it():\n    asyncio.create_task(fails())\n    await asyncio.sleep(0.01)\n",
    ),
    _wrong(
        "an exception in a `call_soon` callback",
        "async def test_it():\n    asyncio.get_running_loop().call_soon(int, 'x')\n    await asyncio.sleep(0)\n",
    ),
    _wrong(
        "an error that a library tells the loop's handler",
        "async def test_it():\n    asyncio.get_running_loop().call_exception_handler({'message': 'it broke'})\n",
    ),
    _wrong("a task is still pending at the end", "async def test_it():\n    asyncio.create_task(asyncio.sleep(60))\n"),
    _wrong("a blocking call of 0.3 s", "async def test_it():\n    time.sleep(0.3)\n"),
    _wrong(
        "a contended `threading.Lock`",
        "async def test_it():\n    kept.append(threading.Lock())\n"
        "    kept[0].acquire()\n    kept[0].acquire(timeout=0.3)\n",
    ),
    _wrong(
        "0.5 s of computing",
        "async def test_it():\n    end = time.process_time() + 0.5\n"
        "    while time.process_time() < end:\n        pass\n",
    ),
    _wrong(
        "a subprocess that is waited for",
        "async def test_it():\n    subprocess.run([sys.executable, '-c', 'import time; time.sleep(0.4)'])\n",
    ),
    _wrong(
        "an async generator left open", "async def test_it():\n    kept.append(ticks())\n    await anext(kept[0])\n"
    ),
    _wrong(
        "a server left open",
        "async def serve(reader, writer):\n    writer.close()\n\n"
        "async def test_it():\n    await asyncio.start_server(serve, '127.0.0.1', 0)\n",
    ),
    _wrong(
        "a subprocess left running",
        "async def test_it():\n"
        "    await asyncio.create_subprocess_exec('sleep', '5', stdout=asyncio.subprocess.PIPE)\n",
    ),
    _wrong(
        "an executor that is never shut down",
        "async def test_it():\n    kept.append(ThreadPoolExecutor())\n"
        "    await asyncio.get_running_loop().run_in_executor(kept[0], int)\n",
    ),
    _wrong("a context variable left set by sync code", "def test_it():\n    variable.set('mine')\n"),
    _wrong("an environment variable left set", "async def test_it():\n    os.environ['PROBE'] = '1'\n"),
    _wrong("a function of `asyncio` left replaced", "async def test_it():\n    asyncio.open_connection = work\n"),
    _wrong(
        "a `mock.patch` that is not stopped", "async def test_it():\n    patch('asyncio.open_connection').start()\n"
    ),
    _wrong("a wait for what nobody brings", "async def test_it():\n    await asyncio.Event().wait()\n"),
    _wrong(
        "two tasks that wait for each other's lock",
        "async def take(first, second):\n    async with first:\n        await asyncio.sleep(0)\n"
        "        async with second:\n            pass\n\n"
        "async def test_it():\n    one, two = asyncio.Lock(), asyncio.Lock()\n"
        "    await asyncio.gather(take(one, two), take(two, one))\n",
    ),
    _wrong(
        "a lock whose holder has ended",
        "async def take(lock):\n    await lock.acquire()\n\n"
        "async def test_it():\n    lock = asyncio.Lock()\n    await asyncio.create_task(take(lock))\n"
        "    async with lock:\n        pass\n",
    ),
    _wrong(
        "… that nobody asks for afterwards",
        "async def take(lock):\n    await lock.acquire()\n\n"
        "async def test_it():\n    lock = asyncio.Lock()\n    await asyncio.create_task(take(lock))\n",
    ),
    _wrong(
        "a signal that comes before its waiter",
        "async def test_it():\n    condition = asyncio.Condition()\n"
        "    async with condition:\n        condition.notify_all()\n"
        "    async with condition:\n        await condition.wait()\n",
    ),
    _wrong(
        "a task that swallows its cancellation",
        "async def polls():\n    while True:\n        try:\n            await asyncio.sleep(0.01)\n"
        "        except asyncio.CancelledError:\n            pass\n\n"
        "async def test_it():\n    asyncio.create_task(polls())\n    await asyncio.sleep(0)\n",
    ),
    _wrong(
        "… and waits elsewhere",
        "async def goes_on():\n    try:\n        await asyncio.sleep(60)\n"
        "    except asyncio.CancelledError:\n        pass\n    await asyncio.Event().wait()\n\n"
        "async def test_it():\n    asyncio.create_task(goes_on())\n    await asyncio.sleep(0)\n",
    ),
    _wrong(
        "an async fixture asked for by `getfixturevalue` in an async test",
        "@pytest.fixture\nasync def value():\n    return 1\n\n"
        "async def test_it(request):\n    assert request.getfixturevalue('value') == 1\n",
    ),
    _wrong(
        "a task group of a fixture fails during the test",
        _GROUP_FIXTURE + "\nasync def test_it(group):\n    group.create_task(fails())\n    await asyncio.sleep(0.1)\n",
    ),
    _wrong(
        "an async test behind a sync decorator",
        "def log(function):\n    def wrapper(*arguments):\n        return function(*arguments)\n    return wrapper\n\n"
        "@log\nasync def test_it():\n    assert False\n",
    ),
    _wrong("an async generator as a test", "async def test_it():\n    assert False\n    yield\n"),
    _wrong(
        "an async test of a `unittest.TestCase`",
        "class TestIt(unittest.TestCase):\n    async def test_it(self):\n        assert False\n",
    ),
    _right(
        "a context variable set in an async fixture",
        "@pytest.fixture\nasync def value():\n    variable.set('mine')\n\n"
        "async def test_it(value):\n    assert variable.get() == 'mine'\n",
    ),
    _right(
        "a context variable stays in its test",
        "async def test_one():\n    variable.set('mine')\n\n"
        "async def test_two():\n    assert variable.get() == 'unset'\n",
    ),
    _right(
        "a task group held over the `yield` of a fixture",
        _GROUP_FIXTURE + "\nasync def test_it(group):\n    group.create_task(work())\n",
    ),
    _right(
        "`asyncio.timeout` held over the `yield` of a fixture",
        "@pytest.fixture\nasync def limit():\n    async with asyncio.timeout(5):\n        yield\n\n"
        "async def test_it(limit):\n    await work()\n",
    ),
    _right(
        "`anyio.CancelScope` held over the `yield` of a fixture",
        "@pytest.fixture\nasync def scope():\n    import anyio\n    with anyio.CancelScope() as scope:\n"
        "        yield scope\n\nasync def test_it(scope):\n    await work()\n",
    ),
    _right(
        "an async fixture in a sync test",
        "@pytest.fixture\nasync def value():\n    await work()\n    return 1\n\n"
        "def test_it(value):\n    assert value == 1\n",
    ),
    _right(
        "an async `setup_method`",
        "class TestIt:\n    async def setup_method(self):\n        self.value = 1\n\n"
        "    async def test_it(self):\n        assert self.value == 1\n",
    ),
    _right(
        "a task that is cancelled and awaited",
        "async def test_it():\n    task = asyncio.create_task(asyncio.sleep(60))\n    await asyncio.sleep(0)\n"
        "    task.cancel()\n    with pytest.raises(asyncio.CancelledError):\n        await task\n",
    ),
    _right(
        "a task that ends by itself right after the test",
        "async def test_it():\n    asyncio.create_task(work())\n",
    ),
    _right(
        "a task's exception that is retrieved late",
        "async def test_it():\n    task = asyncio.create_task(fails())\n    await asyncio.sleep(0.01)\n"
        "    assert isinstance(task.exception(), LookupError)\n",
    ),
    _right(
        "exceptions that `gather` returns",
        "async def test_it():\n    error, = await asyncio.gather(fails(), return_exceptions=True)\n"
        "    assert isinstance(error, LookupError)\n",
    ),
    _right(
        "a task that cleans up when it is cancelled at the end",
        "@pytest.fixture\nasync def cleaned():\n    yield kept\n    assert kept == ['clean']\n\n"
        "async def works():\n    try:\n        await asyncio.sleep(60)\n    finally:\n"
        "        await asyncio.sleep(0.1)\n        kept.append('clean')\n\n"
        "async def test_it(cleaned):\n    task = asyncio.create_task(works())\n    await asyncio.sleep(0)\n"
        "    task.cancel()\n    await asyncio.wait([task])\n",
    ),
    _right(
        "an error that the loop's handler is told, and the test gets",
        "def tell(task):\n"
        "    context = {'message': 'a job failed', 'exception': task.exception()}\n"
        "    asyncio.get_running_loop().call_exception_handler(context)\n\n"
        "async def test_it():\n    job = asyncio.create_task(fails())\n    job.add_done_callback(tell)\n"
        "    await asyncio.sleep(0.01)\n    with pytest.raises(LookupError):\n        await job\n",
    ),
    _right(
        "a lock taken and given back without `async with`",
        "async def test_it():\n    lock = asyncio.Lock()\n    await lock.acquire()\n    try:\n        await work()\n"
        "    finally:\n        lock.release()\n",
    ),
    _right(
        "an executor in `with`",
        "async def test_it():\n    with ThreadPoolExecutor() as pool:\n"
        "        await asyncio.get_running_loop().run_in_executor(pool, int)\n",
    ),
    _right(
        "patches that `monkeypatch` takes back",
        "async def test_it(monkeypatch):\n    monkeypatch.setattr(asyncio, 'open_connection', work)\n"
        "    monkeypatch.setenv('PROBE', '1')\n\nasync def test_next():\n    assert 'PROBE' not in os.environ\n",
    ),
    _right("a slow call in a thread", "async def test_it():\n    await asyncio.to_thread(time.sleep, 0.3)\n"),
    _right(
        "an async generator in `aclosing`",
        "async def test_it():\n    async with aclosing(ticks()) as each:\n        await anext(each)\n",
    ),
    _right(
        "a test that expects the warning for a forgotten `await`",
        "async def test_it():\n    with pytest.warns(RuntimeWarning, match='never awaited'):\n        work()\n",
    ),
    _right(
        "a worker task of a fixture, cancelled when it is torn down",
        "@pytest.fixture\nasync def worker():\n    task = asyncio.create_task(asyncio.sleep(60))\n    yield task\n"
        "    task.cancel()\n\nasync def test_it(worker):\n    await asyncio.sleep(0)\n    assert not worker.done()\n",
    ),
    _right(
        "a test that swallows its own time-out",
        "async def test_it():\n    with pytest.raises(TimeoutError):\n        async with asyncio.timeout(0.01):\n"
        "            await asyncio.sleep(60)\n",
    ),
)

OURS = "pytest-interleave"
_INI = {
    OURS: "asyncio_mode = auto\ninterleave_misuse = fail\n",
    "pytest-asyncio": "asyncio_mode = auto\n",
    "anyio": "anyio_mode = auto\n",
}
_ANYIO_CONFTEST = "import pytest\n\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"


def judge(python: Path | str, probe: Probe, folder: Path, *, plugin: str = OURS) -> str:
    """Run a probe in an empty folder; return what ``read_verdict`` does, or ``hangs``."""
    command = [str(python), "-m", "pytest", *write(probe, folder, plugin)]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        return "hangs"
    return read_verdict(done.returncode, done.stdout, done.stderr)


def write(probe: Probe, folder: Path, plugin: str = OURS) -> list[str]:
    """Write a probe into an empty folder; return the arguments with which pytest runs it there."""
    (folder / "pytest.ini").write_text("[pytest]\n" + _INI[plugin])
    (folder / "test_probe.py").write_text(_HEAD + probe.source)
    if plugin == "anyio":
        (folder / "conftest.py").write_text(_ANYIO_CONFTEST)
    return ["-p", "no:cacheprovider", *probe.arguments, "test_probe.py"]


def read_verdict(status: int, output: str, errors: str) -> str:
    """Return ``fails``, ``told``, ``warning``, ``xfails``, ``skips`` or ``passes``, from what a session came to."""
    last = output.rstrip().rpartition("\n")[2]
    if status == 1:
        return "fails"
    if status:
        raise RuntimeError(f"pytest ended with {status}:\n{output}{errors}")
    if "interleave findings" in output:
        return "told"
    for word, verdict in (("xfailed", "xfails"), ("skipped", "skips"), ("warning", "warning")):
        if re.search(rf"\b\d+ {word}", last):
            return verdict
    return "passes"


def is_good(probe: Probe, verdict: str) -> bool:
    """Whether a person learns what they must of a wrong program, and is left alone with a right one."""
    return verdict in ("fails", "told") if probe.is_wrong else verdict == "passes"
