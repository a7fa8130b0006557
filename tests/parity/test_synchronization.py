"""Queues, locks and their kin: the same on asyncio's own loop and on the controlled one."""

import asyncio

from parity.loops import parity


@parity
async def test_a_bounded_queue_holds_its_producers_back():
    queue = asyncio.Queue(2)
    log = []

    async def produce(name):
        for number in range(4):
            await queue.put((name, number))
            log.append(("put", name, number))
        await queue.put(None)

    async def consume():
        ended = 0
        while ended < 2:
            item = await queue.get()
            log.append(("got", item))
            ended += item is None
            queue.task_done()

    await asyncio.gather(produce("a"), produce("b"), consume())
    await queue.join()
    return log


@parity
async def test_priority_and_last_in_first_out_queues():
    priority, stack = asyncio.PriorityQueue(), asyncio.LifoQueue()
    for number in (3, 1, 2):
        priority.put_nowait(number)
        stack.put_nowait(number)
    return [await priority.get() for _ in range(3)], [await stack.get() for _ in range(3)]


@parity
async def test_a_cancelled_getter_loses_nothing():
    queue = asyncio.Queue()
    first, second = (asyncio.create_task(queue.get()) for _ in range(2))
    await asyncio.sleep(0)
    queue.put_nowait("only")
    first.cancel()
    await asyncio.wait([first])
    return first.cancelled(), await second


@parity
async def test_a_lock_is_fair():
    lock = asyncio.Lock()
    log = []

    async def enter(name):
        for _ in range(2):
            async with lock:
                log.append(name)
                await asyncio.sleep(0)

    await asyncio.gather(*map(enter, "abc"))
    return log


@parity
async def test_a_lock_survives_cancelled_waiters():
    lock = asyncio.Lock()
    await lock.acquire()
    waiters = [asyncio.create_task(lock.acquire()) for _ in range(3)]
    await asyncio.sleep(0)
    waiters[0].cancel()
    lock.release()
    waiters[1].cancel()
    await asyncio.wait(waiters)
    return [waiter.cancelled() for waiter in waiters], lock.locked()


@parity
async def test_a_semaphore_wakes_in_order():
    semaphore = asyncio.Semaphore(2)
    log, inside = [], 0

    async def enter(name):
        nonlocal inside
        async with semaphore:
            inside += 1
            log.append((name, inside))
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*map(enter, "abcde"))
    return log


@parity
async def test_a_condition_notifies_in_order():
    condition = asyncio.Condition()
    log, allowed = [], set()

    async def wait(name):
        async with condition:
            await condition.wait_for(lambda: name in allowed)
            log.append(name)

    tasks = [asyncio.create_task(wait(name)) for name in "abc"]
    await asyncio.sleep(0)
    for name in "cab":
        async with condition:
            allowed.add(name)
            condition.notify_all()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    return log


@parity
async def test_an_event_wakes_everyone_in_order():
    event = asyncio.Event()
    log = []

    async def wait(name):
        log.append((name, await event.wait()))

    tasks = [asyncio.create_task(wait(name)) for name in "abc"]
    await asyncio.sleep(0)
    event.set()
    event.clear()
    await asyncio.gather(*tasks)
    return log, event.is_set()


@parity
async def test_a_barrier_opens_and_breaks():
    barrier = asyncio.Barrier(3)
    log = []

    async def arrive(name):
        try:
            async with barrier as position:
                log.append((name, position))
        except asyncio.BrokenBarrierError:
            log.append((name, "broken"))

    await asyncio.gather(*map(arrive, "abc"))
    tasks = [asyncio.create_task(arrive(name)) for name in "de"]
    await asyncio.sleep(0)
    await barrier.abort()
    await asyncio.gather(*tasks)
    return log, barrier.broken
