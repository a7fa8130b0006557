"""Beside open connections, too, a test that waits for ever is told of: it fails if that is certain."""

import os
import socket
from pathlib import Path
from textwrap import dedent

import pytest
from sessions import run_forked

from pytest_interleave.loop import outside

HEAD = """\
import asyncio, socket, subprocess, sys
import pytest

async def transfer(source, target):
    async with source:
        await asyncio.sleep(0.01)
        async with target:
            pass

def transfers():
    mine, yours = asyncio.Lock(), asyncio.Lock()
    return asyncio.gather(transfer(mine, yours), transfer(yours, mine))

def serve(host="127.0.0.1"):
    async def echo(reader, writer):
        while data := await reader.read(100):
            writer.write(data)
        writer.close()
    return asyncio.start_server(echo, host, 0)
"""
CONFTEST = """\
from pytest_interleave.plugin.detecting import deadlocks, long_waits
deadlocks.SILENCE_SECONDS = 0.2
deadlocks.LISTENING_SECONDS = 0.6
long_waits.NOTICE_SECONDS = {notice}
"""
NEVER = 1000


def run(pytester: pytest.Pytester, body: str, *arguments: str, notice: float = NEVER) -> pytest.RunResult:
    pytester.makeini("[pytest]\nasyncio_mode = auto\n")
    pytester.makeconftest(CONFTEST.format(notice=notice))
    pytester.makepyfile(test_it=HEAD + "\n" + dedent(body))
    return run_forked(pytester, "-p", "no:timeout", *arguments, timeout=60)


DEAD = {
    "a connection to itself": """\
        async def test_it():
            server = await serve()
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"kept alive")
            assert await reader.read(10) == b"kept alive"
            server.close()
            try:
                await transfers()
            finally:
                writer.close()
        """,
    "a server": """\
        async def test_it():
            async with await serve():
                await transfers()
        """,
    "a server of both kinds, and an idle thread": """\
        async def test_it():
            async with await serve("localhost"):
                await asyncio.to_thread(print)
                await transfers()
        """,
    "a pair of sockets": """\
        async def test_it():
            ours, theirs = socket.socketpair()
            with ours, theirs:
                ours.setblocking(False)
                asyncio.get_running_loop().add_reader(ours, print)
                await transfers()
        """,
    "a path": """\
        async def test_it(tmp_path, monkeypatch):
            monkeypatch.chdir(tmp_path)
            async with await asyncio.start_unix_server(print, "socket"):
                await transfers()
        """,
}


@pytest.mark.parametrize("name", DEAD)
def test_a_deadlock_beside_what_only_this_process_has_open_fails(pytester: pytest.Pytester, name: str) -> None:
    result = run(pytester, dedent(DEAD[name]) + "\nasync def test_after():\n    await asyncio.sleep(0)\n")

    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "Deadlock: everybody waits. Nothing has come for 0.* s, and whoever could send is here.",
            "  the test waits for the tasks 'Task-*', 'Task-*'",
            "    which task 'Task-*' holds since *test_it.py:*: async with source:",
        ]
    )


def test_a_test_that_somebody_may_answer_is_waited_for(pytester: pytest.Pytester) -> None:
    body = """\
    LATE = "import socket, sys, time; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); time.sleep(1.2); "

    async def test_a_process_that_connects_and_takes_its_time():
        come = asyncio.Event()
        async def on_data(reader, writer):
            await reader.read(1)
            come.set()
            writer.close()
        async with await asyncio.start_server(on_data, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with subprocess.Popen([sys.executable, "-c", LATE + "s.send(b'x')", str(port)]):
                await come.wait()

    async def test_a_thread_that_takes_its_time():
        import time
        async with await serve():
            await asyncio.to_thread(time.sleep, 1)

    @pytest.mark.interleave(timeout=1.5)
    async def test_a_server_that_has_a_time_of_its_own():
        async with await serve():
            await asyncio.Event().wait()

    @pytest.mark.interleave(timeout=1.5)
    async def test_a_server_that_other_machines_may_know():
        async with await serve("0.0.0.0"):
            await asyncio.Event().wait()
    """
    result = run(pytester, body)

    result.assert_outcomes(passed=2, failed=2)
    assert "Deadlock" not in result.stdout.str()
    assert result.stdout.str().count("Hang: this took longer") >= 2


def test_only_what_leads_to_this_process_is_quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    living = outside.children.living
    others = living()  # of tests before this one
    monkeypatch.setattr(outside.children, "living", lambda: living() - others)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_server(("0.0.0.0", 0)) as open_to_all,
        socket.create_connection(server.getsockname()) as client,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        open(tmp_path / "file", "w") as file,
    ):
        datagrams.bind(("127.0.0.1", 0))
        accepted = server.accept()[0]
        fds = [each.fileno() for each in (server, open_to_all, client, accepted, datagrams, file)]
        with accepted:
            assert outside.lead_inside(fds, may_listen=False) == {client.fileno(), accepted.fileno()}
            assert outside.lead_inside(fds, may_listen=True) == {client.fileno(), accepted.fileno(), server.fileno()}
        assert outside.lead_inside(fds[:3], may_listen=False) == frozenset()  # its other end is closed

        child = os.fork()
        if child == 0:
            os._exit(0)
        assert outside.lead_inside(fds[:1], may_listen=True) == frozenset()
        os.waitpid(child, 0)


@pytest.mark.parametrize("workers", [(), ("-n", "1")])
def test_a_long_wait_is_told_while_it_lasts_and_fails_nothing(
    pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    body = """\
    async def test_waits():
        async def tick():
            while True:
                await asyncio.sleep(0.01)
        async def wait():
            await asyncio.get_running_loop().run_in_executor(None, __import__("time").sleep, 1.5)
        ticking = asyncio.create_task(tick())
        async with asyncio.TaskGroup() as group:
            group.create_task(wait(), name="waiter")
        ticking.cancel()
    """
    result = run(pytester, body, *workers, notice=0.6)

    result.assert_outcomes(passed=1)
    assert result.stderr.str().count("has waited for") == 1
    result.stderr.fnmatch_lines(
        [
            "test_it.py::test_waits has waited for * s, and still does:",
            "  the test waits for the tasks 'waiter'",
            "  task 'waiter' waits for a future",
            "    at *test_it.py:* in wait: await *",
        ]
    )


def test_nothing_is_told_of_a_test_that_comes_on_or_sleeps(pytester: pytest.Pytester) -> None:
    body = """\
    async def test_comes_on():
        async def work():
            for _ in range(15):
                await asyncio.to_thread(__import__("time").sleep, 0.1)
        await asyncio.gather(work(), work())

    async def test_sleeps():
        await asyncio.create_task(asyncio.sleep(1.5))
    """
    result = run(pytester, body, notice=0.6)

    result.assert_outcomes(passed=2)
    assert "has waited for" not in result.stderr.str()
