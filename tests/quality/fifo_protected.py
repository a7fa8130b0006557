"""Correct programs that an exploring tool might fail all the same: each failure would be a false alarm.

The first eight are correct only because of what asyncio promises about order. The other twenty are what people write in
tests: scripts made of sleeps, timeouts that do their job, real sockets, threads, processes and clean-up.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import AsyncIterator
from contextvars import ContextVar

from quality.kernels import Program
from quality.outside import remote

# -- Protected by order: asyncio never does otherwise -----------------------------------------------------------------


async def callbacks_run_in_order() -> None:
    """``call_soon`` is first in, first out."""
    ran: list[int] = []
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    for number in range(3):
        loop.call_soon(ran.append, number)
    loop.call_soon(done.set)
    await done.wait()

    assert ran == [0, 1, 2]


async def done_callbacks_run_in_order() -> None:
    """The callbacks of one future run in the order in which they were added."""
    ran: list[int] = []
    future = asyncio.get_running_loop().create_future()
    for number in range(3):
        future.add_done_callback(lambda _, number=number: ran.append(number))
    future.set_result(None)
    await future
    await asyncio.sleep(0)

    assert ran == [0, 1, 2]


async def tasks_start_in_order() -> None:
    """Tasks take their first steps in the order of their creation."""
    started: list[int] = []

    async def work(number: int) -> None:
        started.append(number)

    tasks = [asyncio.create_task(work(number)) for number in range(3)]
    for task in tasks:
        await task

    assert started == [0, 1, 2]


async def locks_are_fair() -> None:
    """Who asked first for a lock or a semaphore gets it first."""
    order: list[tuple[str, int]] = []
    lock, semaphore = asyncio.Lock(), asyncio.Semaphore(1)

    async def work(number: int) -> None:
        async with lock:
            order.append(("lock", number))
            await asyncio.sleep(0)
        async with semaphore:
            order.append(("semaphore", number))
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(work(number)) for number in range(3)]
    for task in tasks:
        await task

    assert [number for kind, number in order if kind == "lock"] == [0, 1, 2]
    assert [number for kind, number in order if kind == "semaphore"] == [0, 1, 2]


async def queues_are_fair() -> None:
    """Items come out in the order they went in, and to the getters in the order in which they asked."""
    queue: asyncio.Queue[int] = asyncio.Queue()
    got: list[tuple[int, int]] = []

    async def get(number: int) -> None:
        got.append((number, await queue.get()))

    tasks = [asyncio.create_task(get(number)) for number in range(3)]
    await asyncio.sleep(0)
    for item in range(3):
        queue.put_nowait(item)
    for task in tasks:
        await task

    assert got == [(0, 0), (1, 1), (2, 2)]


async def waiters_wake_in_order() -> None:
    """An event and a condition wake who waits in the order in which they came."""
    woken: list[tuple[str, int]] = []
    event, condition = asyncio.Event(), asyncio.Condition()

    async def work(number: int) -> None:
        await event.wait()
        woken.append(("event", number))
        async with condition:
            await condition.wait()
            woken.append(("condition", number))

    tasks = [asyncio.create_task(work(number)) for number in range(3)]
    await asyncio.sleep(0)
    event.set()
    while len(woken) < 3:
        await asyncio.sleep(0)
    async with condition:
        condition.notify_all()
    for task in tasks:
        await task

    assert woken == [(kind, number) for kind in ("event", "condition") for number in range(3)]


async def equal_sleeps_end_in_order() -> None:
    """Sleeps of equal length in the test's own tasks end in the order in which they were begun."""
    woken: list[int] = []

    async def work(number: int) -> None:
        await asyncio.sleep(0.01)
        woken.append(number)

    tasks = [asyncio.create_task(work(number)) for number in range(3)]
    for task in tasks:
        await task

    assert woken == [0, 1, 2]


async def ping_pong() -> None:
    """Two tasks that each yield once take turns."""
    turns: list[str] = []

    async def play(name: str) -> None:
        for _ in range(3):
            turns.append(name)
            await asyncio.sleep(0)

    ping, pong = asyncio.create_task(play("ping")), asyncio.create_task(play("pong"))
    await ping
    await pong

    assert turns == ["ping", "pong"] * 3


# -- What people write -------------------------------------------------------------------------------------------------


async def timeout_does_its_job() -> None:
    """Nobody sets the event: the timeout strikes, and the test expects it."""
    struck = False
    try:
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()
    except TimeoutError:
        struck = True

    assert struck


