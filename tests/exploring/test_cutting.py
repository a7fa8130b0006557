"""``--interleave-cancel``: what is cancelled, what counts as left behind, and what does not."""

import json
import sys
from textwrap import dedent

import pytest
from sessions import run_forked

CODE = """
import asyncio

class Pool:
    def __init__(self):
        self.slots = asyncio.Semaphore(1)
        self.lock = asyncio.Lock()
        self.replies = asyncio.Queue()

    async def keeps_a_slot(self):
        await self.slots.acquire()
        await self.ask()
        self.slots.release()

    async def is_right(self):
        async with self.slots, self.lock:
            await self.ask()

    async def swallows(self):
        for _ in range(8):
            try:
                await self.ask()
            except asyncio.CancelledError:
                pass

    async def leaves_a_task(self):
        task = asyncio.create_task(self.ask_for_long())
        await self.ask()
        task.cancel()

    async def leaves_a_connection(self, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        await self.ask()
        writer.close()

    async def closes_a_connection(self, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await self.ask()
        finally:
            writer.close()

    async def waits_for_a_reply(self):
        return await self.replies.get()

    async def ask(self):
        await asyncio.sleep(0.01)

    def start(self):
        self.beat = asyncio.create_task(self.ask_for_long())

    async def open(self):
        await self.lock.acquire()

    async def close(self):
        self.lock.release()
        self.beat.cancel()

    async def ask_for_long(self):
        await asyncio.sleep(100)

    async def listens(self):
        self.beat = asyncio.create_task(self.looks_around())
        await self.ask()

    async def looks_around(self):
        await asyncio.wait_for(self.ask_for_long(), 50)

    async def asks_beside(self):
        self.beat = asyncio.create_task(self.looks_around())
        await self.ask()
        self.beat.cancel()

    async def deliver(self):
        await self.ask()
        self.replies.put_nowait("reply")

    async def works(self, jobs):
        while True:
            job = await jobs.get()
            await self.ask()
            job.set_result("reply")

    async def loads_for_all(self):
        await asyncio.gather(self.ask(), asyncio.shield(asyncio.create_task(self.ask())))

    async def loads_for_long(self):
        task = asyncio.create_task(self.ask_for_long())
        await asyncio.shield(task)
"""
HEAD = "import asyncio\nimport pytest\nfrom pool import Pool\n"


def run(pytester: pytest.Pytester, body: str, *arguments: str) -> pytest.RunResult:
    pytester.makeini("[pytest]\nasyncio_mode = auto\n")
    pytester.makepyfile(pool=CODE, test_it=HEAD + dedent(body))
    # How much a busy machine tries within a second is not what these tests are about.
    is_timed = any(argument.startswith("--interleave-time") for argument in arguments)
    patience = [] if is_timed else ["-o", "interleave_time=60"]
    return run_forked(pytester, "--interleave-seed=1", *patience, *arguments)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("keeps_a_slot", "Cancelled on the way, and a Semaphore is still held, taken at pool.py:10"),
        ("swallows", "Cancelled on the way, and the cancellation is swallowed: the test went on at pool.py:*"),
        ("leaves_a_task", "Cancelled on the way, and the task Pool.ask_for_long still waits at pool.py:59"),
        ("loads_for_long", "Cancelled on the way, and the task Pool.ask_for_long still waits at pool.py:59"),
        ("asks_beside", "Cancelled on the way, and the task Pool.* still waits at pool.py:*"),
    ],
)
def test_what_the_cancelled_call_leaves_behind_fails_the_test(pytester: pytest.Pytester, name: str, text: str) -> None:
    body = f"""
    async def test_it():
        await Pool().{name}()
    """
    result = run(pytester, body, "--interleave-cancel")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([text, "Fails if the test is cancelled at pool.py:* (`await *", "stock: *5 of 5."])


