"""What a test that passes did wrong all the same, and where it is told."""

from textwrap import dedent

import pytest
from sessions import run_forked

HEAD = """\
import asyncio, gc, warnings, weakref
import pytest
from unittest.mock import AsyncMock

kept = []

async def work():
    pass

def helper():
    work()

async def fails():
    raise LookupError("gone")

@pytest.fixture
async def forgetful():
    work()

@pytest.fixture
async def tidy():
    tasks = []
    yield tasks
    for task in tasks:
        task.cancel()
"""


def run(pytester: pytest.Pytester, body: str, *arguments: str) -> pytest.RunResult:
    pytester.makeini("[pytest]\nasyncio_mode = auto\n")
    pytester.makepyfile(test_it=HEAD + "\n" + dedent(body))
    return run_forked(pytester, *arguments)


def line_of(text: str, body: str) -> int:
    return (HEAD + "\n" + dedent(body)).splitlines().index(text) + 1


@pytest.mark.parametrize(
    ("body", "made"),
    [
        ("async def test_it():\n    reply = work()\n", "    reply = work()"),
        ("def test_it():\n    helper()\n", "    work()"),
        ("async def test_it():\n    mock = AsyncMock()\n    mock.send()\n", "    mock.send()"),
        (
            "async def test_it():\n    asyncio.get_running_loop().call_soon(helper)\n    await asyncio.sleep(0)\n",
            "    work()",
        ),
    ],
)
def test_a_forgotten_await_fails_the_test_with_the_line(pytester: pytest.Pytester, body: str, made: str) -> None:
    result = run(pytester, body + "\n\ndef test_innocent():\n    gc.collect()\n")
    result.assert_outcomes(failed=1, passed=1)
    line = line_of(made, body)
    result.stdout.fnmatch_lines(
        [f"never-awaited: coroutine '*' was never awaited  (test_it.py:{line})", f"*{made.strip()}"]
    )


def test_a_forgotten_call_of_a_mock_that_was_kept_is_told_of_at_the_test(pytester: pytest.Pytester) -> None:
    """Its line was in a frame that is gone: pytest's own, which is left, is not it."""
    result = run(
        pytester,
        "async def test_it():\n    class Client: pass\n    client = Client()\n    client.task = AsyncMock()()\n",
    )
    result.assert_outcomes(failed=1)
    line = line_of("async def test_it():", "async def test_it():")
    result.stdout.fnmatch_lines(
        [f"never-awaited: coroutine '*' was never awaited  (test_it.py:{line})", "*made in test_it"]
    )


def test_a_forgotten_await_in_a_fixture_fails_its_set_up(pytester: pytest.Pytester) -> None:
    result = run(pytester, "async def test_it(forgetful):\n    pass\n")
    result.assert_outcomes(errors=1)


@pytest.mark.parametrize("make", ["kept.append(work())", "cycle = {1: work()}; cycle[2] = cycle"])
def test_the_test_that_made_it_is_named_not_the_one_that_dropped_it(pytester: pytest.Pytester, make: str) -> None:
    body = f"def test_guilty():\n    {make}\n\ndef test_innocent():\n    kept.clear()\n    gc.collect()\n"
    result = run(pytester, body)
    result.assert_outcomes(passed=2)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["never-awaited: *", f"*{make[:16]}*", "*belongs to test_it.py::test_guilty, which had ended."]
    )


def test_a_test_that_looks_for_the_warning_gets_it(pytester: pytest.Pytester) -> None:
    body = """\
    def test_expects():
        with pytest.warns(RuntimeWarning, match="never awaited"):
            work()

    @pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
    def test_ignores():
        work()

    def test_ignores_itself():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            work()

    @pytest.mark.interleave_allow("never-awaited", match="helper")
    @pytest.mark.filterwarnings("ignore:coroutine")
    def test_allows():
        helper()
    """
    run(pytester, body, "-W", "error").assert_outcomes(passed=4)


def test_lost_exceptions_fail_the_test_with_their_traceback(pytester: pytest.Pytester) -> None:
    body = """\
    async def test_task():
        asyncio.create_task(fails())
        await asyncio.sleep(0)

    async def test_callback():
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(0)

    @pytest.mark.asyncio(loop_scope="module")
    async def test_wider_loop():
        asyncio.create_task(fails())
        await asyncio.sleep(0)

    async def test_own_handler():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        asyncio.create_task(fails())
        await asyncio.sleep(0)

    async def test_reads_the_log(caplog):
        asyncio.create_task(fails())
        await asyncio.sleep(0)
        gc.collect()
        await asyncio.sleep(0)
        assert "never retrieved" in caplog.text

    async def test_retrieved():
        task = asyncio.create_task(fails())
        await asyncio.wait([task])
        assert task.exception()
    """
    result = run(pytester, body)
    result.assert_outcomes(failed=3, passed=3)
    line = line_of('    raise LookupError("gone")', body)
    result.stdout.fnmatch_lines(
        [
            f"lost-exception: Task exception was never retrieved: task '*' (fails)  (test_it.py:{line})",
            "*LookupError: gone",
        ]
    )
    result.stdout.fnmatch_lines(["lost-exception: Exception in callback*", "*ZeroDivisionError*"])


