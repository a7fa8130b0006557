"""Tests that anyio's own plugin runs on asyncio: they get a controlled loop, and are explored as ours are."""

from __future__ import annotations

import asyncio.events
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import pytest

from pytest_interleave.plugin.exploring.loops import LoopPool


def is_anyio_item(item: pytest.Function) -> bool:
    """Whether anyio runs this test on asyncio."""
    if item.get_closest_marker("anyio") is None or not inspect.iscoroutinefunction(inspect.unwrap(item.function)):
        return False
    callspec = getattr(item, "callspec", None)
    backend = callspec.params.get("anyio_backend", "asyncio") if callspec is not None else "asyncio"
    name = backend[0] if isinstance(backend, tuple) else backend
    return bool(name == "asyncio")


@contextmanager
def controlled_anyio(item: pytest.Function, pool: LoopPool) -> Iterator[None]:
    """While it lasts, ``asyncio.new_event_loop`` gives an anyio test the controlled loop."""
    if not is_anyio_item(item):
        yield
        return
    with mock.patch.object(asyncio.events, "new_event_loop", lambda: pool.make("function")):
        yield
