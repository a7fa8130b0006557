"""Steps that keep their loop from everything else: which are told, on which line, and which are nobody's fault."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

import pytest
from sessions import run_forked

HEAD = """\
import asyncio, concurrent.futures, fcntl, hashlib, http.server, os, queue, socket, sqlite3, subprocess, threading, time
import urllib.request
from time import sleep as nap

LONG = 0.6
held = threading.Lock()
held.acquire()

def later(seconds, action):
    thread = threading.Timer(seconds, action)
    thread.daemon = True
    thread.start()
    return thread

def join_late(seconds):
    late = later(seconds, int)
    late.join()

def wait_for_future(seconds):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        pool.submit(time.sleep, seconds).result()

def wait_for_answer(seconds):
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        client.settimeout(seconds)
        try:
            client.recv(1)
        except TimeoutError:
            pass

def wait_for_connection(seconds):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.socket() as first, socket.socket() as second:
        first.setblocking(False)
        first.connect_ex(full.getsockname())
        second.settimeout(seconds)
        try:
            second.connect(full.getsockname())
        except TimeoutError:
            pass

def wait_for_writer(seconds):
    os.mkfifo("fifo")
    later(seconds, lambda: open("fifo", "w").close())
    open("fifo").close()

def wait_for_database(seconds):
    first, second = (sqlite3.connect("data", timeout=seconds) for _ in range(2))
    first.execute("BEGIN IMMEDIATE")
    try:
        second.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        pass
    first.close()
    second.close()

def wait_for_file(seconds):
    with open("lock", "w") as first, open("lock", "w") as second:
        fcntl.flock(first, fcntl.LOCK_EX)
        later(seconds, lambda: fcntl.flock(first, fcntl.LOCK_UN)).join(0)
        fcntl.flock(second, fcntl.LOCK_EX)

def wait_for_page(seconds):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            time.sleep(seconds)
            self.send_response(204)
            self.end_headers()
        def log_message(self, *arguments):
            pass
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}").close()

def again(action):
    end = time.process_time() + LONG
    while time.process_time() < end:
        for _ in range(50):
            action()

def compute():
    end = time.process_time() + LONG
    while time.process_time() < end:
        pass

def hash():
    end = time.process_time() + LONG
    while time.process_time() < end:
        hashlib.pbkdf2_hmac("sha256", b"x", b"y", 300_000)

def get(seconds):
    try:
        queue.Queue().get(timeout=seconds)
    except queue.Empty:
        pass
