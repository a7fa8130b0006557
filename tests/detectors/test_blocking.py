"""Steps that keep their loop from everything else: which are told, on which line, and which are nobody's fault."""

from __future__ import annotations

from textwrap import dedent

import pytest

HEAD = """\
import asyncio, concurrent.futures, hashlib, os, queue, socket, subprocess, threading, time
from time import sleep as nap

held = threading.Lock()
held.acquire()

def join_late():
    late = threading.Thread(target=time.sleep, args=(0.6,), daemon=True)
    late.start()
    late.join()

def wait_for_future():
    with concurrent.futures.ThreadPoolExecutor() as pool:
        pool.submit(time.sleep, 0.6).result()

def wait_for_answer():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        client.settimeout(0.6)
        try:
            client.recv(1)
        except TimeoutError:
            pass

def compute():
    end = time.process_time() + 0.6
    while time.process_time() < end:
        pass

def hash():
    end = time.process_time() + 0.6
    while time.process_time() < end:
        hashlib.pbkdf2_hmac("sha256", b"x", b"y", 300_000)

def get():
    try:
        queue.Queue().get(timeout=0.6)
    except queue.Empty:
        pass
"""
CALLS = {
    "time.sleep(0.6)": "time.sleep(0.6)",
    "nap(0.6)": "nap(0.6)",
    "held.acquire(timeout=0.6)": "held.acquire(timeout=0.6)",
    "threading.Event().wait(0.6)": "threading.Event().wait(0.6)",
    "join_late()": "late.join()",
    "os.system('sleep 0.6')": "os.system('sleep 0.6')",
    "subprocess.run(['sleep', '0.6'])": "subprocess.run(['sleep', '0.6'])",
    "sum(range(10**8 // 2))": "sum(range(10**8 // 2))",
    "get()": "queue.Queue().get(timeout=0.6)",
    "wait_for_future()": "pool.submit(time.sleep, 0.6).result()",
    "wait_for_answer()": "client.recv(1)",
    "compute()": "",
    "hash()": "hashlib.pbkdf2_hmac(",
}

#: Of an exploration, the run is watched that pytest reports.
EXPLORED_OR_NOT = [pytest.param([], id="plain"), pytest.param(["--interleave", "--interleave-runs=5"], id="explored")]


def run(pytester: pytest.Pytester, body: str, *arguments: str, ini: str = "") -> pytest.RunResult:
    pytester.makeini(f"[pytest]\nasyncio_mode = auto\n{ini}")
    pytester.makepyfile(test_it=HEAD + "\n" + dedent(body))
    return pytester.runpytest_subprocess(*arguments)


@pytest.mark.parametrize("options", EXPLORED_OR_NOT)
def test_each_kind_of_blocking_call_is_told_with_its_line(pytester: pytest.Pytester, options: list[str]) -> None:
    tests = [f"async def test_{number}():\n    {call}\n" for number, call in enumerate(CALLS)]
    result = run(pytester, "\n".join(tests), *options)

    result.assert_outcomes(passed=len(CALLS))
    text = str(result.stdout)
    for number, (call, named) in enumerate(CALLS.items()):
        finding = text[: text.index(f"in test_it.py::test_{number}\n")].rpartition("blocked-loop: ")[2]
        assert finding.startswith(named), call
        assert " s, and nothing else could run in the loop  (test_it.py:" in finding


def test_a_callback_in_c_is_named_and_the_test_fails_where_it_is_told_to(pytester: pytest.Pytester) -> None:
    body = """
        async def test_it():
            asyncio.get_running_loop().call_soon(time.sleep, 0.6)
            await asyncio.sleep(0)
    """
    result = run(pytester, body, "--interleave-detect=blocked-loop=fail")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines("blocked-loop: callback <built-in function sleep> waited for 0.* s, *")