def test_a_lost_exception_of_a_library_is_placed_at_the_users_line(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_mode = auto\n")
    pytester.makepyfile(
        test_it="""
        import asyncio
        import yarl

        async def fails():
            yarl.URL(5)

        async def test_it():
            asyncio.create_task(fails())
            await asyncio.sleep(0)
        """
    )
    result = run_forked(pytester)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["lost-exception: Task exception was never retrieved: * (fails)  (test_it.py:5)"])


LEAKS = """\
async def test_own_loop():
    asyncio.create_task(asyncio.sleep(30), name="one")

@pytest.mark.asyncio(loop_scope="module")
async def test_wider_loop():
    asyncio.create_task(asyncio.sleep(30), name="two")

@pytest.mark.asyncio(loop_scope="module")
async def test_does_not():
    asyncio.create_task(asyncio.sleep(0))

async def test_fixture_ends_it(tidy):
    tidy.append(asyncio.create_task(asyncio.sleep(30)))

async def test_half_a_generator():
    async def count():
        yield 1
        yield 2
    kept.append(count())
    async for number in kept[-1]:
        break
"""


def test_what_fails_only_because_it_is_ended_is_told_and_fails_nothing(pytester: pytest.Pytester) -> None:
    body = """\
    async def stubborn():
        try:
            yield 1
        finally:
            raise LookupError("cannot close")

    async def test_generator():
        kept.append(stubborn())
        async for number in kept[-1]:
            break

    async def test_task():
        async def work():
            try:
                await asyncio.sleep(30)
            finally:
                raise LookupError("cannot end")
        asyncio.create_task(work())
        await asyncio.sleep(0)
    """
    result = run(pytester, body)
    result.assert_outcomes(passed=2)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["left-open: an error occurred during closing of asynchronous generator *"])
    result.stdout.fnmatch_lines(["leaked-task: unhandled exception in a task that was left running*"])


def test_what_is_left_running_or_open_is_told_once(pytester: pytest.Pytester) -> None:
    result = run(pytester, LEAKS)
    result.assert_outcomes(passed=5)
    assert result.ret == 0
    line = line_of('    asyncio.create_task(asyncio.sleep(30), name="one")', LEAKS)
    result.stdout.fnmatch_lines(
        [
            f"leaked-task: task 'one' (sleep) was still running when the test had ended  (test_it.py:{line})",
            "*in test_it.py::test_own_loop",
            "leaked-task: task 'two'*",
            "*in test_it.py::test_wider_loop",
            "left-open: async generator '*count' was begun and not finished*",
            "*in test_it.py::test_half_a_generator",
        ]
    )
    assert result.stdout.str().count("leaked-task:") == 2


def test_a_generator_that_a_library_leaves_is_not_told(pytester: pytest.Pytester) -> None:
    body = """\
    import httpx
    from aiohttp import web

    async def count(request):
        response = web.StreamResponse()
        await response.prepare(request)
        for number in range(3):
            await response.write(b"%d\\n" % number)
        return response

    async def first_line(client, url):
        async with client.stream("GET", url) as response:
            async for line in response.aiter_lines():
                return line

    async def test_first_line(aiohttp_server):
        app = web.Application()
        app.router.add_get("/", count)
        server = await aiohttp_server(app)
        async with httpx.AsyncClient() as client:
            assert await first_line(client, str(server.make_url("/"))) == "0"
    """
    result = run(pytester, body)

    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("left-open: *")


def test_a_task_that_ends_when_its_thread_does_is_not_left_running(pytester: pytest.Pytester) -> None:
    body = """\
    import threading
    from concurrent import futures

    async def close(file):
        await asyncio.to_thread(file.set)

    @pytest.mark.parametrize("scope", [pytest.param(scope, marks=pytest.mark.asyncio(loop_scope=scope)) for scope in
                                       ("function", "module")])
    async def test_it(scope):
        closed = threading.Event()
        asyncio.create_task(close(closed))
        await asyncio.sleep(0)
        closed.wait()

    async def wait(opened, threads):
        await asyncio.get_running_loop().run_in_executor(threads, opened.wait)

    async def test_waits_for_what_comes_later(request):
        opened, threads = kept[:] = threading.Event(), futures.ThreadPoolExecutor(1)
        asyncio.create_task(wait(opened, threads), name="opener")
        await asyncio.sleep(0)

    def test_opens():
        opened, threads = kept
        opened.set()
        threads.shutdown()
    """
    result = run(pytester, body)

    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["leaked-task: task 'opener' (wait) was still running *"])
    assert result.stdout.str().count("leaked-task:") == 1


