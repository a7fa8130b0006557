"""What ``interrupt`` and ``--interleave-cancel`` do is what ``cancel()`` at that suspension does on asyncio's own loop.

Each program is cancelled at each suspension in each way, and again at the first suspensions of its clean-up, on both
loops; it writes down all that it sees of it, and both must write the same.
"""

from __future__ import annotations

import asyncio
import re
from bisect import insort
from contextlib import suppress

import anyio
import pytest

from parity.striking import WAITING, Striker, run_on_asyncio
from pytest_interleave import interrupt
from pytest_interleave.exploration.execution import Execution, Limits
from pytest_interleave.loop.controlled import ControlledLoop
from pytest_interleave.loop.cutting import Cutting
from pytest_interleave.schedule import Fifo

#: The second strike comes at one of so many suspensions after the first.
AGAIN = range(4)


async def nap(note, name, seconds=0.01):
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError as error:
        note(f"{name} is cancelled", asyncio.current_task().cancelling(), str(error).partition(" by ")[0])
        await asyncio.sleep(0.003)
        note(f"{name} has cleaned up")
        raise
    note(f"{name} is over")
    return name


async def locks(note):
    lock = asyncio.Lock()
    slots = asyncio.Semaphore(1)

    async def other():
        async with lock:
            await nap(note, "other", 0.02)

    worker = asyncio.create_task(other())
    await asyncio.sleep(0)
    try:
        async with slots, lock:
            note("has both")
            await nap(note, "own")
    finally:
        note("locked", slots.locked())
        await worker


async def waits_with_a_limit(note):
    try:
        await asyncio.wait_for(nap(note, "long", 1), 0.05)
    except TimeoutError:
        note("timed out")
    return await asyncio.wait_for(nap(note, "short"), 0.05)


async def times_out(note):
    task = asyncio.current_task()
    try:
        async with asyncio.timeout(0.05) as outer:
            try:
                async with asyncio.timeout(0.02):
                    await nap(note, "first", 0.01)
                    await nap(note, "second", 0.05)
            except TimeoutError:
                note("inner timeout", task.cancelling())
                await nap(note, "third", 0.05)
    except TimeoutError:
        note("outer timeout", outer.expired(), task.cancelling())
    await nap(note, "last")


async def groups(note):
    async def fail():
        await nap(note, "failing", 0.02)
        raise LookupError

    task = asyncio.current_task()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(nap(note, "child", 0.03))
            group.create_task(fail())
            await nap(note, "body", 0.01)
    except* LookupError as errors:
        note("failed", len(errors.exceptions), task.cancelling())
    await asyncio.sleep(0)
    async with asyncio.TaskGroup() as group:
        children = [group.create_task(nap(note, str(number), number / 100)) for number in (1, 2)]
    return [child.result() for child in children]


async def gathers(note):
    results = await asyncio.gather(nap(note, "one"), nap(note, "two", 0.02), return_exceptions=True)
    note("gathered", results)
    await asyncio.wait([asyncio.create_task(nap(note, "three"))], timeout=0.005)
    return await asyncio.gather(nap(note, "four"), nap(note, "five", 0.02))


async def shields(note):
    inner = asyncio.create_task(nap(note, "inner", 0.02))
    try:
        note("shielded", await asyncio.shield(inner))
    except asyncio.CancelledError:
        note("outer is cancelled", inner.cancelled(), asyncio.current_task().cancelling())
        note("inner ends", await asyncio.shield(inner))
        raise


async def takes_it_back(note):
    task = asyncio.current_task()
    for number in range(3):
        try:
            await nap(note, str(number))
        except asyncio.CancelledError:
            note("cancelling", task.cancelling(), "then", task.uncancel())
    async with asyncio.timeout(0.001):
        with suppress(TimeoutError):
            await nap(note, "after")
    return task.cancelling()


async def is_being_cancelled(note):
    task = asyncio.current_task()

    async def cancel():
        await asyncio.sleep(0.01)
        note("cancels", task.cancel("enough"), task.cancelling())

    canceller = asyncio.create_task(cancel())
    try:
        await nap(note, "own", 0.05)
    finally:
        note("ends", task.cancelling())
        await canceller


async def cancels_itself(note):
    task = asyncio.current_task()
    task.cancel("mine")
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError as error:
        note("cancelled", error.args, task.cancelling())
        task.uncancel()
    await nap(note, "goes on")


async def queues(note):
    queue = asyncio.Queue(1)
    ready = asyncio.Event()
    condition = asyncio.Condition()

    async def produce():
        for number in range(3):
            await queue.put(number)
            note("put", number)
        ready.set()
        async with condition:
            condition.notify_all()

    producer = asyncio.create_task(produce())
    try:
        async with asyncio.timeout(1), condition:
            for _ in range(3):
                note("got", await queue.get())
            await condition.wait()
            await ready.wait()
    except TimeoutError:
        note("nothing came")
    finally:
        note("left", queue.qsize(), ready.is_set())
        producer.cancel()


