"""A plain run that waits for ever fails at once; one that something may wake does not."""

from textwrap import dedent

import pytest
from sessions import run_forked

from pytest_interleave.loop import _plain

HEAD = """\
import asyncio, signal, threading
import pytest

@pytest.fixture
async def stuck():
    await asyncio.Event().wait()
"""


def run(pytester: pytest.Pytester, body: str, *arguments: str) -> pytest.RunResult:
    pytester.makeini("[pytest]\nasyncio_mode = auto\n")
    pytester.makepyfile(test_it=HEAD + "\n" + dedent(body))
    return run_forked(pytester, *arguments, timeout=60)


@pytest.mark.parametrize("scope", ["function", "module"])
@pytest.mark.parametrize("workers", [(), ("-n", "1")])
def test_a_deadlock_fails_at_once_and_alone(pytester: pytest.Pytester, scope: str, workers: tuple[str, ...]) -> None:
    body = f"""\
    pytestmark = pytest.mark.asyncio(loop_scope="{scope}")

    async def transfer(source, target):
        async with source:
            await asyncio.sleep(0.01)
            async with target:
                pass

    async def test_transfers():
        mine, yours = asyncio.Lock(), asyncio.Lock()
        await asyncio.gather(transfer(mine, yours), transfer(yours, mine))

    async def test_innocent():
        await asyncio.sleep(0)
    """
    result = run(pytester, body, *workers)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "Deadlock: everybody waits, and nothing can come from outside.",
            "  the test waits for the tasks 'Task-*', 'Task-*'",
            "    at *test_it.py:* in test_transfers: await asyncio.gather(*",
            "  task 'Task-*' waits for <asyncio.locks.Lock object at *locked, waiters:1*",
            "    which task 'Task-*' holds since *test_it.py:*: async with source:",
            "    at *test_it.py:* in transfer: async with target:",
        ]
    )


def test_fixtures_clean_up_after_it_and_may_be_stuck_too(pytester: pytest.Pytester) -> None:
    body = """\
    @pytest.fixture
    async def resource():
        yield
        await asyncio.sleep(0.01)
        print("torn down")

    async def test_waits(resource):
        try:
            await asyncio.Queue().get()
        finally:
            await asyncio.sleep(0.01)
            print("cleaned up")

    async def test_never_begins(stuck):
        pass
    """
    result = run(pytester, body)
    result.assert_outcomes(failed=1, errors=1)
    result.stdout.fnmatch_lines(["*waits for <Queue at *", "cleaned up", "torn down"], consecutive=False)


def test_nothing_is_said_while_something_may_come(pytester: pytest.Pytester) -> None:
    body = """\
    async def test_thread():
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        threading.Timer(0.1, lambda: loop.call_soon_threadsafe(done.set)).start()
        await done.wait()

    async def test_executor():
        assert await asyncio.to_thread(sum, (1, 2)) == 3

    async def test_process():
        process = await asyncio.create_subprocess_exec("sleep", "0.1")
        assert await process.wait() == 0

    async def test_socket():
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert await reader.read() == b""
        writer.close()
        server.close()

    async def test_alarm_of_the_loop():
        done = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGALRM, done.set)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        await done.wait()
        asyncio.get_running_loop().remove_signal_handler(signal.SIGALRM)

    async def test_timeout():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await asyncio.Event().wait()
    """
    run(pytester, body).assert_outcomes(passed=6)


@pytest.mark.parametrize("name", ["SIGUSR1", "SIGWINCH", "SIGQUIT", "SIGRTMIN", "SIGPROF", "SIGINT"])
def test_a_signal_with_a_handler_may_wake_it(pytester: pytest.Pytester, name: str) -> None:
    body = f"""
    import os, subprocess, sys

    async def test_signal():
        event, loop = asyncio.Event(), asyncio.get_running_loop()
        signal.signal(signal.{name}, lambda *_: loop.call_soon_threadsafe(event.set))
        send = f"import os, time; time.sleep(0.2); os.kill({{os.getpid()}}, {{int(signal.{name})}})"
        child = subprocess.Popen([sys.executable, "-c", send])
        await event.wait()
        child.wait()
    """
    run(pytester, body).assert_outcomes(passed=1)


HOLDERS = {
    "a slot, and both in one line": (
        """\
        class Account:
            __slots__ = ("lock",)
            def __init__(self):
                self.lock = asyncio.Lock()

        async def test_it():
            mine, yours = Account(), Account()
            async def there():
                async with mine.lock, yours.lock:
                    pass
            async def back():
                async with yours.lock:
                    await asyncio.sleep(0.01)
                    async with mine.lock:
                        pass
            going = asyncio.create_task(back(), name="back")
            await asyncio.sleep(0)
            await asyncio.create_task(there(), name="there")
        """,
        ["which task 'there' holds since *: async with mine.lock, yours.lock:", "which task 'back' holds since *"],
    ),
    "itself": (
        """\
        async def test_it():
            slots = asyncio.Semaphore(1)
            async with slots:
                async with slots: pass
        """,
        ["which the test holds since *test_it.py:10: async with slots:"],
    ),
    "nobody alive": (
        """\
        async def test_it():
            lock = asyncio.Lock()
            async def take():
                await lock.acquire()
            await asyncio.create_task(take())
            async with lock: pass
        """,
        ["which task 'Task-*' took at *test_it.py:11: await lock.acquire()"],
    ),
    "one that still waits": (
        """\
        async def test_it():
            lock = asyncio.Lock()
            async def take():
                await lock.acquire()
                await asyncio.Event().wait()
            taking = asyncio.create_task(take(), name="taker")
            await asyncio.sleep(0)
            async with lock: pass
        """,
        ["which task 'taker' holds since *test_it.py:11: await lock.acquire()"],
    ),
    "one of many": (
        """\
        async def test_it():
            slots = asyncio.Semaphore(2)
            async def take():
                await slots.acquire()
            await asyncio.gather(take(), take())
            async with slots: pass
        """,
        ["which task 'Task-*' took at *test_it.py:11: await slots.acquire()"],
    ),
    "nobody known": (
        """\
        async def test_it():
            lock = asyncio.Lock()
            lock._locked = True
            async with lock: pass
        """,
        ["which nobody who waits here is seen to hold: perhaps its holder ended without release()"],
    ),
    "a lost wake-up": (
        """\
        async def test_it():
            event = asyncio.Event()
            asyncio.get_running_loop().call_soon(setattr, event, "_value", True)
            await event.wait()
        """,
        ["which is there to be had: its wake-up was lost"],
    ),
    "only waiters": (
        """\
        async def test_it():
            first, second = asyncio.Lock(), asyncio.Lock()
            async def both():
                async with first, second:
                    pass
            await first.acquire()
            await both()
        """,
        ["which the test holds since *test_it.py:13: await first.acquire()"],
    ),
}