async def slow_reply_times_out() -> None:
    """A time limit around a reply: if the reply is late, TimeoutError is the right answer."""

    async def ask() -> str:
        await remote("question")
        return "answer"

    assert await asyncio.wait_for(ask(), timeout=1) == "answer"


async def wait_is_a_script() -> None:
    """``wait(…, timeout)`` shows that a task is blocked; then it is let go."""
    gate = asyncio.Event()
    task = asyncio.create_task(gate.wait())
    done, pending = await asyncio.wait({task}, timeout=0.01)

    assert not done
    assert pending == {task}

    gate.set()
    done, pending = await asyncio.wait({task}, timeout=0.1)

    assert done == {task}
    assert not pending


async def by_now_both_wait() -> None:
    """The test sleeps until both tasks wait, then cancels one of them."""
    lock = asyncio.Lock()
    entered: list[str] = []

    async def enter(name: str) -> None:
        await asyncio.sleep(0)
        async with lock:
            entered.append(name)

    async with lock:
        first, second = asyncio.create_task(enter("first")), asyncio.create_task(enter("second"))
        await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.sleep(0.01)

        assert first.cancelled()
        assert not entered

    await second

    assert entered == ["second"]


async def one_turn_starts_a_task() -> None:
    """``sleep(0)`` lets a task in the background begin."""
    started = False

    async def background() -> None:
        nonlocal started
        started = True
        await asyncio.Event().wait()

    task = asyncio.create_task(background())
    await asyncio.sleep(0)

    assert started

    task.cancel()


async def gather_keeps_the_order() -> None:
    """Results come in the order of the arguments, whoever ends first."""

    async def ask(number: int) -> int:
        for step in range(3 - number):
            await remote(f"question {number}.{step}")
        return number

    assert await asyncio.gather(*(ask(number) for number in range(3))) == [0, 1, 2]


async def bytes_keep_their_order() -> None:
    """A stream over a real socket delivers what was written, in order, in whatever pieces."""
    sent = [bytes([65 + number]) * 1000 for number in range(5)]

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for chunk in sent:
            writer.write(chunk)
            await writer.drain()
            await remote("next chunk")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        received = await reader.read(-1)
        writer.close()
        await writer.wait_closed()

    assert received == b"".join(sent)


async def echo_server() -> None:
    """Two clients of one server each get their own lines back; then the server closes."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            await remote("look up")
            writer.write(line)
            await writer.drain()
        writer.close()

    async def talk(address: tuple[str, int], name: str) -> list[bytes]:
        reader, writer = await asyncio.open_connection(*address)
        replies = []
        for number in range(3):
            writer.write(f"{name} {number}\n".encode())
            replies.append(await reader.readline())
        writer.close()
        await writer.wait_closed()
        return replies

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    replies = await asyncio.gather(talk(address, "first"), talk(address, "second"))
    server.close()
    await server.wait_closed()

    assert replies == [[f"{name} {number}\n".encode() for number in range(3)] for name in ("first", "second")]


async def threads_give_results() -> None:
    """Each ``to_thread`` gives the result of its own function."""
    results = await asyncio.gather(*(asyncio.to_thread(pow, number, 2) for number in range(3)))

    assert results == [0, 1, 4]


async def join_means_done() -> None:
    """``join`` returns when each item has been dealt with, however late."""
    queue: asyncio.Queue[int] = asyncio.Queue()
    stored: list[int] = []

    async def work() -> None:
        while True:
            item = await queue.get()
            await remote(f"store {item}")
            stored.append(item)
            queue.task_done()

    workers = [asyncio.create_task(work()) for _ in range(2)]
    for item in range(5):
        queue.put_nowait(item)
    await queue.join()
    for worker in workers:
        worker.cancel()

    assert sorted(stored) == [0, 1, 2, 3, 4]


async def siblings_are_cancelled() -> None:
    """One task of a group fails: the others are cancelled, clean up, and the failure comes out."""
    cleaned: list[int] = []

    async def work(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await remote(f"clean up {number}")
            cleaned.append(number)

    async def fail() -> None:
        await remote("work")
        raise ValueError("no such thing")

    failures: list[Exception] = []
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(2):
                group.create_task(work(number))
            group.create_task(fail())
    except* ValueError as caught:
        failures.extend(caught.exceptions)

    assert len(failures) == 1
    assert sorted(cleaned) == [0, 1]


async def shielded_work_is_done() -> None:
    """The caller is cancelled, and what it shielded ends all the same."""
    saved = False

    async def save() -> None:
        nonlocal saved
        await remote("save")
        saved = True

    saving = asyncio.create_task(save())

    async def call() -> None:
        await asyncio.shield(saving)

    caller = asyncio.create_task(call())
    await asyncio.sleep(0)
    caller.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await caller
    await saving

    assert saved


async def shorter_sleep_ends_first() -> None:
    """``FIRST_COMPLETED`` of two sleeps that the test itself sets: the short one."""
    short, long = asyncio.create_task(asyncio.sleep(0.01, "short")), asyncio.create_task(asyncio.sleep(0.5, "long"))
    done, pending = await asyncio.wait({short, long}, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()

    assert [task.result() for task in done] == ["short"]


async def process_answers() -> None:
    """A child process gets its input and gives its output."""
    child = await asyncio.create_subprocess_exec(
        "cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    output, _ = await child.communicate(b"hello")

    assert output == b"hello"
    assert child.returncode == 0


async def thread_calls_back_in_order() -> None:
    """What one thread calls with ``call_soon_threadsafe`` runs in the thread's order."""
    loop = asyncio.get_running_loop()
    ran: list[int] = []
    done = asyncio.Event()

    def work() -> None:
        for number in range(3):
            loop.call_soon_threadsafe(ran.append, number)
        loop.call_soon_threadsafe(done.set)

    thread = threading.Thread(target=work)
    thread.start()
    await done.wait()
    thread.join()

    assert ran == [0, 1, 2]