"""


class Kind(NamedTuple):
    """A way to block: how it is done for long, and for a short time, and how the finding begins."""

    long: str
    named: str
    short: str
    named_when_short: str = ""


#: By what the table in docs/detectors.md calls them.
KINDS = {
    "`time.sleep`": Kind("time.sleep(0.6)", "time.sleep(0.6)", "time.sleep(0.001)", "time.sleep(0.001)"),
    "the same by another name": Kind("nap(0.6)", "nap(0.6)", "nap(0.001)", "nap(0.001)"),
    "`open`": Kind("wait_for_writer(0.6)", 'open("fifo")', "open(__file__).close()", "open(__file__) blocks"),
    "`os.listdir`": Kind("again(lambda: os.listdir('/proc'))", "", "os.listdir('.')", "os.listdir('.') blocks"),
    "`os.stat`": Kind("again(lambda: os.stat('/'))", "", "os.path.exists('x')", "os.path.exists('x') blocks"),
    "`subprocess.run`": Kind(
        "subprocess.run(['sleep', '0.6'])",
        "subprocess.run(['sleep', '0.6'])",
        "subprocess.run(['true'])",
        "subprocess.run(['true'])",
    ),
    "`os.system`": Kind("os.system('sleep 0.6')", "os.system('sleep 0.6')", "os.system('true')", "os.system('true')"),
    "`sqlite3`": Kind(
        "wait_for_database(0.6)",
        'second.execute("BEGIN IMMEDIATE")',
        "sqlite3.connect('new').close()",
        "sqlite3.connect('new') blocks",
    ),
    "`threading.Lock`": Kind(
        "held.acquire(timeout=0.6)", "held.acquire(timeout=0.6)", "held.acquire(timeout=0.05)", "held.acquire("
    ),
    "`threading.Event`": Kind(
        "threading.Event().wait(0.6)", "threading.Event().wait(0.6)", "threading.Event().wait(0.05)", "threading.Event"
    ),
    "`Thread.join`": Kind("join_late(0.6)", "late.join()", "join_late(0.05)", "late.join()"),
    "`queue.Queue`": Kind("get(0.6)", "queue.Queue().get(timeout=", "get(0.05)", "queue.Queue().get(timeout="),
    "`Future.result`": Kind("wait_for_future(0.6)", "pool.submit(", "wait_for_future(0.05)", "pool.submit("),
    "`socket.connect`": Kind(
        "wait_for_connection(0.6)", "second.connect(", "wait_for_connection(0.05)", "second.connect("
    ),
    "`socket.recv`": Kind("wait_for_answer(0.6)", "client.recv(1)", "wait_for_answer(0.05)", "client.recv(1)"),
    "names (DNS)": Kind(
        "again(lambda: socket.getaddrinfo('localhost', 80))",
        "",
        "socket.getaddrinfo('localhost', 80)",
        "socket.getaddrinfo('localhost', 80)",
    ),
    "`urllib.request`, `requests`": Kind(
        "wait_for_page(0.6)", "urllib.request.urlopen(", "wait_for_page(0)", "urllib.request.urlopen("
    ),
    "`fcntl.flock`": Kind("wait_for_file(0.6)", "fcntl.flock(second,", "wait_for_file(0.05)", "fcntl.flock(second,"),
    "a loop that computes": Kind("compute()", "", "compute()"),
    "C that computes (`pbkdf2_hmac`, `sum`)": Kind("hash()", "hashlib.pbkdf2_hmac(", "hash()", "hashlib.pbkdf2_hmac("),
}

#: Of an exploration, the run is watched that pytest reports.
EXPLORED_OR_NOT = [pytest.param([], id="plain"), pytest.param(["--interleave", "--interleave-runs=2"], id="explored")]


def run(pytester: pytest.Pytester, body: str, *arguments: str, ini: str = "") -> pytest.RunResult:
    pytester.makeini(f"[pytest]\nasyncio_mode = auto\n{ini}")
    pytester.makepyfile(test_it=HEAD + "\n" + dedent(body))
    return run_forked(pytester, *arguments)


def run_kinds(pytester: pytest.Pytester, calls: list[str], *options: str) -> list[str]:
    """Run a test for each call, and return what is said of each, in order."""
    functions = [f"def call_{number}():\n    {call}\n" for number, call in enumerate(calls)]
    pytester.makepyfile(program=HEAD + "\n" + "\n".join(functions))
    tests = [f"async def test_{number}():\n    program.call_{number}()\n" for number in range(len(calls))]
    result = run(pytester, "import program\n\n" + "\n".join(tests), "-v", *options)

    result.assert_outcomes(passed=len(calls))
    text = str(result.stdout)
    return [
        "\n".join(
            part.partition("\n  in ")[0] for part in text.split("blocked-loop: ")[1:] if f"::test_{number}\n" in part
        )
        for number in range(len(calls))
    ]


def test_each_kind_of_blocking_call_is_told_with_its_line(pytester: pytest.Pytester) -> None:
    found = run_kinds(pytester, [kind.long for kind in KINDS.values()])

    assert [title for title, text in zip(KINDS, found, strict=True) if not text] == []
    for kind, text in zip(KINDS.values(), found, strict=True):
        assert text.startswith(kind.named)
        assert " s, and nothing else could run in the loop  (program.py:" in text


def test_in_virtual_time_each_kind_is_told_however_short(pytester: pytest.Pytester) -> None:
    calls = [kind.short for kind in KINDS.values()]
    found = run_kinds(pytester, calls, "--interleave", "--interleave-runs=3")

    assert [title for title, text in zip(KINDS, found, strict=True) if not text] == []
    for kind, text in zip(KINDS.values(), found, strict=True):
        assert kind.named_when_short in text
        assert "  (program.py:" in text


def test_the_page_has_a_row_for_each_kind() -> None:
    page = Path(__file__, "../../../docs/detectors.md").resolve().read_text()

    assert re.findall(r"^\| (.*) \| told \| told(?: from 0\.2 s on)? \|$", page, re.MULTILINE) == list(KINDS)


def test_what_was_computed_before_a_call_that_waits_is_not_the_calls(pytester: pytest.Pytester) -> None:
    body = """
        async def test_it():
            end = time.process_time() + 0.035
            while time.process_time() < end:
                pass
            time.sleep(0.6)
    """
    result = run(pytester, body)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines("blocked-loop: time.sleep(0.6) waited for 0.? s, *")


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
            await asyncio.gather(*(work() for _ in range(60)))  # 0.6 s in all

        async def test_in_thread():
            await asyncio.to_thread(time.sleep, 0.6)

        async def test_starts_a_thread():
            class Late(threading.Thread):
                def _bootstrap_inner(self):
                    time.sleep(0.6)
                    super()._bootstrap_inner()
            Late(target=int).start()

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
    result.assert_outcomes(passed=8)


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


def test_a_step_that_gets_no_processor_does_not_block(pytester: pytest.Pytester) -> None:
    body = """
        BUSY = "import os, time; os.sched_setaffinity(0, {0}); end = time.time() + 1\\nwhile time.time() < end: pass"

        async def test_it():
            cpu = min(os.sched_getaffinity(0))
            busy = await asyncio.create_subprocess_exec(sys.executable, "-c", BUSY.replace("{0}", f"{{{cpu}}}"))
            await asyncio.sleep(0.2)
            main = threading.get_native_id()
            os.sched_setaffinity(main, {cpu})
            os.sched_setscheduler(main, os.SCHED_IDLE, os.sched_param(0))
            hashlib.sha256(bytes(10_000_000)).digest()
            await busy.wait()
    """
    result = run(pytester, "import sys\n" + dedent(body), "--interleave-strict")
    result.assert_outcomes(passed=1)


def test_in_virtual_time_what_does_not_block_is_not_told(pytester: pytest.Pytester) -> None:
    body = """
        import logging, pytest

        @pytest.fixture
        def written(tmp_path):
            (tmp_path / "file").write_text("x")

        async def test_it(written, tmp_path):
            import module_that_reads

            handler = logging.FileHandler(tmp_path / "log", delay=True)
            logger = logging.getLogger("it")
            logger.addHandler(handler)
            logger.error("opens the file")
            logger.removeHandler(handler)
            handler.close()
            process = await asyncio.create_subprocess_exec("true")
            await process.wait()
            free = threading.Lock()
            assert free.acquire(timeout=1)
            assert not free.acquire(blocking=False)
            socket.getaddrinfo("127.0.0.1", 80)
            with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
                client.setblocking(False)
                await asyncio.get_running_loop().sock_connect(client, server.getsockname())
                with pytest.raises(BlockingIOError):
                    client.recv(1)
            threading.Thread(target=int).start()
            reading, writing = os.pipe()
            os.fdopen(reading).close()
            os.close(writing)
            await asyncio.to_thread(os.stat, ".")
            (tmp_path / "file").read_text()  # the test's own file may, and conftest.py
            sqlite3.connect(":memory:").close()
            prepare(tmp_path)
    """
    body = "import conftest\nprepare = conftest.prepare\n" + dedent(body)
    pytester.makeconftest("def prepare(folder):\n    (folder / 'other').write_text('x')\n")
    pytester.makepyfile(module_that_reads="open(__file__).close()\n")
    result = run(pytester, body, "--interleave", "--interleave-runs=3", "--interleave-strict")
    result.assert_outcomes(passed=1)


def test_in_virtual_time_each_place_is_told_once_and_fails_where_it_is_told_to(pytester: pytest.Pytester) -> None:
    body = """
        from program import read

        async def test_short():
            read(), read()
            await asyncio.sleep(0)

        @__import__("pytest").mark.asyncio(loop_scope="module")
        async def test_in_a_loop_of_wider_scope():
            read()

        async def test_long():
            time.sleep(0.6)
    """
    pytester.makepyfile(program='import pathlib\n\ndef read():\n    return pathlib.Path("x").exists()\n')
    result = run(pytester, body, "--interleave", "--interleave-runs=3", "--interleave-strict")
    result.assert_outcomes(failed=3)
    text = str(result.stdout).partition("= short test summary info =")[0]
    finding = """\
blocked-loop: pathlib.Path("x").exists() blocks, and nothing else can run in the loop meanwhile  (program.py:4)
    return pathlib.Path("x").exists()
    in read
  Await an async call in its place, or run it in a thread: await asyncio.to_thread(...).
"""
    assert text.count(finding) == 2
    assert len(re.findall(r"blocked-loop: time\.sleep\(0\.6\) waited for 0\.\d+ s, ", text)) == 1


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