def test_a_handler_that_is_left_running_is_said_to_need_its_client_closed(pytester: pytest.Pytester) -> None:
    body = """
    async def test_it():
        async def serve(reader, writer):
            await reader.read()
            writer.close()
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        kept.append(await asyncio.open_connection(*server.sockets[0].getsockname()))
        await asyncio.sleep(0.01)
        server.close()  # not `async with`, which since Python 3.12 waits for the handler
    """
    result = run(pytester, body)

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "leaked-task: task '*' (test_it.<locals>.serve) was still running when the test had ended  (test_it.py:*)",
            "  It handles a connection: close the client, then the server, and await both (*wait_closed()').",
        ]
    )


def test_tasks_of_a_wider_fixture_are_not_the_tests(pytester: pytest.Pytester) -> None:
    body = """\
    @pytest.fixture(scope="module")
    async def address():
        async def serve(reader, writer):
            await reader.read()
            writer.close()
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        yield server.sockets[0].getsockname()
        server.close()

    @pytest.fixture(scope="module")
    async def connect(address):
        opened = []
        async def open_one():
            opened.append(await asyncio.open_connection(*address))
        yield open_one
        for reader, writer in opened:
            writer.close()
            await reader.read()

    @pytest.mark.asyncio(loop_scope="module")
    async def test_connects(connect):
        await connect()
        await asyncio.sleep(0.05)

    @pytest.mark.asyncio(loop_scope="module")
    async def test_connects_too(connect):
        await connect()
        await asyncio.sleep(0.05)
    """
    result = run(pytester, body, "--interleave-strict")
    result.assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("arguments", "outcomes"),
    [
        (("--interleave-strict",), {"passed": 5, "errors": 3}),
        (("--interleave-detect=leaked-task=fail",), {"passed": 5, "errors": 2}),
        (("--interleave-strict", "--interleave-detect=leaked-task=off"), {"passed": 5, "errors": 1}),
        (("--interleave-strict", "-o", "interleave_allow=leaked-task: 'one'"), {"passed": 5, "errors": 2}),
    ],
)
def test_levels(pytester: pytest.Pytester, arguments: tuple[str, ...], outcomes: dict[str, int]) -> None:
    run(pytester, LEAKS, *arguments).assert_outcomes(**outcomes)


def test_marks_go_before_flags(pytester: pytest.Pytester) -> None:
    body = """\
    @pytest.mark.interleave_detect(leaked_task="fail")
    async def test_leaks():
        asyncio.create_task(asyncio.sleep(30))

    @pytest.mark.interleave_detect(never_awaited="off")
    def test_forgets():
        work()
    """
    run(pytester, body, "--interleave-detect=never-awaited=fail").assert_outcomes(passed=2, errors=1, warnings=1)


def test_the_tests_own_failure_comes_first(pytester: pytest.Pytester) -> None:
    result = run(pytester, "def test_it():\n    work()\n    assert 1 == 2\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E       assert 1 == 2", "*interleave findings*", "never-awaited: *"])


def test_workers_of_xdist_tell_too(pytester: pytest.Pytester) -> None:
    body = "def test_guilty():\n    kept.append(work())\n\ndef test_other():\n    kept.clear()\n\n" + LEAKS
    result = run(pytester, body, "-n", "1")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["leaked-task: task 'one'*", "*belongs to test_it.py::test_guilty, which had ended."])


KEPT = """
async def test_guilty():
    kept.append(work())

async def test_guilty_too():
    kept.append(asyncio.create_task(fails()))
    await asyncio.sleep(0)

async def test_weak():
    class Gone:
        pass
    kept.append(weakref.proxy(Gone()))

async def test_begun_later():
    kept.append(asyncio.create_task(work()))
    await kept[-1]

def test_innocent():
    pass
"""


def test_what_is_kept_until_the_end_is_told(pytester: pytest.Pytester) -> None:
    result = run(pytester, KEPT)

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines_random(
        [
            "never-awaited: coroutine 'work' was never awaited  (test_it.py:29)",
            "lost-exception: Task exception was never retrieved: task * (fails)  (test_it.py:14)",
        ]
    )
    result.stdout.fnmatch_lines_random(["*belongs to test_it.py::test_guilty, which had ended*"])
    assert "RuntimeWarning" not in result.stderr.str()
    assert "TypeError" not in result.stderr.str()


