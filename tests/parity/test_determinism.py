"""Same decisions, same run: also in another process, with another hash seed and among other objects."""

import asyncio
import os
import selectors
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import pytest_interleave
from parity.loops import on_asyncio
from parity.outcomes import PROGRAMS, failing_group, outcomes
from pytest_interleave.exploration.execution import Limits
from pytest_interleave.loop.controlled import ControlledLoop
from pytest_interleave.schedule import Fifo

SOURCES = Path(pytest_interleave.__file__).parent.parent
SCRIPT = Path(__file__).with_name("outcomes.py")


def test_the_order_of_a_set_of_tasks_differs_on_asyncio():
    """Else the tests below would show nothing."""
    seen = set()
    ballast = []
    for number in range(300):
        ballast.append([object() for _ in range(number * 7 % 50)])
        seen.add(repr(on_asyncio(failing_group)))

    assert len(seen) > 1


@pytest.fixture(scope="module")
def here():
    return outcomes(1, 40)


@pytest.mark.parametrize("program", [program.__name__ for program in PROGRAMS])
def test_forty_runs_have_one_outcome_and_one_trace(here, program):
    assert len(here[program]) == 2


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_fresh_processes_agree(here, seed):
    run = subprocess.run(
        [sys.executable, SCRIPT, SOURCES, str(seed), "5"],
        env={**os.environ, "PYTHONHASHSEED": str(seed)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert run.stdout.strip() == repr(here), run.stderr


def test_tasks_hash_by_their_number():
    async def program():
        return [hash(asyncio.create_task(asyncio.sleep(0))) for _ in range(3)]

    from parity.loops import on_controlled

    first, second, third = on_controlled(program)

    assert (second - first, third - second) == (1, 1)


class HeldBack(selectors.DefaultSelector):
    """Lets a thread answer just when the loop looks what has come, and the next one when it looks again."""

    loop: ControlledLoop
    gates: list[threading.Event]

    def select(self, timeout=None):
        loop = self.loop
        if self.gates and loop._jobs.are_asked() and not loop._ready and not loop._inbox:
            self.gates.pop(0).set()
            while not loop._inbox:
                time.sleep(0.0001)
        return super().select(timeout)


def test_a_thread_that_answers_while_the_loop_looks_gets_ahead_of_no_other():
    selector = HeldBack()
    first, second = threading.Event(), threading.Event()
    selector.gates = []
    loop = selector.loop = ControlledLoop(selector)

    async def program():
        answers = []

        async def ask(name, gate):
            await asyncio.to_thread(gate.wait)
            answers.append(name)

        selector.gates = [second, first]
        mine, yours = socket.socketpair()  # something to look at
        with mine, yours:
            loop.add_reader(mine, print)
            await asyncio.gather(ask("first", first), ask("second", second))
            loop.remove_reader(mine)
        return answers

    try:
        loop.begin(Fifo(), script=program.__code__, stretch=True, limits=Limits())
        answers = loop.run_until_complete(program())
        loop.clear()
    finally:
        loop.finish()

    assert answers == ["first", "second"]


def test_a_server_at_all_addresses_has_them_in_one_order_whatever_its_port():
    """asyncio makes a set of the addresses, which are tuples with the port."""
    traces = set()

    async def connect():
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = await asyncio.start_server(lambda reader, writer: writer.close(), None, port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await reader.read()
        writer.close()
        server.close()

    for _ in range(30):
        loop = ControlledLoop()
        trace = loop.begin(Fifo(), script=None, stretch=False, limits=Limits())
        loop.run_until_complete(connect())
        loop.clear()
        loop.close()
        traces.add(tuple(trace.events()))

    assert len(traces) == 1
