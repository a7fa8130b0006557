"""Tasks are listed while loops in other threads make some."""

from __future__ import annotations

import asyncio
import threading

from pytest_interleave.loop import _plain


def test_tasks_are_listed_while_a_loop_in_another_thread_makes_some() -> None:
    is_over = threading.Event()
    has_begun = threading.Event()

    async def work() -> None:
        kept: list[asyncio.Task[None]] = []
        while not is_over.is_set():
            kept = [asyncio.create_task(asyncio.sleep(0)) for _ in range(100)]
            has_begun.set()
            await asyncio.gather(*kept)

    thread = threading.Thread(target=lambda: asyncio.run(work()))
    thread.start()
    has_begun.wait()
    try:
        listed = [len(_plain.list_tasks()) for _ in range(3000)]
    finally:
        is_over.set()
        thread.join()

    assert max(listed) > 1
