"""The loop's own calls: the same on asyncio's own loop and on the controlled one."""

import asyncio
import contextvars
import logging
import os
import signal
import time

import pytest

from parity.loops import on_asyncio, on_controlled, parity


@parity
async def test_call_soon_is_first_in_first_out():
    loop = asyncio.get_running_loop()
    log = []

    def callback(name, more=()):
        log.append(name)
        for other in more:
            loop.call_soon(callback, other)

    loop.call_soon(callback, "a", ("d", "e"))
    loop.call_soon(callback, "b")
    loop.call_soon_threadsafe(callback, "c", ("f",))
    loop.call_soon(callback, "cancelled").cancel()
    for _ in range(3):
        await asyncio.sleep(0)
        log.append("turn")
    return log


@parity
async def test_timers_fire_by_deadline():
    loop = asyncio.get_running_loop()
    log, start = [], loop.time()
    for delay in (0.03, 0.01, 0.02):
        loop.call_later(delay, log.append, delay)
        loop.call_at(start + delay + 0.005, log.append, -delay)
    cancelled = loop.call_later(0.015, log.append, "cancelled")
    cancelled.cancel()
    await asyncio.sleep(0.06)
    return log, cancelled.cancelled(), loop.time() - start >= 0.06


@parity
async def test_a_timer_that_is_due_fires_in_the_next_turn_although_work_is_ready():
    loop = asyncio.get_running_loop()
    log = []
    loop.call_later(0, log.append, "now")
    loop.call_at(loop.time() - 1, log.append, "late")
    loop.call_soon(log.append, "soon")
    for _ in range(3):
        log.append("turn")
        await asyncio.sleep(0)
    return sorted(log[:2], key=str), sorted(log[2:4]), log[4:]


@parity
async def test_a_handle_tells_its_deadline():
    loop = asyncio.get_running_loop()
    when = loop.time() + 100
    handle = loop.call_at(when, print)
    text = repr(handle).replace(str(when), "WHEN")
    handle.cancel()
    return handle.when() == when, text


@parity
async def test_errors_in_callbacks_reach_the_exception_handler():
    loop = asyncio.get_running_loop()
    log = []
    loop.set_exception_handler(
        lambda _, context: log.append((context["message"].split("(")[0], repr(context["exception"])))
    )

    def fail():
        raise ValueError("in a callback")

    async def lost():
        raise KeyError("never retrieved")

    loop.call_soon(fail)
    loop.call_later(0, fail)
    asyncio.create_task(lost())  # noqa: RUF006 - to be lost
    for _ in range(5):
        await asyncio.sleep(0)
    loop.set_exception_handler(None)
    return sorted(log)


def test_errors_in_callbacks_are_logged_without_a_handler(caplog):
    async def program():
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(0)

    logs = []
    for run in (on_asyncio, on_controlled):
        caplog.clear()
        run(program)
        logs.append([record.getMessage().partition(" at ")[0] for record in caplog.records])

    assert logs[0] == logs[1] != []


@parity
async def test_context_variables_follow_tasks_and_callbacks():
    variable = contextvars.ContextVar("variable", default="unset")
    loop = asyncio.get_running_loop()
    log = []

    def note(where):
        log.append((where, variable.get()))

    async def child():
        note("child")
        variable.set("child's")
        loop.call_soon(note, "callback of the child")
        await asyncio.sleep(0)
        note("child")

    variable.set("parent's")
    task = asyncio.create_task(child())
    own = contextvars.copy_context()
    own.run(variable.set, "given")
    given = asyncio.create_task(child(), context=own)
    await asyncio.gather(task, given)
    loop.call_later(0.001, note, "timer")
    variable.set("parent's second")
    await asyncio.sleep(0.005)
    note("parent")
    await asyncio.to_thread(note, "thread")
    return log, own.run(variable.get)


@parity
async def test_async_generators_are_closed():
    log = []

    async def generate(name):
        try:
            for number in range(3):
                yield number
                await asyncio.sleep(0)
        finally:
            await asyncio.sleep(0)
            log.append(f"{name} closed")

    async for number in generate("broken off"):
        log.append(number)
        break
    for _ in range(4):
        await asyncio.sleep(0)
    left = generate("left")
    log.append(await anext(left))
    loop = asyncio.get_running_loop()
    await loop.shutdown_asyncgens()
    return log


