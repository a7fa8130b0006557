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
