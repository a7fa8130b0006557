"""What other threads send, and by what names it goes."""

from __future__ import annotations

import asyncio

from pytest_interleave.loop.jobs import Jobs


def test_threads_are_named_in_the_order_of_their_creation_whichever_of_them_is_heard_of_first() -> None:
    """Two that wait for the end of a child each: the second may have sent its word a moment earlier."""
    jobs = Jobs()
    loop = asyncio.new_event_loop()
    jobs.post(7, asyncio.Handle(print, (), loop))
    [second] = jobs.heads()
    jobs.post(5, asyncio.Handle(print, (), loop))

    assert [(letter.thread, letter.ordinal) for letter in jobs.heads()] == [(5, 10_001), (7, 20_001)]

    jobs.take(jobs.heads()[0])
    jobs.post(5, asyncio.Handle(print, (), loop))
    loop.close()

    assert [(letter.thread, letter.ordinal) for letter in jobs.heads()] == [(5, 10_002), (7, 20_001)]
    assert jobs.heads()[1] is second
