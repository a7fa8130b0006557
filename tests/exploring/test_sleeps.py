"""What a sleep means: by where it stands, and by who started its task."""

from __future__ import annotations

from typing import Any

#: A cache that runs each call in a task of its own; clearing it makes the call lose its callers.
CACHE = """
import asyncio

class Cache:
    def __init__(self, load):
        self.load = load
        self.waiting = {}

    async def get(self, key):
        if key not in self.waiting:
            task = asyncio.get_running_loop().create_task(self.load(key))
            self.waiting[key] = asyncio.get_running_loop().create_future()
            task.add_done_callback(lambda done: self._tell(key, done))
        return await asyncio.shield(self.waiting[key])

    def _tell(self, key, done):
        if key in self.waiting:
            self.waiting[key].set_result(done.result())

    def clear(self):
        self.waiting.clear()
"""

TEST = """
async def test_clearing_harms_nobody():
    async def load(key):
        await asyncio.sleep(0.01)
        return key

    cache = Cache(load)

    async def visit():
        return await cache.get("a")

    async def clear():
        await asyncio.sleep(0.05)
        cache.clear()

    assert (await asyncio.gather(visit(), clear()))[0] == "a"
"""


def test_what_code_under_test_starts_is_work_wherever_it_is_written(explore: Any, pytester: Any) -> None:
    package = pytester.mkpydir("shop")
    package.joinpath("cache.py").write_text(CACHE)

    result = explore(f"from shop.cache import Cache\n{TEST}")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["Deadlocks if the sleep of 0.01 s (test_it.py:6, task load) ends after *"])


def test_what_the_test_starts_comes_when_it_says(explore: Any, pytester: Any) -> None:
    pytester.mkpydir("shop").joinpath("cache.py").write_text(CACHE)

    result = explore(
        """
        from shop.cache import Cache

        async def test_clearing_comes_last():
            async def load(key):
                return key

            cache = Cache(load)

            async def visit():
                await asyncio.sleep(0.01)
                return cache.waiting

            async def clear():
                await asyncio.sleep(0.05)
                cache.waiting = None

            assert (await asyncio.gather(visit(), clear()))[0] == {}
        """
    )

    result.assert_outcomes(passed=1)


def test_the_script_waits_for_what_it_gave_to_code_under_test(explore: Any, pytester: Any) -> None:
    pytester.mkpydir("shop").joinpath("jobs.py").write_text(
        "import asyncio\ndef spawn(coroutine):\n    return asyncio.get_running_loop().create_task(coroutine)\n"
    )

    result = explore(
        """
        from shop.jobs import spawn

        async def test_two_jobs_are_done():
            done = []

            async def job(number):
                await asyncio.sleep(0.01)
                done.append(number)

            jobs = [spawn(job(number)) for number in range(2)]
            await asyncio.sleep(0.5)
            assert sorted(done) == [0, 1]
        """
    )

    result.assert_outcomes(passed=1)


def test_the_script_meets_what_it_gave_to_code_under_test_for_a_note(explore: Any, pytester: Any) -> None:
    pytester.mkpydir("shop").joinpath("supervisor.py").write_text(
        "import asyncio\n"
        "class Supervisor:\n"
        "    def start(self, make):\n"
        "        self.task = asyncio.get_running_loop().create_task(make())\n"
        "        self.task.add_done_callback(lambda task: task.cancelled() or self.start(make))\n"
        "    async def stop(self):\n"
        "        self.task.cancel()\n"
        "        await asyncio.wait([self.task])\n"
    )

    result = explore(
        """
        from shop.supervisor import Supervisor

        async def test_nobody_works_when_all_is_stopped():
            supervisor, at_work = Supervisor(), []

            async def worker():
                at_work.append(1)
                try:
                    await asyncio.sleep(0.01)
                finally:
                    at_work.pop()

            supervisor.start(worker)
            await asyncio.sleep(0.015)
            await supervisor.stop()
            await asyncio.sleep(0)
            assert not at_work
        """
    )

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "order-only: fails with AssertionError (*) if the loop is held up between two sleeps of",
            "*::* --interleave-replay=*",
        ]
    )


#: A service with a heart, and with a worker whose sleep stands for work.
SERVICE = """
import asyncio
from contextlib import asynccontextmanager

class Service:
    beats = 0

    def __init__(self):
        self.jobs = asyncio.Queue()
        self.done = []

    async def beat(self):
        while True:
            await asyncio.sleep(1)
            self.beats += 1

    async def work(self):
        while True:
            job = await self.jobs.get()
            await asyncio.sleep(1)
            self.done.append(job)

    @asynccontextmanager
    async def running(self):
        tasks = [asyncio.ensure_future(self.beat()), asyncio.ensure_future(self.work())]
        yield self
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
"""


def test_a_heart_beats_in_time_with_the_sleeps_of_the_test(explore: Any) -> None:
    result = explore(f"""{SERVICE}
class Sends(Service):
    beats = -1

    async def send(self):
        self.beats += 1

    async def beat(self):
        while True:
            await self.send()
            await asyncio.sleep(1)

@pytest.mark.parametrize("service", [Service, Sends])
async def test_five_beats(service):
    async with service().running() as service:
        await asyncio.sleep(5.5)
    assert service.beats == 5
""")

    result.assert_outcomes(passed=2)


def test_work_that_is_done_again_and_again_may_be_late(explore: Any) -> None:
    result = explore(f"""{SERVICE}
async def test_five_jobs():
    async with Service().running() as service:
        for number in range(5):
            service.jobs.put_nowait(number)
        await asyncio.sleep(5.5)
    assert len(service.done) == 5
""")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["latency: *"])


#: A server that looks around every 0.1 s, in a method that the task's first one leads to (uvicorn).
SERVER = """
import asyncio

class Server:
    looked = 0

    async def serve(self):
        await self._serve()

    async def _serve(self):
        await self._main_loop()

    async def _main_loop(self):
        while True:
            await asyncio.sleep(0.1)
            self.looked += 1

    async def shutdown(self):
        await asyncio.sleep(0.1)
"""


def test_the_main_loop_of_a_service_is_a_heart_in_whatever_method_it_stands(explore: Any, pytester: Any) -> None:
    package = pytester.mkpydir("shop")
    package.joinpath("server.py").write_text(SERVER)

    result = explore("""
from shop.server import Server

async def test_it_looks_before_it_is_shut_down():
    server = Server()
    serving = asyncio.create_task(server.serve())
    await work()
    await server.shutdown()
    serving.cancel()
    assert server.looked
""")

    result.assert_outcomes(passed=1)
