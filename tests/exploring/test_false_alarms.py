"""What libraries' own tests showed to be no failure, and must stay so."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from sessions import run_forked

from pytest_interleave import explore as explore_function
from pytest_interleave.exploration.execution import Limits


def test_what_only_virtual_time_fails_is_no_failure(explore: Any) -> None:
    result = explore(
        """
        import time

        @pytest.mark.asyncio
        async def test_a_clock():
            start = time.monotonic()
            await asyncio.sleep(0.5)
            assert time.monotonic() - start > 0.4

        @pytest.mark.asyncio
        async def test_a_thread_that_sleeps():
            ticks = 0

            async def tick():
                nonlocal ticks
                while True:
                    await asyncio.sleep(0.01)
                    ticks += 1

            ticking = asyncio.create_task(tick())
            reader, writer = await asyncio.open_connection(*await serve())
            assert await reader.read() == b"hello"
            writer.close()
            await asyncio.to_thread(time.sleep, 0.2)
            asyncio.get_running_loop().call_later(0.01, ticking.cancel)
            with pytest.raises(asyncio.CancelledError):
                await ticking
            server.close()
            assert ticks > 10

        async def serve():
            global server

            async def hello(reader, writer):
                writer.write(b"hello")
                writer.close()

            server = await asyncio.start_server(hello, "127.0.0.1")
            return server.sockets[0].getsockname()
        """,
    )

    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [
            "*test_a_clock: 1 run: inconclusive, since it fails with AssertionError (*.py:*) in virtual time only: *",
            "2 explored in * runs*(*inconclusive*)",
        ]
    )


def test_what_fails_in_real_time_too_is_a_failure_in_a_wider_loop_as_well(explore: Any) -> None:
    result = explore(
        """
        import time

        @pytest.mark.asyncio(loop_scope="module")
        async def test_passes_in_real_time():
            start = time.monotonic()
            await asyncio.sleep(0.5)
            assert time.monotonic() - start > 0.4

        @pytest.mark.asyncio(loop_scope="module")
        async def test_fails_always():
            await asyncio.sleep(0.05)
            assert time.monotonic() < 0
        """,
    )

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*test_passes_in_real_time: 1 run: inconclusive, *"])
    result.stdout.fnmatch_lines(["stock: asyncio can do this as it is.*"])


def test_no_clock_is_blamed_for_what_does_not_fail_again(explore: Any) -> None:
    result = explore(
        """
        RUNS = []

        @pytest.mark.asyncio
        async def test_first():
            RUNS.append(None)
            await asyncio.sleep(0.05)
            assert len(RUNS) > 1
        """,
    )

    result.assert_outcomes(passed=1)
    reason = (
        "it fails with AssertionError (test_it.py:*) in asyncio's own order, but not each time, and not in real time"
    )
    result.stdout.fnmatch_lines([f"*test_first: 1 run: inconclusive, since {reason}"])


def test_a_sleep_that_ends_before_its_data_is_not_blamed_on_clocks_alone(explore: Any) -> None:
    result = explore(
        """
        async def test_no_answer_is_there_yet():
            async def answer(reader, writer):
                for _ in range(50):
                    writer.write(await reader.readexactly(1))
                writer.close()

            async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
                async def ask():
                    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                    for _ in range(50):
                        writer.write(b"a")
                        await reader.readexactly(1)
                    writer.close()

                asking = asyncio.create_task(ask())
                await asyncio.sleep(0.0001)
                assert not asking.done()
                await asking
        """,
    )

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["*in virtual time only: it measures real time, * alone, or one of its sleeps ends in real time before *"]
    )


def test_no_clock_is_blamed_for_what_fails_only_when_it_is_repeated() -> None:
    loaded = []

    async def the_first_run_loads() -> None:
        start = time.monotonic()
        if not loaded:
            loaded.append(time.sleep(0.06))
        await asyncio.sleep(0.05)
        assert time.monotonic() - start > 0.04

    exploration = explore_function(the_first_run_loads)

    assert (exploration.verdict, exploration.runs) == ("inconclusive", 2)
    assert exploration.reason.endswith("in asyncio's own order, but not each time, and not in real time")


def test_a_long_test_that_fails_with_virtual_clocks_too_is_not_waited_for_in_real_time(explore: Any) -> None:
    result = explore(
        """
        STARTS = []

        @pytest.mark.asyncio
        async def test_fails_always():
            STARTS.append(asyncio.get_running_loop().is_in_real_time)
            await asyncio.sleep(30)
            assert not STARTS

        def test_none_was_in_real_time():
            assert set(STARTS) == {False}
        """,
    )

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["stock: asyncio can do this as it is. Reproduced 5 of 5."])


def test_an_assertion_about_a_timeout_that_did_its_job_is_no_failure(explore: Any) -> None:
    result = explore(
        """
        class RefusedError(Exception):
            pass

        class SlowError(RefusedError, TimeoutError):
            pass

        async def serve():
            async def refuse(reader, writer):
                writer.write(b"refused")
                writer.close()

            server = await asyncio.start_server(refuse, "127.0.0.1")
            return server, server.sockets[0].getsockname()

        async def log_in(address):
            reader, writer = await asyncio.open_connection(*address)
            try:
                reply = await asyncio.wait_for(reader.read(), 1)
            except TimeoutError:
                raise SlowError("no reply") from None
            finally:
                writer.close()
            raise RefusedError(reply.decode())

        @pytest.mark.asyncio
        async def test_by_its_text():
            server, address = await serve()
            with pytest.raises(RefusedError) as caught:
                await log_in(address)
            server.close()
            assert "refused" in str(caught.value)

        @pytest.mark.asyncio
        async def test_by_a_pattern():
            server, address = await serve()
            with pytest.raises(RefusedError, match="refused"):
                await log_in(address)
            server.close()

        @pytest.mark.asyncio
        async def test_by_all_that_went_wrong():
            server, address = await serve()
            errors = await asyncio.gather(log_in(address), return_exceptions=True)
            server.close()
            assert [str(error) for error in errors] == ["refused"]

        @pytest.mark.asyncio
        async def test_what_comes_of_it():
            server, address = await serve()
            replies = []
            try:
                await log_in(address)
            except RefusedError as error:
                replies += [str(error)] if not isinstance(error, TimeoutError) else []
            server.close()
            assert replies == ["refused"]
        """,
    )

    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["FAILED *::test_what_comes_of_it *"])


def test_a_timeout_of_a_class_of_its_own_that_did_its_job_is_no_failure(explore: Any) -> None:
    result = explore(
        """
        class PoolTimeout(Exception):  # psycopg_pool's is no TimeoutError, and raised where none is handled
            pass

        async def take(pool):
            error = None
            try:
                return await asyncio.wait_for(pool.get(), 1)
            except TimeoutError:
                error = PoolTimeout("no connection")
            raise error

        async def fill(pool):
            await asyncio.sleep(0.01)
            pool.put_nowait("a connection")

        async def test_a_pool():
            pool = asyncio.Queue()
            filling = asyncio.create_task(fill(pool))
            assert await take(pool) == "a connection"
            await filling
        """
    )

    result.assert_outcomes(passed=1)


def test_what_a_clock_has_left_of_five_seconds_guards_as_well(explore: Any, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        pool="""
        import asyncio
        from time import monotonic

        class Pool:
            def __init__(self):
                self.free, self.is_broken = asyncio.Queue(), False

            async def take(self):
                end = monotonic() + 5
                try:
                    return await asyncio.wait_for(self.free.get(), end - monotonic())
                except TimeoutError:
                    self.is_broken = True

            async def fill(self):
                await asyncio.sleep(0.01)
                self.free.put_nowait("a connection")
        """
    )
    result = explore(
        """
        from pool import Pool

        async def test_a_pool():
            pool = Pool()
            await asyncio.gather(pool.take(), pool.fill())
            assert not pool.is_broken
        """
    )

    result.assert_outcomes(passed=1)


def test_a_test_that_anyio_runs_without_a_mark_is_explored(explore: Any) -> None:
    result = explore(
        """
        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        async def test_an_update(anyio_backend):
            state = {"n": 0}
            await lose_update(state)
            assert state["n"] == 2
        """,
        "--asyncio-mode=strict",
        "--anyio-mode=auto",
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["latency: *"])


def test_what_anyio_keeps_for_a_loop_is_gone_in_the_next_run(explore: Any) -> None:
    result = explore(
        """
        from anyio.lowlevel import RunVar

        workers = RunVar("workers")

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        async def test_begins_without_workers(anyio_backend):
            assert workers.get(None) is None
            workers.set("one that dies with the run")
            await work()

        async def test_begins_without_those_of_another_test(anyio_backend):
            assert workers.get(None) is None
            await work()
        """,
        "--asyncio-mode=strict",
        "--anyio-mode=auto",
    )

    result.assert_outcomes(passed=2)


def test_a_runner_that_anyio_could_not_close_is_no_other_tests(explore: Any) -> None:
    result = explore(
        """
        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        def test_leaves_one():
            from anyio import pytest_plugin

            pytest_plugin._current_runner = "closed"

        async def test_is_fine(anyio_backend):
            await work()
        """,
        "--asyncio-mode=strict",
        "--anyio-mode=auto",
    )

    result.assert_outcomes(passed=2)


def test_no_request_is_so_late_that_the_server_takes_its_connection_for_idle(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import asyncio

        import httpx
        import pytest
        import uvicorn

        async def answer(scope, receive, send):
            if scope["type"] == "http":
                await asyncio.sleep(0.01)
                await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
                await send({"type": "http.response.body", "body": b"hello"})


        @pytest.mark.asyncio
        async def test_two_in_a_row():
            server = uvicorn.Server(uvicorn.Config(answer, port=0, log_level="error", lifespan="off"))
            task = asyncio.create_task(server.serve())
            while not server.started:
                await asyncio.sleep(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                for _ in range(3):
                    assert (await client.get("/")).text == "hello"
            server.should_exit = True
            await task
        """
    )

    options = ["--interleave-runs=60", "--interleave-time=60", "--interleave-seed=1"]
    result = run_forked(pytester, "--interleave", *options)

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*test_two_in_a_row: 60 runs, *sampled"])