def test_its_token_replays_it_without_the_flag(pytester: pytest.Pytester) -> None:
    body = """
    async def test_it():
        await Pool().keeps_a_slot()
    """
    first = run(pytester, body, "--interleave-cancel", "--interleave-json=found.json")
    first.assert_outcomes(failed=1)
    (test,) = json.loads((pytester.path / "found.json").read_text())["tests"]
    assert test["cuts"] == 1

    again = run_forked(pytester, "-p", "no:cacheprovider", f"--interleave-replay={test['token']}")

    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["Cancelled on the way, and a Semaphore is still held, taken at pool.py:10"])


def test_what_failed_before_is_tried_again_only_with_the_flag(pytester: pytest.Pytester) -> None:
    body = """
    async def test_it():
        await Pool().keeps_a_slot()
    """
    run(pytester, body, "--interleave-cancel").assert_outcomes(failed=1)

    run(pytester, body, "--interleave").assert_outcomes(passed=1)
    run(pytester, body, "--interleave-cancel").assert_outcomes(failed=1)


def test_connections_that_the_call_made_count(pytester: pytest.Pytester) -> None:
    body = """
    async def serve(reader, writer):
        await reader.read()
        writer.close()

    @pytest.fixture
    async def port():
        async with await asyncio.start_server(serve, "127.0.0.1") as server:
            yield server.sockets[0].getsockname()[1]

    async def test_wrong(port):
        await Pool().leaves_a_connection(port)

    async def test_right(port):
        await Pool().closes_a_connection(port)
    """
    result = run(pytester, body, "--interleave-cancel")

    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["Cancelled on the way, and a connection is still open, made at pool.py:31"])


KEEPER = """
import asyncio

class Keeper:
    def __init__(self, port):
        self.port, self.made, self.free = port, [], []

    async def ask(self):
        if not self.free:
            self.free.append(await asyncio.open_connection("127.0.0.1", self.port))
            self.made.append(self.free[-1][1])
        reader, writer = self.free.pop()
        try:
            writer.write(b"?")
            return await reader.read(1)
        finally:
            self.free.append((reader, writer))

    async def ask_twice(self):
        return await self.ask() + await self.ask()

    async def ask_past_it(self):
        answer = await self.ask()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b"?")
        answer += await reader.read(1)
        writer.close()
        return answer

    def close(self):
        for writer in self.made:
            writer.close()
"""