@pytest.mark.parametrize("name", HOLDERS)
def test_who_holds_what_is_read_from_the_tasks_lines(pytester: pytest.Pytester, name: str) -> None:
    body, lines = HOLDERS[name]

    result = run(pytester, dedent(body))

    result.assert_outcomes(failed=1)
    for line in lines:
        result.stdout.fnmatch_lines([f"    {line}"])
    text, _, _ = result.stdout.str().partition("short test summary")  # which repeats it where CI is set
    assert text.count("    which ") == len(lines)
    assert ("With --interleave" in text) == ("nobody" in lines[0])
    assert ("    and has ended without release()" in text) == ("Task-" in lines[0])


def test_the_note_on_a_lock_leaves_it_as_it_was(pytester: pytest.Pytester) -> None:
    body = """\
    from unittest import mock

    async def test_it():
        assert asyncio.iscoroutinefunction(asyncio.Lock.acquire)
        assert isinstance(mock.create_autospec(asyncio.Lock)().acquire, mock.AsyncMock)
        lock = asyncio.Lock()
        await asyncio.wait_for(lock.acquire(), 1)
        assert lock.locked()
        lock.release()
        condition = asyncio.Condition()
        async with condition, lock, asyncio.BoundedSemaphore(1):
            condition.notify_all()
    """
    run(pytester, body, "--interleave-strict").assert_outcomes(passed=1)


def test_what_a_thread_left_before_it_ended_wakes_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = _plain.SpareLoop()
    try:
        resting = _plain.list_threads()
        monkeypatch.setattr(_plain, "_SIGNALS", ())
        assert not _plain.can_be_woken(loop, resting, has_usual_interrupt_handler=True)

        def list_threads_too_late() -> frozenset[str]:
            loop.call_soon_threadsafe(print)  # by a thread that is gone when threads are counted
            return resting

        monkeypatch.setattr(_plain, "list_threads", list_threads_too_late)
        assert _plain.can_be_woken(loop, resting, has_usual_interrupt_handler=True)
    finally:
        loop.close()


BLOCKING_FORBIDDEN = """
import asyncio, builtins, os, pytest, socket, threading, time
from functools import wraps

def forbid(function):
    @wraps(function)
    def forbidden(*args, **kwargs):
        if asyncio._get_running_loop() is not None:
            raise RuntimeError(f"blocking call of {function.__name__}")
        return function(*args, **kwargs)
    return forbidden

@pytest.fixture
def no_blocking(monkeypatch):
    for name in ("listdir", "scandir", "read", "readlink", "access", "getcwd"):
        monkeypatch.setattr(os, name, forbid(getattr(os, name)))
    monkeypatch.setattr(builtins, "open", forbid(open))

    def connect(self, address):
        assert not self.getblocking()
        return real_connect(self, address)

    real_connect = socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", connect)

@pytest.mark.asyncio
async def test_thread(no_blocking):
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    thread = threading.Thread(target=lambda: (time.sleep(0.05), loop.call_soon_threadsafe(event.set)))
    thread.start()
    await event.wait()
    thread.join()
    await asyncio.gather(asyncio.to_thread(time.sleep, 0.01), asyncio.sleep(0.01))

@pytest.mark.asyncio
async def test_sockets(no_blocking):
    async def serve(reader, writer):
        writer.write(await reader.read(9))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"hello")
    assert await reader.read() == b"hello"
    writer.close()
    server.close()

class Hears(asyncio.DatagramProtocol):
    def __init__(self):
        self.heard = asyncio.get_running_loop().create_future()

    def datagram_received(self, data, address):
        self.heard.set_result(data)

@pytest.mark.asyncio
async def test_datagrams(no_blocking):
    loop = asyncio.get_running_loop()
    left, hears = await loop.create_datagram_endpoint(Hears, ("127.0.0.1", 0))
    right, _ = await loop.create_datagram_endpoint(Hears, ("127.0.0.1", 0))
    right.sendto(b"hello", left.get_extra_info("sockname"))
    assert await hears.heard == b"hello"
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), 0.05)
    left.close()
    right.close()
"""


@pytest.mark.parametrize("arguments", [[], ["--interleave", "--interleave-runs=5"]], ids=["plain", "explored"])
def test_it_asks_the_system_and_not_what_a_suite_has_put_in_its_place(
    pytester: pytest.Pytester, arguments: list[str]
) -> None:
    pytester.makepyfile(BLOCKING_FORBIDDEN)

    result = pytester.runpytest(*arguments)

    result.assert_outcomes(passed=3)
    result.stdout.no_fnmatch_line("*inconclusive*")