def test_a_test_that_is_only_long_is_inconclusive_and_passes(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Limits.__init__, "__defaults__", (20_000, 3600.0, 60.0))  # the same limit, sooner
    pytester.makepyfile(
        """
        import asyncio

        async def worker():
            for _ in range(100):
                await asyncio.sleep(0)

        async def test_long():
            for _ in range(210):
                await asyncio.create_task(worker())
        """
    )

    result = pytester.runpytest("--interleave", "-o", "asyncio_mode=auto")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*test_long: 1 run: inconclusive, since Still running after 20001 steps*"])


def test_who_sleeps_for_hours_says_so(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import asyncio
        import pytest

        async def test_two_hours():
            await asyncio.sleep(7_200)

        @pytest.mark.interleave(limit=8_000)
        async def test_two_hours_with_leave():
            await asyncio.sleep(7_200)
        """
    )

    result = pytester.runpytest("--interleave", "-o", "asyncio_mode=auto")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*TimeLimit*later than interleave_limit, the virtual seconds that a run may take*"])

    pytester.runpytest("--interleave", "-o", "asyncio_mode=auto", "--interleave-limit=8000").assert_outcomes(passed=2)


def test_a_deadline_that_nothing_from_outside_has_come_since_overtakes_no_steps(explore: Any) -> None:
    result = explore(
        """
        async def stop(task):
            task.cancel()
            done, pending = await asyncio.wait({task}, timeout=1)
            assert not pending

        @pytest.mark.asyncio
        async def test_a_worker_stops_within_a_second():
            started = asyncio.Event()

            async def part():
                started.set()
                await asyncio.Event().wait()

            async def worker():
                async with asyncio.TaskGroup() as group:
                    group.create_task(part())

            working = asyncio.create_task(worker())
            await started.wait()
            await asyncio.gather(stop(working), asyncio.sleep(0.01))
        """,
    )

    result.assert_outcomes(passed=1)


def test_a_deadline_does_not_pass_together_with_what_comes_in_while_the_loop_is_still_at_work(explore: Any) -> None:
    result = explore(
        """
        async def answer():
            await asyncio.sleep(0.01)

        @pytest.mark.asyncio
        async def test_a_worker_stops_within_a_second():
            async def worker():
                waiting = asyncio.create_task(asyncio.sleep(3600))
                try:
                    await waiting
                finally:
                    waiting.cancel()
                    await asyncio.wait({waiting})

            task = asyncio.create_task(worker())
            late = asyncio.create_task(answer())
            await asyncio.sleep(0.05)
            task.cancel()
            done, pending = await asyncio.wait({task}, timeout=1)
            await late
            assert not pending
        """,
    )

    result.assert_outcomes(passed=1)


def test_a_deadline_far_off_is_not_reached_by_the_tests_own_short_sleeps(explore: Any) -> None:
    result = explore(
        """
        class Debounce:
            def __init__(self, call, seconds):
                self.call, self.seconds, self.timer = call, seconds, None

            def __call__(self, value):
                if self.timer is not None:
                    self.timer.cancel()
                self.timer = asyncio.get_running_loop().call_later(self.seconds, self.call, value)

        async def take(queue, seconds):
            try:
                async with asyncio.timeout(seconds):
                    return await queue.get()
            except TimeoutError:
                return None

        async def test_only_the_last_value_counts():
            values = []
            debounce = Debounce(values.append, 0.03)
            for value in range(5):
                debounce(value)
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.5)
            assert values == [4]

        async def test_what_lives_for_three_seconds_is_there_after_one():
            sessions = {"ada": 1}
            asyncio.get_running_loop().call_later(3, sessions.pop, "ada")
            await asyncio.sleep(1)
            assert sessions == {"ada": 1}
            await asyncio.sleep(3)
            assert sessions == {}

        async def test_the_inner_timeout_is_the_one():
            events = []
            try:
                async with asyncio.timeout(9):
                    try:
                        async with asyncio.timeout(1):
                            await asyncio.sleep(100)
                    except TimeoutError:
                        events.append("inner")
                    await asyncio.sleep(0.1)
            except TimeoutError:
                events.append("outer")
            assert events == ["inner"]

        async def test_what_comes_soon_is_taken():
            queue = asyncio.Queue()
            taking = asyncio.create_task(take(queue, 3))
            await asyncio.sleep(0.01)
            queue.put_nowait("here")
            assert await taking == "here"

        async def test_what_somebody_brings_soon_is_taken():
            queue = asyncio.Queue()

            async def bring():
                await asyncio.sleep(0.01)
                queue.put_nowait("here")

            assert await asyncio.gather(take(queue, 3), bring()) == ["here", None]
        """,
    )

    result.assert_outcomes(passed=5)


def test_a_deadline_far_off_is_not_reached_where_orders_are_odd_either(explore: Any) -> None:
    result = explore(
        """
        class Batch:
            def __init__(self):
                self.sent, self.items, self.sending = [], [], []

            async def add(self, item):
                done = asyncio.Event()
                self.items.append((item, done))
                if len(self.items) == 1:
                    asyncio.get_running_loop().call_later(0.5, self.flush)
                await done.wait()

            def flush(self):
                self.sending.append(asyncio.create_task(self.send()))

            async def send(self):
                items, self.items = self.items, []
                self.sent.append([item for item, _ in items])
                await asyncio.sleep(0.01)
                for _, done in items:
                    done.set()

        async def test_what_comes_soon_goes_along():
            batch = Batch()
            first = asyncio.create_task(batch.add("a"))
            await asyncio.sleep(0.1)
            assert batch.sent == []
            second = asyncio.create_task(batch.add("b"))
            await asyncio.gather(first, second)
            assert batch.sent == [["a", "b"]]
        """,
    )

    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*order-only*")


def test_a_deadline_near_the_tests_own_sleep_is_reached_with_it(explore: Any) -> None:
    result = explore(
        """
        async def test_a_task_is_taken_in_time():
            queue = asyncio.Queue()

            async def take():
                try:
                    async with asyncio.timeout(0.3):
                        return await queue.get()
                except TimeoutError:
                    return None

            taking = asyncio.create_task(take())
            await asyncio.sleep(0.2)
            queue.put_nowait("here")
            assert await taking == "here"
        """,
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["Fails if the timeout of 0.3 s (test_it.py:*) fires in the same loop iteration in which*"]
    )


def test_no_reply_is_so_late_that_a_client_gives_up_which_waits_for_five_seconds(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        client="""
        import asyncio

        import httpx

        async def ask(url):
            async with httpx.AsyncClient() as client:  # its timeouts are 5 s
                for _ in range(3):
                    try:
                        reply = await client.get(url)
                        return reply.text
                    except httpx.TransportError:
                        await asyncio.sleep(0.1)
        """,
        test_it="""
        import asyncio

        from client import ask

        async def test_one_request_is_enough():
            heads = []

            async def answer(reader, writer):
                heads.append(await reader.readuntil(b"\\r\\n\\r\\n"))
                writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\nConnection: close\\r\\n\\r\\nhello")
                writer.close()

            server = await asyncio.start_server(answer, "127.0.0.1")
            text = await ask("http://127.0.0.1:%d/" % server.sockets[0].getsockname()[1])
            server.close()
            assert (text, len(heads)) == ("hello", 1)
        """,
    )

    options = ["--interleave-runs=100", "--interleave-time=60", "--interleave-seed=1", "-o", "asyncio_mode=auto"]
    result = run_forked(pytester, "--interleave", *options)

    result.assert_outcomes(passed=1)


def test_a_deadline_twice_as_far_as_the_sleep_has_come_is_reached(explore: Any) -> None:
    result = explore(
        """
        async def test_a_task_is_taken_in_time():
            queue = asyncio.Queue()

            async def take():
                try:
                    async with asyncio.timeout(0.1):
                        return await queue.get()
                except TimeoutError:
                    return None

            await asyncio.sleep(0.2)
            taking = asyncio.create_task(take())
            await asyncio.sleep(0.05)
            queue.put_nowait("here")
            assert await taking == "here"
        """,
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["Fails if the timeout of 0.1 s (test_it.py:*) fires in the same loop iteration*"])


def test_who_looks_again_and_again_sees_the_answer_of_a_thread_in_the_end(explore: Any) -> None:
    result = explore(
        """
        async def test_start_up_is_waited_for():
            state = {"started": False}

            async def serve():
                await asyncio.to_thread(int)
                state["started"] = True

            serving = asyncio.create_task(serve())
            for _ in range(100):
                if state["started"]:
                    break
                await asyncio.sleep(0.05)
            assert state["started"]
            await serving
        """,
    )

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["1 explored in * runs*"])


def test_ticks_of_a_server_do_not_hold_a_request_back_until_its_connection_was_idle_too_long(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        service="""
        import asyncio

        class Server:
            async def serve(self, connected):
                server = await asyncio.start_server(self.answer, "127.0.0.1")
                connected.set_result(server.sockets[0].getsockname())
                self.is_closing = False
                while not self.is_closing:
                    await asyncio.sleep(0.1)
                server.close()

            async def answer(self, reader, writer):
                loop = asyncio.get_running_loop()
                while line := await reader.readline():
                    writer.write(line)
                    idle = loop.call_later(5, writer.close)
                    line = await reader.readline()
                    idle.cancel()
                    writer.write(line)
                writer.close()
        """,
        test_it="""
        import asyncio

        from service import Server

        async def test_two_requests():
            server = Server()
            connected = asyncio.get_running_loop().create_future()
            serving = asyncio.create_task(server.serve(connected))
            reader, writer = await asyncio.open_connection(*await connected)
            for line in (b"one\\n", b"two\\n"):
                writer.write(line)
                assert await reader.readline() == line
            writer.close()
            server.is_closing = True
            await serving
        """,
    )

    result = pytester.runpytest("--interleave", "--interleave-time=60", "-o", "asyncio_mode=auto")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["1 explored in 200 runs*"])


def test_a_timer_without_a_delay_fires_in_the_next_turn(explore: Any) -> None:
    result = explore(
        """
        async def test_what_is_called_later_by_nothing():
            called = []

            async def call():
                await asyncio.sleep(0)
                asyncio.get_running_loop().call_later(0, called.append, "here")

            await asyncio.gather(call(), asyncio.to_thread(int))
            await asyncio.gather(call())
            await asyncio.sleep(0)
            assert called == ["here", "here"]
        """,
        "--interleave-order-only=off",
    )

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["1 explored in * runs*"])


def test_turns_alone_do_not_use_up_a_second_that_the_test_gives_them(explore: Any) -> None:
    result = explore(
        """
        async def test_a_stream_stops_by_itself():
            chunks, gone = [], asyncio.Event()

            async def stream():
                while not gone.is_set():
                    await asyncio.sleep(0)
                    chunks.append(b"chunk")
                    if len(chunks) == 3:
                        gone.set()

            is_over = []
            limit = asyncio.get_running_loop().call_later(1, is_over.append, True)
            await asyncio.create_task(stream())
            limit.cancel()
            assert not is_over
        """,
    )

    result.assert_outcomes(passed=1)


def test_a_task_of_anyios_that_sleeps_is_cancelled_before_it_ends(explore: Any) -> None:
    result = explore(
        """
        import anyio

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        def spawn(how, group, function, *arguments):
            if how == "asyncio":
                group.create_task(function(*arguments))
            else:
                group.start_soon(function, *arguments)

        @pytest.mark.parametrize("how", ["asyncio", "anyio"])
        async def test_a_failure_ends_what_is_beside_it(anyio_backend, how):
            is_done = False

            async def work(seconds):
                nonlocal is_done
                await asyncio.sleep(seconds)
                is_done = True

            async def fail():
                await asyncio.sleep(0)
                raise ConnectionError

            with pytest.raises(ExceptionGroup):
                async with asyncio.TaskGroup() if how == "asyncio" else anyio.create_task_group() as group:
                    spawn(how, group, work, 1)
                    await asyncio.sleep(0)
                    spawn(how, group, fail)
            assert not is_done

        async def test_the_scope_ends_what_has_just_begun(anyio_backend):
            is_done = False

            async def work():
                nonlocal is_done
                await anyio.sleep(2)
                is_done = True

            async with anyio.create_task_group() as group:
                group.start_soon(work)
                await anyio.sleep(0.1)
                group.cancel_scope.cancel()
            assert not is_done
        """,
        "--anyio-mode=auto",
        "--interleave-order-only=off",
    )

    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*3 had nothing to explore*"])


def test_who_looks_again_and_again_without_a_pause_sees_what_has_come(explore: Any) -> None:
    result = explore(
        """
        import socket

        async def test_the_server_greets():
            async def greet(reader, writer):
                writer.write(b"hello")
                await writer.drain()
                writer.close()
                await writer.wait_closed()

            server = await asyncio.start_server(greet, "127.0.0.1", 0)
            with socket.socket() as client:
                client.connect(server.sockets[0].getsockname())
                client.setblocking(False)
                received = None
                async with asyncio.timeout(20):
                    while received is None:
                        try:
                            received = client.recv(10)
                        except BlockingIOError:
                            await asyncio.sleep(0)
            server.close()
            assert received == b"hello"
            assert asyncio.get_running_loop().time() < 1
        """,
        "--interleave-runs=20",
    )

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["1 explored in 20 runs*"])


SCRAPER = """
    import asyncio

    async def fetch(address):
        async with asyncio.timeout({seconds}):
            reader, writer = await asyncio.open_connection(*address)
            try:
                return (await reader.read()).decode()
            finally:
                writer.close()

    async def scrape(address, pages):
        for attempt in range(3):
            try:
                pages.append(await fetch(address))
                return
            except TimeoutError:
                await asyncio.sleep(0.05)