def test_connections_that_a_pool_of_the_test_keeps_do_not_count(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(keeper=KEEPER)
    body = """
    from keeper import Keeper

    @pytest.fixture
    async def port():
        writers = []
        async def serve(reader, writer):
            writers.append(writer)
            while data := await reader.read(1):
                writer.write(b"!")
            writer.close()
        async with await asyncio.start_server(serve, "127.0.0.1") as server:
            yield server.sockets[0].getsockname()[1]
            for writer in writers:
                writer.close()

    async def test_pool(port):
        keeper = Keeper(port)
        assert await keeper.ask_twice() == b"!!"
        keeper.close()

    async def test_pool_of_a_task(port):
        keeper = Keeper(port)
        assert await asyncio.create_task(keeper.ask_twice()) == b"!!"
        keeper.close()

    async def test_past_the_pool(port):
        keeper = Keeper(port)
        assert await keeper.ask_past_it() == b"!!"
        keeper.close()
    """
    result = run(pytester, body, "--interleave-cancel", "-v")

    result.assert_outcomes(failed=1, passed=2)
    result.stdout.fnmatch_lines(
        ["*::test_past_the_pool FAILED*", "Cancelled on the way, and a connection is still open, made at keeper.py:23"]
    )
    result.stdout.fnmatch_lines(["*test_pool: *nothing left behind", "*test_pool_of_a_task: *nothing left behind"])


QUIET = """
@pytest.fixture
async def pool():
    pool = Pool()
    yield pool
    assert pool.slots.locked() is False

async def test_right(pool):
    await asyncio.gather(pool.is_right(), pool.is_right())

async def test_that_its_assertion_fails_is_no_news(pool):
    done = []
    async def work():
        await pool.is_right()
        done.append(1)
    worker = asyncio.create_task(work())
    await asyncio.wait([worker])
    assert done == [1]

async def test_what_the_test_itself_holds_does_not_count():
    pool = Pool()
    await pool.lock.acquire()
    await pool.ask()
    pool.lock.release()

async def test_what_the_test_itself_began_does_not_count(pool):
    worker = asyncio.create_task(pool.ask_for_long())
    await pool.ask()
    worker.cancel()

async def test_what_came_before_does_not_count(pool):
    await pool.slots.acquire()
    helper = pool.keeps_a_slot()
    pool.slots.release()
    await helper
    await pool.ask()

async def test_what_came_before_in_the_same_step_does_not_count(pool):
    pool.start()
    await pool.open()
    await pool.ask()
    await pool.close()

async def test_what_the_call_leaves_to_the_pool_that_the_test_has_does_not_count(pool):
    await pool.listens()
    pool.beat.cancel()

async def test_a_timeout_is_right(pool):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await pool.ask_for_long()

async def test_a_task_that_ends_cleanly_is_right(pool):
    async def work():
        try:
            await pool.ask_for_long()
        except asyncio.CancelledError:
            return "ended"
    worker = asyncio.create_task(work())
    await pool.ask()
    worker.cancel()
    assert await worker == "ended"

async def test_what_is_shielded_may_end_later(pool):
    await pool.loads_for_all()

async def test_that_the_test_waits_for_its_cancelled_worker_is_its_own_affair(pool):
    worker = asyncio.create_task(pool.deliver())
    assert await pool.replies.get() == "reply"
    await worker

async def test_a_worker_that_has_no_work_is_idle(pool):
    jobs = asyncio.Queue()
    workers = [asyncio.create_task(pool.works(jobs)) for _ in range(2)]
    reply = asyncio.get_running_loop().create_future()
    jobs.put_nowait(reply)
    assert await reply == "reply"
    for worker in workers:
        worker.cancel()
    await asyncio.wait(workers)

async def test_a_child_of_a_group_is_not_cancelled_alone(pool):
    async with asyncio.TaskGroup() as group:
        group.create_task(pool.deliver())
        group.create_task(pool.waits_for_a_reply())
"""


def test_it_never_cries_wolf(pytester: pytest.Pytester) -> None:
    body = QUIET.replace("    helper = pool.keeps_a_slot()\n", "    helper = pool.ask()\n")
    result = run(pytester, body, "--interleave-cancel", "-v")

    result.assert_outcomes(passed=13)
    result.stdout.fnmatch_lines(["*test_right: *cancelled at each await (tried all *), nothing left behind"])


def test_somebody_who_waits_for_ever_is_told(pytester: pytest.Pytester) -> None:
    body = """
    async def test_it():
        pool = Pool()
        worker = asyncio.create_task(pool.deliver())
        assert await pool.waits_for_a_reply() == "reply"
        await worker
    """
    result = run(pytester, body, "--interleave-cancel")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["Cancelled on the way, and somebody waits for ever (nothing can wake it) at pool.py:43"]
    )


@pytest.mark.parametrize("scope", ["module", "session"])
def test_a_loop_that_outlives_the_test(pytester: pytest.Pytester, scope: str) -> None:
    body = f"""
    pytestmark = pytest.mark.asyncio(loop_scope="{scope}")

    async def test_wrong():
        await Pool().keeps_a_slot()

    async def test_right():
        await Pool().is_right()
    """
    run(pytester, body, "--interleave-cancel").assert_outcomes(failed=1, passed=1)


def test_by_mark_and_by_ini(pytester: pytest.Pytester) -> None:
    body = """
    @pytest.mark.interleave(cancel=True)
    async def test_marked():
        await Pool().keeps_a_slot()

    @pytest.mark.interleave(cancel=False)
    async def test_left_out():
        await Pool().keeps_a_slot()

    async def test_other():
        await Pool().keeps_a_slot()
    """
    run(pytester, body).assert_outcomes(failed=1, passed=2)
    run(pytester, body, "-o", "interleave_cancel=true", "--interleave").assert_outcomes(failed=2, passed=1)
    wrong = run(pytester, body, "-o", "interleave_cancel=perhaps", "--interleave")
    assert wrong.ret == pytest.ExitCode.USAGE_ERROR
    wrong.stderr.fnmatch_lines(["ERROR: 'perhaps' is not a valid interleave_cancel: it must be true or false."])


