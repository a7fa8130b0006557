"""The world outside the kernels: queries and replies that take time, and steps that keep the processor busy.

All operations naturally take equally long, so that asyncio completes them in the order in which they were begun. A
kernel passes then; it fails when certain operations are late, which is all that a search may bring about. ``delayed``
makes them late on any loop, also on asyncio's own: that is how each bug is shown to be real.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

OPERATION_SECONDS = 0.001

_NONE: Mapping[str, float] = MappingProxyType({})
_delays: ContextVar[Mapping[str, float]] = ContextVar("delays", default=_NONE)


async def remote(operation: str, times: int = 1) -> None:
    """Wait until something outside has answered, so many times in a row. A delay makes the first answer late."""
    await asyncio.sleep(OPERATION_SECONDS + _delays.get().get(operation, 0))
    for _ in range(times - 1):
        await asyncio.sleep(OPERATION_SECONDS)


def compute(operation: str) -> None:
    """Do work that keeps the loop busy: no time at all, unless it is delayed."""
    seconds = _delays.get().get(operation, 0)
    if seconds:
        time.sleep(seconds)


@contextmanager
def delayed(seconds_more: Mapping[str, float]) -> Iterator[None]:
    """Let these operations take so much longer in what is run in this context."""
    token = _delays.set(seconds_more)
    try:
        yield
    finally:
        _delays.reset(token)
