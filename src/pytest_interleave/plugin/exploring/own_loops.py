"""Tests that bring their own loop, which no decider can control: they are run plainly, and the summary says so."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pytest_interleave.plugin import legacy_event_loop, looptime_loops, policy
from pytest_interleave.plugin.exploring import anyio_items
from pytest_interleave.plugin.items import PytestAsyncioFunction
from pytest_interleave.plugin.marks import FACTORY_FIXTURE
from pytest_interleave.plugin.overrides import find_overrides

_STOCK = (asyncio.new_event_loop, asyncio.SelectorEventLoop)


def describe_own_loop(item: pytest.Function) -> str | None:
    """Say what makes the test's loop, if that is not asyncio; None otherwise."""
    callspec = getattr(item, "callspec", None)
    factory: Any = callspec.params.get(FACTORY_FIXTURE) if callspec is not None else None
    if factory is not None and factory not in _STOCK:
        name = getattr(factory, "__qualname__", repr(factory))
        return f"its loop factory {name} makes the loop"
    if not isinstance(item, PytestAsyncioFunction):
        return anyio_items.describe_own_loop(item)
    if legacy_event_loop.is_used_by(item):
        return "its own fixture event_loop makes the loop"
    if find_overrides(policy.NAME, item) is not None:
        return "its own event_loop_policy makes the loop"
    return looptime_loops.describe_clock(item)