def test_what_is_awaited_in_the_end_is_not_told(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        "import asyncio\n\n"
        "def pytest_sessionfinish(session):\n"
        "    if hasattr(session.config, 'kept'):\n"
        "        asyncio.run(session.config.kept)\n"
    )
    result = run(pytester, "async def test_it(request):\n    request.config.kept = work()\n")

    assert result.ret == pytest.ExitCode.OK


def test_a_message_without_an_exception_is_a_lost_one_too(pytester: pytest.Pytester) -> None:
    body = """
    async def test_guilty():
        asyncio.get_running_loop().call_exception_handler({"message": "the pool is broken", "pool": 7})

    async def test_reads_the_log(caplog):
        asyncio.get_running_loop().call_exception_handler({"message": "the pool is broken", "pool": 7})
        assert "the pool is broken" in caplog.text

    async def test_has_its_own():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: kept.append(context))
        loop.call_exception_handler({"message": "the pool is broken"})
    """
    result = run(pytester, body)

    result.assert_outcomes(failed=1, passed=2)
    result.stdout.fnmatch_lines(["lost-exception: the pool is broken", "    pool: 7"])


def test_an_exception_that_reaches_somebody_after_it_was_told_is_not_lost(pytester: pytest.Pytester) -> None:
    body = """
    class Job:  # tells at once, like those of aiojobs, and again whoever waits for it
        def __init__(self):
            self.task = asyncio.create_task(fails())
            self.task.add_done_callback(self.tell)

        def tell(self, task):
            context = {"message": "a job failed", "exception": task.exception()}
            asyncio.get_running_loop().call_exception_handler(context)

    async def test_waits_later():
        job = Job()
        await asyncio.sleep(0.01)
        with pytest.raises(LookupError):
            await job.task

    async def test_never_waits():
        Job()
        await asyncio.sleep(0.01)
    """
    result = run(pytester, body)

    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["*_ test_never_waits _*", "lost-exception: a job failed  (test_it.py:*"])


SERVER = """
async def talk(handle, is_rude):
    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"abc")
        await asyncio.sleep(0.01)
        if is_rude:
            writer.transport.abort()
        writer.close()
        await asyncio.sleep(0.05)
"""


def test_a_client_that_goes_away_is_no_failure_of_its_server(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        SERVER
        + """
class Service:
    async def handle(self, reader, writer):
        try:
            while True:
                writer.write(b"x" * 1000)
                await writer.drain()
                await asyncio.sleep(0.001)
        finally:
            writer.close()

async def read_ten(reader, writer):
    await reader.readexactly(10)

async def test_writing():
    await talk(Service().handle, is_rude=True)

async def test_reading():
    await talk(read_ten, is_rude=False)
""",
    )

    result.assert_outcomes(passed=2)


def test_another_connection_of_a_handler_is_its_own_affair(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        SERVER
        + """
async def hang_up(reader, writer):
    writer.close()

async def ask(reader, writer):
    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        other, to_other = await asyncio.open_connection(*server.sockets[0].getsockname())
        try:
            await other.readexactly(10)
        finally:
            to_other.close()
            writer.close()

async def refuse(reader, writer):
    raise ConnectionError("not today")

async def test_asking():
    await talk(ask, is_rude=True)

async def test_refusing():
    await talk(refuse, is_rude=True)
""",
    )

    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*IncompleteReadError: 0 bytes read*", "*ConnectionError: not today"])


def test_a_leaked_task_is_told_at_the_users_line_with_the_calls_of_libraries_counted(
    pytester: pytest.Pytester,
) -> None:
    folder = pytester.mkdir("site-packages")
    (folder / "server.py").write_text(
        "import asyncio\n"
        "async def route(handler): return await handler()\n"
        "async def call(handler): return await route(handler)\n"
        "async def serve(handler): return await call(handler)\n"
        "async def pause(): await asyncio.sleep(60)\n"
    )
    pytester.makeconftest(f"import sys; sys.path.append({str(folder)!r})")
    pytester.makepyfile(
        test_it="""
        import asyncio
        import pytest
        from server import pause, serve

        async def handler():
            await pause()

        async def ask():
            await serve(handler)

        @pytest.mark.asyncio
        async def test_leaks():
            asyncio.create_task(ask(), name="asker")
            await asyncio.sleep(0)
        """
    )

    result = run_forked(pytester)

    result.stdout.fnmatch_lines(
        [
            "leaked-task: task 'asker' (ask) was still running when the test had ended  (test_it.py:6)",
            "    waits at *test_it.py:9 in ask",
            "    through server: 2 calls",
            "    waits at *server.py:2 in route",
            "    waits at *test_it.py:6 in handler",
            "    waits at *server.py:5 in pause",
            "    its coroutine was made at *test_it.py:13 in test_leaks",
        ],
        consecutive=True,
    )
