"""Programs whose outcome depends on the order in which asyncio goes through a set of tasks.

    python outcomes.py PATH_OF_OUR_SOURCES SEED RUNS

prints the different outcomes of so many runs, among objects that differ with the seed.
"""

import asyncio
import sys

import anyio
import anyio.from_thread
import anyio.to_thread


async def failing_group():
    """The group cancels its tasks in the order of a set."""
    log = []

    async def patient(name):
        try:
            await asyncio.Event().wait()
        finally:
            log.append(name)

    async def fail():
        await asyncio.sleep(0)
        raise ValueError

    try:
        async with asyncio.TaskGroup() as group:
            for number in range(6):
                group.create_task(patient(number))
            group.create_task(fail())
    except* ValueError:
        pass
    return log


async def waited_for():
    """``asyncio.wait`` returns sets."""
    tasks = [asyncio.create_task(asyncio.sleep(0, number)) for number in range(6)]
    done, _ = await asyncio.wait(tasks)
    return [task.result() for task in done]


async def all_of_them():
    tasks = [asyncio.create_task(asyncio.Event().wait(), name=str(number)) for number in range(6)]
    await asyncio.sleep(0)
    names = [task.get_name() for task in asyncio.all_tasks()]
    for task in tasks:
        task.cancel()
    return names


async def as_completed():
    """Makes a set of coroutines, and tasks in its order."""
    log = []

    async def number(value):
        log.append(value)
        await asyncio.sleep(0)
        return value

    coroutines = [number(value) for value in range(6)]
    return [await next_done for next_done in asyncio.as_completed(coroutines)], log


async def waited_for_threads():
    """``asyncio.wait`` returns sets of futures, too."""
    loop = asyncio.get_running_loop()
    done, _ = await asyncio.wait([loop.run_in_executor(None, str, number) for number in range(6)])
    return [future.result() for future in done]


async def waiters_in_a_set():
    """As those in aiohttp's connector for the look-up of one name."""
    waiters, log = set(), []

    async def wait(name):
        waiter = asyncio.get_running_loop().create_future()
        waiters.add(waiter)
        await waiter
        log.append(name)

    async with asyncio.TaskGroup() as group:
        for number in range(6):
            group.create_task(wait(number))
        await asyncio.sleep(0)
        for waiter in waiters:
            waiter.set_result(None)
    return log


async def eager_group():
    if factory := getattr(asyncio, "eager_task_factory", None):
        asyncio.get_running_loop().set_task_factory(factory)
    return await failing_group()


async def threads():
    """Three threads answer in any order."""
    log = []

    async def ask(name):
        log.append(await asyncio.to_thread(str, name))

    await asyncio.gather(*map(ask, range(3)))
    turns = 0
    job = asyncio.create_task(asyncio.to_thread(sum, range(10_000)))
    while not job.done():
        turns += 1
        await asyncio.sleep(0)
    return log, turns


async def anyio_cancel_scopes():
    """anyio cancels the scopes within a scope in the order of a set."""
    log = []

    async def patient(name):
        with anyio.CancelScope():
            try:
                await anyio.sleep_forever()
            finally:
                log.append(name)

    async with anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(patient, number)
        await anyio.sleep(0.1)
        group.cancel_scope.cancel()
    return log


async def anyio_threads():
    """Three threads that are no executor's."""

    async def back(value):
        await anyio.sleep(0.01)
        return value

    log = []

    async def ask(name):
        log.append(await anyio.to_thread.run_sync(anyio.from_thread.run, back, name))

    async with anyio.create_task_group() as group:
        for number in range(3):
            group.start_soon(ask, number)
    return log


PROGRAMS = [
    failing_group,
    waited_for,
    all_of_them,
    as_completed,
    waited_for_threads,
    waiters_in_a_set,
    eager_group,
    threads,
    anyio_cancel_scopes,
    anyio_threads,
]


def outcomes(seed, runs):
    from unittest import mock

    from pytest_interleave.loop import _patience

    # How long a choice waits for what a thread answers: where other work keeps the processors busy, what is right for
    # users may pass before the thread gets its turn.
    with mock.patch.object(_patience, "_LEAST_PATIENCE", 10.0):
        return _outcomes(seed, runs)


def _outcomes(seed, runs):
    import random

    from pytest_interleave.exploration.execution import Execution, Limits
    from pytest_interleave.schedule import Fifo

    noise = random.Random(seed)
    ballast = []
    found = {}
    for program in PROGRAMS:
        results = set()

        async def run(program=program, results=results):
            results.add(repr(await program()))

        execution = Execution(run, stretch=True, limits=Limits())
        for _ in range(runs):
            # Holes of the sizes of tasks and coroutines, so that addresses do not ascend.
            ballast.extend(bytearray(noise.randrange(500)) for _ in range(noise.randrange(300)))
            noise.shuffle(ballast)
            del ballast[200:]
            result = execution(Fifo())
            if result.error is not None:
                raise result.error
            results.add(("trace", repr(result.trace.entries), repr(result.widths)))
        execution.close()
        found[program.__name__] = sorted(map(repr, results))
    return found


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    print(outcomes(int(sys.argv[2]), int(sys.argv[3])))