@pytest.mark.parametrize("options", EXPLORED_OR_NOT)
def test_what_only_takes_long_is_not_told(pytester: pytest.Pytester, options: list[str]) -> None:
    body = """
        import pdb, pytest

        class SlowPerson(pdb.Pdb):
            def interaction(self, *arguments):
                time.sleep(0.6)
                self.set_continue()

        @pytest.fixture
        def slow():
            time.sleep(0.6)
            yield
            time.sleep(0.6)

        async def test_waits(slow):
            await asyncio.sleep(0.6)

        async def test_does_much_in_short_steps():
            async def work():
                for _ in range(10):
                    end = time.process_time() + 0.001
                    while time.process_time() < end:
                        pass
                    await asyncio.sleep(0)
            await asyncio.gather(*(work() for _ in range(100)))

        async def test_in_thread():
            await asyncio.to_thread(time.sleep, 0.6)

        async def test_imports():
            import slow_module

        async def test_is_debugged():
            SlowPerson().set_trace()
            await asyncio.sleep(0)

        @pytest.mark.interleave_detect(blocked_loop="off")
        async def test_is_off():
            time.sleep(0.6)

        def test_sync():
            time.sleep(0.6)
    """
    pytester.makepyfile(slow_module="import time\ntime.sleep(0.6)\n")
    result = run(pytester, body, "--interleave-strict", *options)
    result.assert_outcomes(passed=7)


@pytest.mark.parametrize("options", EXPLORED_OR_NOT)
def test_libraries_are_quiet(pytester: pytest.Pytester, options: list[str]) -> None:
    body = """
        import logging, pytest

        async def test_web(tmp_path):
            import aiohttp, httpx, redis.asyncio
            from aiohttp import web

            handler = logging.FileHandler(tmp_path / "log")
            logging.getLogger().addHandler(handler)
            app = web.Application()

            async def hello(request):
                logging.getLogger().error("asked")
                return web.Response(text="hello")

            app.router.add_get("/", hello)
            runner = web.AppRunner(app)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = site._server.sockets[0].getsockname()[1]
            try:
                async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/") as reply:
                    assert await reply.text() == "hello"
                async with httpx.AsyncClient() as client:
                    assert (await client.get(f"http://127.0.0.1:{port}/")).text == "hello"
                connection = redis.asyncio.Redis(port=1)
                with pytest.raises(redis.ConnectionError):
                    await connection.ping()
                await connection.aclose()
            finally:
                await runner.cleanup()
                logging.getLogger().removeHandler(handler)
                handler.close()
    """
    result = run(pytester, body, "--interleave-strict", *options)
    result.assert_outcomes(passed=1)


def test_in_virtual_time_a_call_blocks_in_real_time(pytester: pytest.Pytester) -> None:
    body = """
        import pytest

        @pytest.mark.virtual_time
        async def test_it():
            await asyncio.sleep(60)
            time.sleep(0.6)
    """
    result = run(pytester, body)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines("blocked-loop: time.sleep(0.6) waited for 0.* s, *")


def test_a_fork_finds_one_thread_and_the_next_test_is_watched(pytester: pytest.Pytester) -> None:
    body = """
        import pytest, warnings

        @pytest.mark.asyncio(loop_scope="module")
        async def test_forks():
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                child = os.fork()
                if child == 0:
                    os._exit(0)
            os.waitpid(child, 0)
            assert threading.active_count() == 1

        @pytest.mark.asyncio(loop_scope="module")
        async def test_blocks():
            time.sleep(0.6)
    """
    result = run(pytester, body)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["blocked-loop: time.sleep(0.6) *", "  in test_it.py::test_blocks"])


def test_the_thread_that_looks_does_not_hide_a_deadlock(pytester: pytest.Pytester) -> None:
    result = run(pytester, "async def test_it():\n    await asyncio.Future()\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines("Deadlock: *")


@pytest.mark.parametrize("value", ["fast", "0", "-1", "nan"])
def test_a_wrong_threshold_is_one_line(pytester: pytest.Pytester, value: str) -> None:
    result = run(pytester, "", ini=f"interleave_blocked_seconds = {value}\n")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(f"ERROR: *{value!r} is not a valid interleave_blocked_seconds: *")


def test_the_threshold_is_what_is_configured(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        "async def test_it():\n    time.sleep(0.6)\n",
        "--interleave-strict",
        ini="interleave_blocked_seconds = 60\n",
    )
    result.assert_outcomes(passed=1)