async def cleanup_takes_its_time() -> None:
    """A cancelled task sleeps in its clean-up, and who awaits it sees it done."""
    is_closed = False

    async def work() -> None:
        nonlocal is_closed
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            is_closed = True

    task = asyncio.create_task(work())
    await asyncio.sleep(0.01)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task

    assert is_closed


async def generator_is_closed() -> None:
    """An async generator that is left early runs its clean-up in ``aclose``."""
    is_closed = False

    async def rows() -> AsyncIterator[int]:
        nonlocal is_closed
        try:
            for number in range(3):
                await remote(f"row {number}")
                yield number
        finally:
            await remote("close cursor")
            is_closed = True

    seen = []
    async with contextlib.aclosing(rows()) as cursor:
        async for row in cursor:
            seen.append(row)
            break

    assert seen == [0]
    assert is_closed


async def signal_arrives() -> None:
    """A signal that the process sends to itself comes to its handler."""
    loop = asyncio.get_running_loop()
    received = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, received.set)
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        await received.wait()
    finally:
        loop.remove_signal_handler(signal.SIGUSR1)


_request: ContextVar[str] = ContextVar("request", default="none")


async def contexts_are_apart() -> None:
    """Each task sees its own context variables, in threads and callbacks too."""
    seen: dict[str, list[str]] = {}

    async def handle(name: str) -> None:
        _request.set(name)
        await remote(f"{name}: read")
        seen[name] = [_request.get(), await asyncio.to_thread(_request.get)]

    await asyncio.gather(handle("first"), handle("second"))

    assert seen == {name: [name, name] for name in ("first", "second")}
    assert _request.get() == "none"


async def ticks_are_a_script() -> None:
    """The test's own ticker ticks twice and more while the test sleeps for five of its periods."""
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.02)
            ticks += 1

    ticker = asyncio.create_task(tick())
    await asyncio.sleep(0.1)
    ticker.cancel()

    assert ticks >= 2


PROTECTED_BY_ORDER: tuple[Program, ...] = (
    callbacks_run_in_order,
    done_callbacks_run_in_order,
    tasks_start_in_order,
    locks_are_fair,
    queues_are_fair,
    waiters_wake_in_order,
    equal_sleeps_end_in_order,
    ping_pong,
)

EVERYDAY: tuple[Program, ...] = (
    timeout_does_its_job,
    slow_reply_times_out,
    wait_is_a_script,
    by_now_both_wait,
    one_turn_starts_a_task,
    gather_keeps_the_order,
    bytes_keep_their_order,
    echo_server,
    threads_give_results,
    join_means_done,
    siblings_are_cancelled,
    shielded_work_is_done,
    shorter_sleep_ends_first,
    process_answers,
    thread_calls_back_in_order,
    cleanup_takes_its_time,
    generator_is_closed,
    signal_arrives,
    contexts_are_apart,
    ticks_are_a_script,
)

CORRECT: tuple[Program, ...] = PROTECTED_BY_ORDER + EVERYDAY