ANYIO = """
pytestmark = pytest.mark.anyio

@pytest.fixture(scope="{scope}")
def anyio_backend():
    return "asyncio"

@pytest.fixture(scope="{scope}")
async def server():
    await asyncio.sleep(0.1)
    yield
    await asyncio.sleep(0.1)

@pytest.fixture
async def pool(server):
    pool = Pool()
    yield pool
    await pool.ask()

async def test_wrong(pool):
    await pool.keeps_a_slot()

async def test_swallowed(pool):
    await pool.swallows()

async def test_right(pool):
    await pool.is_right()

class TestClass:
    async def test_children(self, pool):
        await asyncio.gather(pool.is_right(), pool.is_right())

    async def test_tear_down_comes_in_the_same_task(self, pool, task):
        await pool.is_right()
        assert asyncio.current_task() is task

    @pytest.fixture
    async def task(self):
        task = asyncio.current_task()
        yield task
        assert asyncio.current_task() is task and task.cancelling() == 0

async def test_that_is_left_alone(pool):
    with pytest.raises(ValueError):
        int("x")
"""


@pytest.mark.parametrize("scope", ["function", "module"])
def test_tests_of_anyios_plugin(pytester: pytest.Pytester, scope: str) -> None:
    pytester.makepyfile(pool=CODE, test_it=HEAD + ANYIO.format(scope=scope))
    result = run_forked(pytester, "--interleave-cancel", "--interleave-seed=1", "--interleave-runs=80", "-v")

    result.assert_outcomes(failed=2, passed=4)
    result.stdout.fnmatch_lines(
        [
            "Cancelled on the way, and a Semaphore is still held, taken at pool.py:10",
            "Fails if the test is cancelled at pool.py:46 (`await asyncio.sleep(0.01)`).",
            "Cancelled on the way, and the cancellation is swallowed: the test went on at pool.py:46",
            "*::test_right: *cancelled at its only await, nothing left behind",
            "*::test_children: *cancelled at each await (tried all *), nothing left behind",
        ]
    )


def test_what_an_anyio_test_of_its_own_loop_leaves(pytester: pytest.Pytester) -> None:
    body = ANYIO.format(scope="function").partition("async def test_wrong")[0]
    body += "async def test_it(pool):\n    await pool.leaves_a_task()\n"
    pytester.makepyfile(pool=CODE, test_it=HEAD + body)
    result = run_forked(pytester, "--interleave-cancel", "--interleave-seed=1", "--interleave-runs=80", "-v")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["Cancelled on the way, and the task Pool.ask_for_long still waits at pool.py:59"])


def test_nothing_is_claimed_of_awaits_for_which_there_was_no_time(explore) -> None:
    result = explore(
        """
        async def test_slow():
            await work()
            await work()
        """,
        "--interleave-cancel",
        "--interleave-time=0.000001",
    )

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*test_slow: *cancelled at none of * awaits; its time was up: --interleave-time=S *"])
    result.stdout.no_fnmatch_line("*nothing left behind*")


LIBRARY = """
import asyncio

async def ask():
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, "answer")
    return await asyncio.wait_for(future, 60)
"""
CLIENT = """
from {module} import ask

async def get():
    return await ask()
"""
ASKS = """
from client import get

async def test_it():
    assert await get() == "answer"
"""


@pytest.mark.parametrize("module", ["library", "own"])
def test_that_wait_for_swallows_is_told_of_whose_own_call_it_is(pytester: pytest.Pytester, module: str) -> None:
    """Until Python 3.11, where what it waits for ends just then."""
    folder = pytester.mkdir("site-packages") if module == "library" else pytester.path
    (folder / f"{module}.py").write_text(LIBRARY)
    pytester.makeconftest(f"import sys; sys.path.append({str(folder)!r})")
    pytester.makepyfile(client=CLIENT.format(module=module))

    result = run(pytester, ASKS, "--interleave-cancel")

    if module == "library" or sys.version_info >= (3, 12):
        result.assert_outcomes(passed=1)
    else:
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(["*swallowed by asyncio.wait_for, as it is until Python 3.11: the test went on*"])