def test_async_generators_that_are_left_are_closed_with_the_loop():
    log = []
    kept = []

    async def program():
        async def generate():
            try:
                yield 1
            finally:
                await asyncio.sleep(0)
                log.append("closed")

        kept.append(generate())
        await anext(kept[-1])

    for run in (on_asyncio, on_controlled):
        run(program)
        log.append(run.__name__)

    assert log == ["closed", "on_asyncio", "closed", "on_controlled"]


@parity
async def test_signals_are_delivered():
    loop = asyncio.get_running_loop()
    log = []
    arrived = asyncio.Event()

    def handle(name):
        log.append(name)
        arrived.set()

    loop.add_signal_handler(signal.SIGUSR1, handle, "usr1")
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.wait_for(arrived.wait(), 5)
        arrived.clear()
        loop.add_signal_handler(signal.SIGUSR1, handle, "again")
        loop.call_later(0.001, os.kill, os.getpid(), signal.SIGUSR1)
        await asyncio.wait_for(arrived.wait(), 5)
    finally:
        log.append(loop.remove_signal_handler(signal.SIGUSR1))
    return log


@parity
async def test_an_alarm_is_waited_for():
    loop = asyncio.get_running_loop()
    arrived = asyncio.Event()
    loop.add_signal_handler(signal.SIGALRM, arrived.set)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        await arrived.wait()
    finally:
        loop.remove_signal_handler(signal.SIGALRM)
    return "arrived"


@parity
async def test_a_signal_is_seen_while_work_is_ready():
    loop = asyncio.get_running_loop()
    arrived = []
    loop.add_signal_handler(signal.SIGUSR1, arrived.append, 1)
    os.kill(os.getpid(), signal.SIGUSR1)
    turns = 0
    while not arrived and turns < 100:
        turns += 1
        await asyncio.sleep(0)
    loop.remove_signal_handler(signal.SIGUSR1)
    return turns < 100


@parity
async def test_debug_mode_refuses_calls_from_other_threads():
    loop = asyncio.get_running_loop()
    loop.set_debug(True)

    def call(method, *args):
        try:
            method(*args)
        except RuntimeError as error:
            return str(error)
        return "allowed"

    texts = [
        await asyncio.to_thread(call, loop.call_soon, print),
        await asyncio.to_thread(call, loop.call_later, 1, print),
        await asyncio.to_thread(call, loop.call_soon_threadsafe, len, ()),
    ]
    for method in (loop.call_soon, loop.call_soon_threadsafe):
        try:
            method(asyncio.sleep)
        except TypeError as error:
            texts.append(str(error).partition(",")[0])
    loop.set_debug(False)
    return texts


def test_debug_mode_complains_of_what_blocks(caplog):
    async def program():
        loop = asyncio.get_running_loop()
        loop.set_debug(True)
        loop.slow_callback_duration = 0.01
        await asyncio.sleep(0)
        time.sleep(0.02)

    for run in (on_asyncio, on_controlled):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "asyncio"):
            run(program)

        assert "Executing <Task" in caplog.text


@pytest.mark.parametrize("run", [on_asyncio, on_controlled])
def test_stop_before_start_runs_one_turn_with_its_input(run):
    loop = asyncio.SelectorEventLoop() if run is on_asyncio else _controlled()
    log = []
    reading, writing = os.pipe()
    try:
        loop.add_reader(reading, lambda: log.append(os.read(reading, 10)))
        os.write(writing, b"x")
        loop.call_soon(log.append, "queued")
        loop.call_soon(loop.call_soon, log.append, "next turn")
        loop.stop()
        loop.run_forever()
    finally:
        loop.remove_reader(reading)
        os.close(reading)
        os.close(writing)
        loop.close()

    assert log == ["queued", b"x"]


def _controlled():
    from pytest_interleave.loop.controlled import ControlledLoop

    return ControlledLoop()
