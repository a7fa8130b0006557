"""Servers, connections and subprocesses that are open when their test has ended."""

import pytest
from sessions import run_forked

HEAD = """
import asyncio
import pytest

async def serve(reader, writer):
    writer.write(b"x")
    await reader.read()
    writer.close()

class Protocol(asyncio.Protocol):
    def connection_made(self, transport):
        pass

def address_of(server):
    return server.sockets[0].getsockname()
"""


def run(pytester: pytest.Pytester, body: str, *arguments: str) -> pytest.RunResult:
    pytester.makeini("[pytest]\nasyncio_mode = auto\n")
    pytester.makepyfile(test_it=HEAD + body)
    return run_forked(pytester, *arguments)


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("await asyncio.start_server(serve, '127.0.0.1', 0)", "the server of 'serve' on 127.0.0.1:* (test_it.py:4)"),
        (
            "await asyncio.get_running_loop().create_server(Protocol, '127.0.0.1', 0)",
            "the server of 'Protocol.connection_made' on 127.0.0.1:* (test_it.py:10)",
        ),
        (
            "await asyncio.get_running_loop().create_datagram_endpoint(Protocol, local_addr=('127.0.0.1', 0))",
            "the socket 127.0.0.1:* (Protocol) was not closed*",
        ),
        (
            "await asyncio.create_subprocess_exec('sleep', '60', stdout=asyncio.subprocess.PIPE)",
            "the subprocess 'sleep 60' still ran",
        ),
    ],
)
def test_what_is_not_closed_is_told(pytester: pytest.Pytester, statement: str, finding: str) -> None:
    result = run(pytester, f"async def test_it():\n    kept = {statement}\n")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"left-open: {finding}", "  in test_it.py::test_it"])


def test_an_open_connection_to_another_loop_is_told(pytester: pytest.Pytester) -> None:
    body = """
import socket
kept = []

async def test_it():
    listening = socket.create_server(("127.0.0.1", 0))
    kept.append((listening, await asyncio.open_connection(*listening.getsockname())))
"""
    result = run(pytester, body)
    result.stdout.fnmatch_lines("left-open: the connection to 127.0.0.1:* (StreamReaderProtocol) was not closed")


OPENED = """
import concurrent.futures
import aiohttp

kept = []

def work():
    pass

class Service:
    def __init__(self):
        self.pool = concurrent.futures.ThreadPoolExecutor()
"""


@pytest.mark.parametrize("options", [(), ("--interleave", "--interleave-runs=3")], ids=["plain", "explored"])
def test_executors_and_client_sessions_are_told_with_the_line_that_made_them(
    pytester: pytest.Pytester, options: tuple[str, ...]
) -> None:
    body = """
async def test_kept():
    kept.append(concurrent.futures.ThreadPoolExecutor())
    await asyncio.get_running_loop().run_in_executor(kept[-1], work)

async def test_dropped():
    concurrent.futures.ThreadPoolExecutor().submit(work).result()

async def test_processes():
    pool = concurrent.futures.ProcessPoolExecutor(1)

async def test_in_code_under_test():
    kept.append(Service())

async def test_kept_session():
    kept.append(aiohttp.ClientSession())

async def test_dropped_session():
    aiohttp.ClientSession()
"""
    result = run(pytester, OPENED + body, "--interleave-detect=blocked-loop=off", "-v", *options)
    result.assert_outcomes(passed=6)
    text = str(result.stdout)
    lines = (HEAD + OPENED + body).strip().splitlines()
    for name, line in (
        ("ThreadPoolExecutor", "    kept.append(concurrent.futures.ThreadPoolExecutor())"),
        ("ThreadPoolExecutor", "    concurrent.futures.ThreadPoolExecutor().submit(work).result()"),
        ("ProcessPoolExecutor", "    pool = concurrent.futures.ProcessPoolExecutor(1)"),
        ("ThreadPoolExecutor", "        self.pool = concurrent.futures.ThreadPoolExecutor()"),
        ("ClientSession", "    kept.append(aiohttp.ClientSession())"),
        ("ClientSession", "    aiohttp.ClientSession()"),
    ):
        what = "closed" if name == "ClientSession" else "shut down"
        assert text.count(f"left-open: {name} was not {what}  (test_it.py:{lines.index(line) + 1})") == 1, line
    assert text.count("left-open: ") == 6


