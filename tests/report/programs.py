"""Programs with a known failure. The texts in the tests name these lines: add new programs at the end."""

from __future__ import annotations

import asyncio
import contextlib


class Account:
    def __init__(self, balance: int) -> None:
        self.balance = balance
        self.lock = asyncio.Lock()


async def remote(value: object = None) -> object:
    await asyncio.sleep(0.01)
    return value


async def lost_update() -> None:
    account = Account(0)

    async def deposit(amount: int) -> None:
        balance = account.balance
        await remote(amount)
        account.balance = balance + amount

    async def late() -> None:
        await asyncio.sleep(0.02)
        await deposit(5)

    await asyncio.gather(deposit(10), late())
    assert account.balance == 15


class Box:
    shown: object = None

    async def search(self, text: str) -> None:
        self.shown = await remote(text)


async def stale_answer() -> None:
    box = Box()
    first = asyncio.create_task(box.search("a"))
    await asyncio.sleep(0.001)
    second = asyncio.create_task(box.search("ab"))
    await asyncio.gather(first, second)
    assert box.shown == "ab"


async def transfer(source: Account, target: Account, amount: int) -> None:
    async with source.lock:
        await remote(amount)
        async with target.lock:
            source.balance -= amount
            target.balance += amount


async def later(seconds: float, call) -> None:
    await asyncio.sleep(seconds)
    await call


async def transfers() -> None:
    alice, bob = Account(10), Account(10)
    await asyncio.gather(
        asyncio.create_task(transfer(alice, bob, 5), name="alice→bob"),
        asyncio.create_task(later(0.1, transfer(bob, alice, 5)), name="bob→alice"),
    )


class Tables:
    def __init__(self) -> None:
        self.locks = {"users": asyncio.Lock(), "orders": asyncio.Lock()}

    async def copy(self, first: str, second: str) -> None:
        lock = self.locks[first]
        async with lock:
            await remote()
            async with self.locks[second]:
                pass


async def tables() -> None:
    tables = Tables()
    async with asyncio.TaskGroup() as group:
        group.create_task(tables.copy("users", "orders"))
        await asyncio.sleep(0.1)
        group.create_task(tables.copy("orders", "users"))


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, question: bytes) -> bytes | None:
        self.writer.write(question)
        try:
            async with asyncio.timeout(0.5):
                return await self.reader.readline()
        except TimeoutError:
            return None


async def reply_to_the_last_question() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            while line := await reader.readline():
                writer.write(line)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    client = Client(reader, writer)
    try:
        await client.ask(b"one\n")
        assert await client.ask(b"two\n") == b"two\n"
    finally:
        writer.close()
        server.close()


async def double_booking() -> None:
    seats = {"free": 1}

    async def book() -> None:
        if seats["free"]:
            await asyncio.sleep(0)
            seats["free"] -= 1

    async def second() -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await book()

    await asyncio.gather(book(), second())
    assert seats["free"] == 0


async def start_order() -> None:
    found: list[int] = []

    async def add(number: int) -> None:
        found.append(number)

    await asyncio.gather(add(1), add(2))
    assert found == [1, 2]


async def arrives(call) -> None:
    await asyncio.sleep(0.01)
    return await call


async def start_order_modelled() -> None:
    found: list[int] = []

    async def add(number: int) -> None:
        found.append(number)

    await asyncio.gather(arrives(add(1)), arrives(add(2)))
    assert found == [1, 2]


async def lost_wake_up() -> None:
    ready = asyncio.Condition()

    async def producer() -> None:
        await asyncio.sleep(0.1)
        async with ready:
            ready.notify()

    async def consumer() -> None:
        await remote()
        async with ready:
            await ready.wait()

    await asyncio.gather(producer(), consumer())


async def holder_that_ended() -> None:
    lock = asyncio.Lock()
    stop = asyncio.Event()

    async def careless() -> None:
        await asyncio.sleep(0.02)
        await lock.acquire()
        if stop.is_set():
            lock.release()

    async def stopper() -> None:
        await remote()
        stop.set()

    await asyncio.gather(careless(), stopper())
    async with lock:
        pass


async def timeout_over_a_deadlock() -> None:
    alice, bob = Account(10), Account(10)
    one = asyncio.create_task(transfer(alice, bob, 5), name="one")
    other = asyncio.create_task(later(0.1, transfer(bob, alice, 5)), name="other")
    await asyncio.wait([one, other], timeout=5)
    assert one.done()


async def thread_overtakes() -> None:
    order: list[str] = []

    async def work() -> None:
        await asyncio.to_thread(int)
        order.append("work")

    async def other() -> None:
        for _ in range(4):
            await asyncio.sleep(0)
        order.append("other")

    await asyncio.gather(work(), other())
    assert order[0] == "other"


async def five_of_twelve() -> None:
    state = {"n": 0}

    async def add(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        n = state["n"]
        await remote()
        state["n"] = n + 1

    async def noise() -> None:
        for _ in range(6):
            await asyncio.sleep(0.005)

    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(add(f"a{number}", 0.02 * number))
            group.create_task(noise())
    assert state["n"] == 5


async def passes() -> None:
    await asyncio.gather(remote(1), remote(2))


async def never_suspends() -> None:
    assert True


async def meeting() -> None:
    box = Box()

    async def write() -> None:
        await asyncio.sleep(0.01)
        await asyncio.sleep(0)
        box.shown = "written"

    async def read() -> None:
        await asyncio.sleep(0.02)
        assert box.shown == "written"

    await asyncio.gather(write(), read())


async def a_heart_beats_beside_a_deadlock() -> None:
    answered = asyncio.Event()

    async def beat() -> None:
        while True:
            await asyncio.sleep(60)

    async def answer() -> None:
        await answered.wait()

    beating = asyncio.create_task(beat())
    try:
        await asyncio.create_task(answer())
    finally:
        beating.cancel()


async def sleeps_too_long() -> None:
    while True:
        await asyncio.sleep(60)