"""


@pytest.mark.parametrize(("seconds", "answer", "fails"), [(2, 0.01, False), (2, 0.2, True), (0.5, 0.01, True)])
def test_a_guard_of_a_second_is_left_alone_where_answers_take_a_small_part_of_it(
    explore: Any, pytester: pytest.Pytester, seconds: float, answer: float, fails: bool
) -> None:
    pytester.makepyfile(scraper=SCRAPER.format(seconds=seconds))

    result = explore(
        f"""
        from scraper import scrape

        async def test_pages():
            asked = []

            async def page(reader, writer):
                asked.append(1)
                await asyncio.sleep({answer})
                writer.write(b"page")
                writer.close()

            pages = []
            async with await asyncio.start_server(page, "127.0.0.1", 0) as server:
                address = server.sockets[0].getsockname()
                await asyncio.gather(scrape(address, pages), scrape(address, pages))
            assert pages == ["page"] * 2
            assert len(asked) == 2
        """,
        "--interleave-seed=1",
        "--interleave-runs=100",
    )

    result.assert_outcomes(passed=not fails, failed=fails)


@pytest.mark.parametrize(("given", "fails"), [("", False), ("timeout=1", True)])
def test_a_timeout_that_the_test_gives_is_passed_whoever_sets_it(
    explore: Any, pytester: pytest.Pytester, given: str, *, fails: bool
) -> None:
    pytester.makepyfile(
        mail="""
        import asyncio

        class Mail:
            def __init__(self, timeout=1):
                self.lock, self.timeout = asyncio.Lock(), timeout

            async def connect(self, ask):
                await self.lock.acquire()
                await asyncio.wait_for(ask(), self.timeout)
                self.lock.release()
        """
    )

    result = explore(
        f"""
        from mail import Mail

        async def answer():
            await asyncio.sleep(0.01)

        async def test_mail():
            mail = Mail({given})
            for _ in range(2):
                try:
                    await mail.connect(answer)
                except TimeoutError:
                    pass
        """
    )

    result.assert_outcomes(passed=not fails, failed=fails)
    if fails:
        result.stdout.fnmatch_lines(["Deadlocks if *"])


def test_a_timeout_beside_a_sleep_that_ends_at_the_same_time_did_its_job(explore: Any) -> None:
    """A client of MQTT looks after its connection once a second, and its user waits a second for a reply."""
    result = explore(
        """
        from contextlib import suppress

        class Failed(Exception):
            pass

        async def look_after(replied):
            while not replied.is_set():
                await asyncio.sleep(1)

        async def serve(reader, writer):
            with suppress(ConnectionError):
                writer.write(await reader.readexactly(1))
            writer.close()

        @pytest.mark.asyncio
        async def test_a_reply():
            server = await asyncio.start_server(serve, "127.0.0.1")
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            replied = asyncio.Event()
            looking = asyncio.create_task(look_after(replied))
            await asyncio.sleep(0)
            writer.write(b"?")
            try:
                async with asyncio.timeout(1):
                    await reader.readexactly(1)
            except TimeoutError:
                raise Failed("Operation timed out")
            finally:
                replied.set()
                looking.cancel()
                writer.close()
                server.close()
        """
    )

    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("patient", [1, 4])
def test_who_looks_again_until_a_real_second_has_passed_is_not_said_to_hang(explore: Any, patient: int) -> None:
    result = explore(
        f"""
        import time

        PATIENT = {patient}
        """
        """
        runs = []

        async def until(seconds, condition):
            began = time.time()
            while not condition():
                if time.time() - began > seconds:
                    raise TimeoutError
                await asyncio.sleep(0.5)

        async def test_gives_up():
            await asyncio.gather(asyncio.sleep(0.01), asyncio.sleep(0.02))
            with pytest.raises(TimeoutError):
                runs.append(1)
                await until(0.6 if len(runs) >= PATIENT else -1, lambda: False)
        """,
        "--interleave-limit=60",  # to look so often takes much less of a real second
    )

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*: inconclusive, since it comes to no end in *"])


def test_who_looks_again_for_ever_hangs(explore: Any) -> None:
    result = explore(
        """
        async def test_waits():
            while True:
                await asyncio.sleep(1)
        """,
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["TimeLimit: Still waiting for something at virtual time 3600 s*"])


def test_who_takes_the_loops_time_for_the_monotonic_clock_is_not_said_to_fail(explore: Any) -> None:
    result = explore(
        """
        import time

        async def test_clocks():
            await asyncio.gather(asyncio.sleep(0.01), asyncio.sleep(0.02))
            assert abs(asyncio.get_running_loop().time() - time.monotonic()) < 5
        """,
    )

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*: inconclusive, since it fails with AssertionError * in virtual time only: *"])


def test_timers_may_be_fired_by_hand(explore: Any) -> None:
    result = explore(
        """
        def fire_all():
            for timer in list(asyncio.get_running_loop()._scheduled):
                if not timer.cancelled():
                    timer._run()
                    timer.cancel()

        async def test_fires():
            fired = []
            asyncio.get_running_loop().call_later(60, fired.append, 1)
            await asyncio.gather(asyncio.sleep(0.01), asyncio.sleep(0.02))
            fire_all()
            assert fired == [1]
            await asyncio.sleep(100)
            assert fired == [1]
        """,
    )

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["1 explored * (1 sampled)"])
