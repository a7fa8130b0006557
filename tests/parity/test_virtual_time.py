"""Time on the controlled loop: it jumps where it may, waits for what is outside, and every run ends."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time

import aiosqlite
import pytest
from connections import connected_to

from parity.loops import on_controlled
from pytest_interleave.errors import Blocked, StepLimit, TimeLimit
from pytest_interleave.exploration.execution import Limits
from pytest_interleave.loop.controlled import ControlledLoop
from pytest_interleave.schedule import Fifo

deciders = pytest.mark.parametrize("decider", [None, Fifo()], ids=["natural", "asked"])


class Calls:
    """Count how long real time was slept away."""

    def __init__(self, monkeypatch):
        self.slept = 0.0
        select = ControlledLoop._poll

        def poll(loop, timeout=0):
            self.slept += timeout or 0
            return select(loop, timeout)

        monkeypatch.setattr(ControlledLoop, "_poll", poll)


@pytest.fixture
def waits(monkeypatch):
    return Calls(monkeypatch)


@deciders
def test_sleeps_cost_no_real_time(decider, waits):
    async def program():
        loop = asyncio.get_running_loop()
        start = loop.time()
        await asyncio.sleep(3000)
        first = loop.time() - start
        await asyncio.gather(*(asyncio.sleep(seconds) for seconds in (30, 10, 20)))
        return first, loop.time() - start

    assert on_controlled(program, decider) == (3000, 3030)
    assert waits.slept == 0


@deciders
def test_time_stands_while_work_is_ready(decider):
    async def program():
        loop = asyncio.get_running_loop()
        start = loop.time()
        for _ in range(500):
            await asyncio.sleep(0)
        time.sleep(0.01)
        return loop.time() - start

    assert on_controlled(program, decider) == 0


@deciders
def test_time_moves_on_for_a_timer_that_is_set_again_until_its_time_is_over(decider):
    async def program():
        loop = asyncio.get_running_loop()
        over = loop.create_future()
        deadline = loop.time() + 1

        def look():  # as aiohttp 3.11 does for idle connections
            if loop.time() <= deadline:
                loop.call_at(deadline, look)
            else:
                over.set_result(loop.time() - deadline)

        loop.call_at(deadline, look)
        return await over

    assert on_controlled(program, decider) == pytest.approx(0, abs=1e-6)


@deciders
def test_timeouts_expire_at_their_deadline(decider):
    async def program():
        loop = asyncio.get_running_loop()
        start = loop.time()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 7.5)
        return loop.time() - start

    assert on_controlled(program, decider) == 7.5


@deciders
def test_timers_of_equal_deadline_fire_in_the_order_of_their_creation(decider):
    async def program():
        log = []
        for number in range(20):
            asyncio.get_running_loop().call_at(1.0, log.append, number)
        await asyncio.sleep(2)
        return log

    assert on_controlled(program, decider) == list(range(20))


@deciders
def test_sleeps_cost_no_real_time_although_a_server_listens_and_connections_are_open(decider, waits):
    async def program():
        loop = asyncio.get_running_loop()
        start = loop.time()

        async def serve(reader, writer):
            while line := await reader.readline():
                await asyncio.sleep(10)
                writer.write(line)
            writer.close()

        async with await asyncio.start_server(serve, "localhost", 0) as server:
            reader, writer = await asyncio.open_connection("localhost", server.sockets[0].getsockname()[1])
            for _ in range(3):
                writer.write(b"line\n")
                await reader.readline()
            writer.close()
            await writer.wait_closed()
        return loop.time() - start

    assert on_controlled(program, decider) == 30
    assert waits.slept == 0


@deciders
def test_sleeps_cost_no_real_time_although_threads_wait_for_work(decider, waits):
    async def program():
        await asyncio.gather(*(asyncio.to_thread(time.sleep, 0.001) for _ in range(3)))
        async with aiosqlite.connect(":memory:"):
            start = asyncio.get_running_loop().time()
            await asyncio.sleep(100)
            return asyncio.get_running_loop().time() - start

    assert on_controlled(program, decider) == 100
    assert waits.slept == 0


@deciders
def test_a_pipe_within_this_process_costs_no_real_time(decider, waits):
    async def program():
        reading, writing = os.pipe()
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader),
            open(reading, "rb"),  # noqa: SIM115 - the transport closes it
        )
        start = asyncio.get_running_loop().time()
        asyncio.get_running_loop().call_later(50, os.write, writing, b"x\n")
        line = await reader.readline()
        transport.close()
        os.close(writing)
        return line, asyncio.get_running_loop().time() - start

    assert on_controlled(program, decider) == (b"x\n", 50)
    assert waits.slept == 0


@deciders
def test_time_does_not_jump_over_the_answer_of_a_job(decider):
    async def program():
        start = asyncio.get_running_loop().time()
        answer = await asyncio.wait_for(asyncio.to_thread(lambda: time.sleep(0.1) or "answer"), 5)
        return answer, asyncio.get_running_loop().time() - start

    assert on_controlled(program, decider) == ("answer", 0)


@deciders
def test_time_does_not_jump_over_the_answer_of_a_plain_thread(decider):
    async def program():
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        thread = threading.Thread(
            target=lambda: (time.sleep(0.1), loop.call_soon_threadsafe(future.set_result, "answer"))
        )
        thread.start()
        answer = await asyncio.wait_for(future, 5)
        thread.join()
        return answer, loop.time()

    assert on_controlled(program, decider) == ("answer", 0)


@deciders
def test_time_does_not_jump_over_the_answers_of_aiosqlite(decider):
    async def program():
        async def query():
            async with aiosqlite.connect(":memory:") as database:
                # Some milliseconds of work in the thread.
                numbers = "with recursive t(n) as (select 1 union all select n + 1 from t where n < 20000)"
                sql = f"{numbers} select sum(n) from t"
                async with database.execute(sql) as cursor:
                    return await cursor.fetchone()

        answers = [await asyncio.wait_for(query(), 5) for _ in range(20)]
        return set(answers), asyncio.get_running_loop().time()

    assert on_controlled(program, decider) == ({(200_010_000,)}, 0)


@deciders
def test_a_poller_does_not_outrun_a_thread(decider):
    async def program():
        loop = asyncio.get_running_loop()
        job = asyncio.create_task(asyncio.to_thread(time.sleep, 0.1))
        start = loop.time()
        while not job.done():
            await asyncio.sleep(0)
        return loop.time() - start < 1

    assert on_controlled(program, decider)


@deciders
def test_a_job_that_waits_for_the_loop_does_not_hold_time_up(decider, waits):
    async def program():
        loop = asyncio.get_running_loop()

        async def slow():
            await asyncio.sleep(1000)
            return loop.time()

        return await asyncio.to_thread(lambda: asyncio.run_coroutine_threadsafe(slow(), loop).result())

    assert on_controlled(program, decider) == 1000
    assert waits.slept == 0


@deciders
def test_jobs_that_queue_for_a_worker_that_waits_for_the_loop_do_not_hold_time_up(decider, waits):
    from concurrent.futures import ThreadPoolExecutor

    async def program():
        loop = asyncio.get_running_loop()

        async def slow():
            await asyncio.sleep(1000)

        with ThreadPoolExecutor(1) as pool:
            first = loop.run_in_executor(pool, lambda: asyncio.run_coroutine_threadsafe(slow(), loop).result())
            second = loop.run_in_executor(pool, len, "four")
            await first
            return await second, loop.time()

    assert on_controlled(program, decider) == (4, 1000)
    assert waits.slept == 0


@deciders
def test_an_abandoned_job_does_not_hold_time_up(decider, waits):
    from concurrent.futures import ThreadPoolExecutor

    async def program():
        loop = asyncio.get_running_loop()
        gate = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            running = loop.run_in_executor(pool, gate.wait)
            queued = loop.run_in_executor(pool, gate.wait)
            queued.cancel()
            await asyncio.sleep(100)
            gate.set()
            return await running, queued.cancelled(), loop.time()

    assert on_controlled(program, decider) == (True, True, 100)
    assert waits.slept == 0


# -- deadlocks -------------------------------------------------------------------------------------------------------


@deciders
def test_a_deadlock_is_seen_at_once_although_a_server_listens(decider, waits):
    async def program():
        async def serve(reader, writer):
            try:
                await asyncio.Event().wait()
            finally:
                writer.close()

        async with connected_to(serve) as (reader, _):
            await reader.read()

    with pytest.raises(Blocked):
        on_controlled(program, decider)
    assert waits.slept == 0


@deciders
def test_a_deadlock_is_seen_at_once_although_threads_wait_for_work(decider, waits):
    async def program():
        await asyncio.to_thread(len, ())
        async with aiosqlite.connect(":memory:"):
            lock = asyncio.Lock()
            async with lock, lock:
                pass

    with pytest.raises(Blocked):
        on_controlled(program, decider)
    assert waits.slept == 0


@deciders
def test_a_deadlock_over_a_unix_socket_is_seen_at_once(decider, waits):
    async def program():
        mine, yours = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=mine)
        try:
            await reader.read()
        finally:
            writer.close()
            yours.close()

    with pytest.raises(Blocked):
        on_controlled(program, decider)
    assert waits.slept == 0


@deciders
def test_a_timer_that_never_fires_saves_nobody(decider):
    async def program():
        asyncio.get_running_loop().call_later(float("inf"), print)
        await asyncio.Event().wait()

    with pytest.raises(Blocked):
        on_controlled(program, decider)


@deciders
def test_a_child_that_lived_before_the_run_is_not_waited_for(decider, waits):
    async def program():
        async with await asyncio.start_server(print, "127.0.0.1", 0):
            await asyncio.Event().wait()

    child = subprocess.Popen(["sleep", "100"])
    try:
        with pytest.raises(Blocked):
            on_controlled(program, decider)
    finally:
        child.kill()
        child.wait()
    assert waits.slept == 0


@deciders
def test_a_process_that_never_answers_ends_with_the_real_deadline(decider):
    async def program():
        process = await asyncio.create_subprocess_exec("sleep", "100")
        try:
            await process.wait()
        finally:
            process.kill()
            await process.wait()

    with pytest.raises(TimeLimit) as caught:
        on_controlled(program, decider, Limits(real_seconds=0.2))
    assert caught.value.is_real


@deciders
def test_a_connection_to_another_process_is_no_deadlock(decider):
    script = (
        "import socket, time\n"
        "with socket.create_server(('127.0.0.1', 0)) as server:\n"
        "    print(server.getsockname()[1], flush=True)\n"
        "    connection, _ = server.accept()\n"
        "    time.sleep(0.1)\n"
        "    connection.sendall(b'hello')\n"
    )
    with subprocess.Popen([sys.executable, "-Ic", script], stdout=subprocess.PIPE) as process:
        port = int(process.stdout.readline())

        async def program():
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            answer = await asyncio.wait_for(reader.read(), 30)
            writer.close()
            return answer

        assert on_controlled(program, decider) == b"hello"


# -- runs that do not end by themselves ------------------------------------------------------------------------------


@deciders
def test_a_livelock_ends_with_the_step_limit(decider):
    async def program():
        while True:
            await asyncio.sleep(0)

    with pytest.raises(StepLimit):
        on_controlled(program, decider, Limits(steps=5_000))


@deciders
def test_a_livelock_over_a_socket_ends_with_the_step_limit(decider):
    async def program():
        mine, yours = socket.socketpair()
        with mine, yours:
            mine.setblocking(False)
            yours.setblocking(False)

            async def echo(sock):
                while True:
                    await loop.sock_sendall(sock, await loop.sock_recv(sock, 1))

            loop = asyncio.get_running_loop()
            mine.send(b"x")
            async with asyncio.TaskGroup() as group:
                group.create_task(echo(mine))
                group.create_task(echo(yours))

    with pytest.raises(StepLimit):
        on_controlled(program, decider, Limits(steps=5_000))


@deciders
def test_who_polls_the_clock_sees_it_move(decider):
    async def program():
        loop = asyncio.get_running_loop()
        start = loop.time()
        fired = []
        loop.call_later(0.5, fired.append, "fired")
        while loop.time() < start + 1:
            await asyncio.sleep(0)
        return fired, 1 <= loop.time() - start < 1.1

    assert on_controlled(program, decider) == (["fired"], True)


@deciders
def test_endless_heartbeats_end_with_the_virtual_deadline(decider):
    async def program():
        while True:
            await asyncio.sleep(60)

    with pytest.raises(TimeLimit) as caught:
        on_controlled(program, decider)
    assert not caught.value.is_real


@deciders
def test_a_task_that_swallows_cancellation_does_not_hang_the_clean_up(decider):
    async def stubborn():
        while True:
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                pass

    async def spinning():
        while True:
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                pass

    async def program():
        program.tasks = [asyncio.create_task(stubborn()), asyncio.create_task(spinning())]
        await asyncio.sleep(0)
        return "ended"

    assert on_controlled(program, decider) == "ended"


def test_a_loop_is_as_good_as_new_after_a_run_that_did_not_end():
    loop = ControlledLoop()

    async def bad():
        bad.task = asyncio.create_task(asyncio.Event().wait())
        await asyncio.Event().wait()

    async def good():
        start = loop.time()
        await asyncio.gather(asyncio.sleep(1), asyncio.to_thread(len, ()))
        return start, loop.time(), len(asyncio.all_tasks())

    try:
        for _ in range(3):
            loop.begin(None, script=bad.__code__, stretch=True, limits=Limits())
            with pytest.raises(Blocked):
                loop.run_until_complete(bad())
            loop.clear(10_000)
            loop.begin(None, script=good.__code__, stretch=True, limits=Limits())

            assert loop.run_until_complete(good()) == (0, 1, 1)

            loop.clear(10_000)
    finally:
        loop.finish()


def test_a_livelock_names_who_runs_in_turns():
    async def waits_busily(flag):
        while not flag:
            await asyncio.sleep(0)

    async def program():
        flag = []
        await asyncio.gather(waits_busily(flag), waits_busily(flag))

    with pytest.raises(StepLimit, match=r"^Livelock: still running .* but steps of waits_busily, waits_busily$"):
        on_controlled(program, None, Limits(steps=5_000))


def test_what_is_only_long_is_no_livelock():
    async def give_way():
        await asyncio.sleep(0)

    async def program():
        for _ in range(10_000):
            await asyncio.create_task(give_way())

    with pytest.raises(StepLimit) as caught:
        on_controlled(program, None, Limits(steps=5_000))
    assert not caught.value.repeats
