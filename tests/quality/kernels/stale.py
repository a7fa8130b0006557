"""A reply is used although it is older than what is known by then."""

from __future__ import annotations

import asyncio

from quality.kernels.kernel import Kernel
from quality.outside import remote


async def stale_response() -> None:
    """A search box shows the reply that came last, not that of the last query: the first query's reply is late."""
    shown = ""

    async def search(query: str) -> None:
        nonlocal shown
        await remote(f"connect {query}", 2)
        await remote(f"search {query}")
        shown = f"results for {query}"

    async with asyncio.TaskGroup() as group:
        group.create_task(search("a"))
        await remote("type", 4)
        group.create_task(search("ab"))

    assert shown == "results for ab"


async def stale_response_fixed() -> None:
    """A reply is shown only if its query is still the last one."""
    shown = ""
    last = ""

    async def search(query: str) -> None:
        nonlocal shown
        await remote(f"connect {query}", 2)
        await remote(f"search {query}")
        if query == last:
            shown = f"results for {query}"

    async with asyncio.TaskGroup() as group:
        last = "a"
        group.create_task(search("a"))
        await remote("type", 4)
        last = "ab"
        group.create_task(search("ab"))

    assert shown == "results for ab"


async def cache_fill_after_invalidation() -> None:
    """A miss fills the cache with what it read before a write: its reply is late, past the write's invalidation."""
    database, cache = {"price": 1}, dict[str, int]()

    async def read() -> None:
        await remote("read: connect", 2)
        row = database["price"]
        await remote("read: reply")
        cache["price"] = row

    async def write() -> None:
        await remote("write: begin", 4)
        await remote("write: commit", 3)
        database["price"] = 2
        cache.pop("price", None)

    await asyncio.gather(read(), write())

    assert cache.get("price", 2) == database["price"]


async def cache_fill_after_invalidation_fixed() -> None:
    """A write counts up a generation, and a reply of an older one does not fill the cache."""
    database, cache = {"price": 1}, dict[str, int]()
    generation = 0

    async def read() -> None:
        await remote("read: connect", 2)
        row, begun = database["price"], generation
        await remote("read: reply")
        if begun == generation:
            cache["price"] = row

    async def write() -> None:
        nonlocal generation
        await remote("write: begin", 4)
        await remote("write: commit", 3)
        database["price"] = 2
        generation += 1
        cache.pop("price", None)

    await asyncio.gather(read(), write())

    assert cache.get("price", 2) == database["price"]


async def missed_event() -> None:
    """A client takes a snapshot, then subscribes: the snapshot is late, past an event, which is in neither."""
    log, subscribers = ["created"], list[list[str]]()
    seen: list[str] = []

    async def follow() -> None:
        await remote("follow: connect")
        snapshot = list(log)
        await remote("snapshot")
        seen.extend(snapshot)
        subscribers.append(seen)

    async def publish() -> None:
        await remote("approve", 4)
        await remote("publish", 2)
        log.append("approved")
        for subscriber in subscribers:
            subscriber.append("approved")

    await asyncio.gather(follow(), publish())

    assert seen == log


async def missed_event_fixed() -> None:
    """The client subscribes in the step that takes the snapshot."""
    log, subscribers = ["created"], list[list[str]]()
    seen: list[str] = []

    async def follow() -> None:
        await remote("follow: connect")
        snapshot, news = list(log), list[str]()
        subscribers.append(news)
        await remote("snapshot")
        seen.extend(snapshot + news)
        subscribers[:] = [seen]

    async def publish() -> None:
        await remote("approve", 4)
        await remote("publish", 2)
        log.append("approved")
        for subscriber in subscribers:
            subscriber.append("approved")

    await asyncio.gather(follow(), publish())

    assert seen == log


KERNELS = (
    Kernel(stale_response, stale_response_fixed, {"search a": 0.02}),
    Kernel(cache_fill_after_invalidation, cache_fill_after_invalidation_fixed, {"read: reply": 0.02}),
    Kernel(missed_event, missed_event_fixed, {"snapshot": 0.02}),
)