def test_executors_and_client_sessions_that_others_close_are_not_told(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        shared="""
        import concurrent.futures, functools

        @functools.cache
        def workers():
            return concurrent.futures.ThreadPoolExecutor()

        pool = None

        def lazy_pool():
            global pool
            pool = pool or concurrent.futures.ThreadPoolExecutor()
            return pool
        """
    )
    body = """
import shared

async def test_closed():
    with concurrent.futures.ThreadPoolExecutor() as pool:
        pool.submit(work).result()
    pool = concurrent.futures.ThreadPoolExecutor()
    pool.shutdown()
    async with aiohttp.ClientSession():
        pass

async def test_default():
    await asyncio.to_thread(work)

async def test_own_default():
    asyncio.get_running_loop().set_default_executor(concurrent.futures.ThreadPoolExecutor())
    await asyncio.to_thread(work)

async def test_of_the_process():
    await asyncio.get_running_loop().run_in_executor(shared.workers(), work)
    await asyncio.get_running_loop().run_in_executor(shared.lazy_pool(), work)

@pytest.fixture(scope="module")
async def wide():
    pool = concurrent.futures.ThreadPoolExecutor()
    async with aiohttp.ClientSession() as session:
        yield session
    pool.shutdown()

@pytest.fixture
async def closes_late():
    pools = []
    yield pools
    for pool in pools:
        pool.shutdown()

@pytest.mark.asyncio(loop_scope="module")
async def test_wide(wide):
    assert not wide.closed

async def test_wide_from_a_loop_of_its_own(wide, closes_late):
    closes_late.append(concurrent.futures.ThreadPoolExecutor())

@pytest.fixture(scope="module")
def sync():
    with concurrent.futures.ThreadPoolExecutor() as pool:
        yield pool

async def test_sync(sync):
    sync.submit(work).result()
"""
    result = run(pytester, OPENED + body, "--interleave-strict")
    result.assert_outcomes(passed=7)
    assert result.ret == pytest.ExitCode.OK


def test_what_is_closed_or_belongs_to_a_wider_fixture_is_not_told(pytester: pytest.Pytester) -> None:
    body = """
async def test_closed_without_waiting():
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*address_of(server))
        await reader.read(1)
        writer.close()

async def test_closed_and_awaited():
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*address_of(server))
        await reader.read(1)
        writer.close()
        await writer.wait_closed()

async def test_subprocesses():
    process = await asyncio.create_subprocess_exec("echo", "x", stdout=asyncio.subprocess.PIPE)
    await process.communicate()
    process = await asyncio.create_subprocess_exec("sleep", "60", stdout=asyncio.subprocess.PIPE)
    process.kill()
    await process.wait()

@pytest.fixture
async def own():
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield address_of(server)

async def test_with_its_own_server(own):
    reader, writer = await asyncio.open_connection(*own)
    await reader.read(1)
    writer.close()

@pytest.fixture(scope="module")
async def wide():
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield address_of(server)

@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("number", [1, 2])
async def test_with_a_wide_server(wide, number):
    reader, writer = await asyncio.open_connection(*wide)
    await reader.read(1)
    writer.close()
"""
    result = run(pytester, body, "--interleave-strict")
    result.assert_outcomes(passed=6)
    assert result.ret == pytest.ExitCode.OK


def test_a_loop_with_a_selector_of_its_own_is_left_alone(pytester: pytest.Pytester) -> None:
    body = """
from unittest.mock import Mock

class Loop(asyncio.BaseEventLoop):
    def __init__(self):
        super().__init__()
        self._selector = Mock()
        self._selector.select.return_value = ()

    def _process_events(self, events):
        pass

    def _write_to_self(self):
        pass

def pytest_asyncio_loop_factories():
    return {"mocked": Loop}

async def test_it():
    await asyncio.sleep(0)
"""
    pytester.makeconftest(HEAD + body.partition("async def test_it")[0])
    result = run(pytester, "async def test_it():\n    await asyncio.sleep(0)\n")
    result.assert_outcomes(passed=1)


def test_keepers_are_looked_for_once_for_each_line(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import concurrent.futures, pytest_asyncio
        from pytest_interleave.plugin.detecting import openings

        made, looks = [], []
        is_kept = openings._is_kept_by_module

        def look(made):
            looks.append(id(made))
            return is_kept(made)

        openings._is_kept_by_module = look

        @pytest_asyncio.fixture
        async def pool():
            made.append([[concurrent.futures.ThreadPoolExecutor()]])
            return looks
        """
    )
    parametrized = """
@pytest.mark.parametrize("number", range(5))
async def test_it(pool, number):
    assert len(pool) == min(number, 1)
"""

    result = run(pytester, parametrized)

    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(["left-open: ThreadPoolExecutor was not shut down*", "* and 4 more"])