async def generators(note):
    async def numbers():
        try:
            for number in range(3):
                await nap(note, "number")
                yield number
        finally:
            note("closing")
            await asyncio.sleep(0.001)
            note("closed")

    source = numbers()
    try:
        async for number in source:
            note("number", number)
            await asyncio.sleep(0)
    finally:
        await source.aclose()


async def anyio_scopes(note):
    with anyio.move_on_after(0.03) as scope:
        with anyio.CancelScope(shield=True):
            await nap(note, "shielded")
        await nap(note, "scoped", 1)
    note("moved on", scope.cancelled_caught)
    async with anyio.create_task_group() as group:
        group.start_soon(nap, note, "child", 0.02)
        with anyio.CancelScope() as inner:
            inner.cancel()
            await anyio.sleep(1)
        note("inner", inner.cancelled_caught)
        await anyio.sleep(0.01)
    return "end"


PROGRAMS = [
    locks,
    waits_with_a_limit,
    times_out,
    groups,
    gathers,
    shields,
    takes_it_back,
    is_being_cancelled,
    cancels_itself,
    queues,
    generators,
    anyio_scopes,
]


class Script:
    """What a program does on one loop, with what it wrote down."""

    def __init__(self, program):
        self.program = program
        self.log = []

    def note(self, *what):
        loop = asyncio.get_running_loop()
        # The children of a task group are a set: who is told first is nobody's business.
        insort(self.log, f"{loop.time():.6f} {re.sub('scope [0-9a-f]+', 'scope', repr(what))}")

    async def explicitly(self, striker):
        task = asyncio.create_task(self.program(self.note))
        striker.target = task
        try:
            self.note("returned", await task)
        except asyncio.CancelledError:
            self.note("cancelled", task.cancelled())
        except Exception as error:
            self.note("raised", repr(error))
        await asyncio.sleep(2)

    async def under_interrupt(self):
        try:
            outcome = await interrupt(self.program(self.note))
            self.note(*(("cancelled", True) if outcome.cancelled else ("returned", outcome.result)))
        except asyncio.CancelledError:
            self.note("cancelled", True)
        except Exception as error:
            self.note("raised", repr(error))
        await asyncio.sleep(2)


class StrikeAt(Fifo):
    """Answers as a ``Striker`` strikes."""

    def __init__(self, strikes):
        self.strikes = list(strikes)
        self.ways = []
        self._count = 0

    def cancel(self, kind, origin, ordinal, alternatives):
        if kind != "again":
            self.ways.append(alternatives - 1)
        number, self._count = self._count, self._count + 1
        if not self.strikes or self.strikes[0][0] != number or self.strikes[0][1] >= alternatives:
            return 0
        self._count = 0
        return self.strikes.pop(0)[1]


def on_asyncio(program, strikes, *, has_target):
    script, striker = Script(program), Striker(strikes, has_target=has_target)
    run_on_asyncio(script.explicitly, striker)
    return script.log, striker.ways


@pytest.fixture(scope="module")
def here():
    script = Script(None)

    async def main():
        await script.under_interrupt()

    execution = Execution(main, stretch=True, limits=Limits())

    def run(program, strikes):
        script.program, script.log = program, []
        decider = StrikeAt(strikes)
        result = execution(decider)
        assert result.error is None
        return script.log, decider.ways

    yield run
    execution.close()


def all_strikes(ways):
    """Return each single strike, and each with a second one."""
    single = [[(number, way)] for number, most in enumerate(ways) for way in range(1, most + 1)]
    return [*single, *([*strike, (again, WAITING)] for strike in single for again in AGAIN)]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_an_interrupted_operation_sees_what_a_cancelled_task_sees(here, program):
    log, ways = here(program, [])

    assert len(ways) > 1
    assert (log, ways) == on_asyncio(program, [], has_target=True)
    for strikes in all_strikes(ways):
        assert here(program, strikes)[0] == on_asyncio(program, strikes, has_target=True)[0], strikes


class CutAt(StrikeAt):
    """Leaves the task alone in which the program is watched."""

    def cancel(self, kind, origin, ordinal, alternatives):
        return 0 if origin == 1 else super().cancel(kind, origin, ordinal, alternatives)


def cut_here(program, strikes):
    script, decider, loop = Script(program), CutAt(strikes), ControlledLoop()
    loop.begin(decider, script=None, stretch=True, limits=Limits())
    cutting = Cutting(loop, None, None)
    with cutting.watching():
        cutting.is_open = True
        loop.run_until_complete(script.explicitly(Striker([], has_target=True)))
    loop.clear()
    loop.finish()
    return script.log, decider.ways


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_a_task_that_is_cut_sees_what_a_cancelled_task_sees(program):
    log, ways = cut_here(program, [])

    assert (log, ways) == on_asyncio(program, [], has_target=False)
    for strikes in [[(number, way)] for number, most in enumerate(ways) for way in range(1, most + 1)]:
        assert cut_here(program, strikes)[0] == on_asyncio(program, strikes, has_target=False)[0], strikes
