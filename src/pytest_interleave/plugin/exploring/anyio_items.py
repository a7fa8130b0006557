"""Tests that anyio's own plugin runs on asyncio: they get a controlled loop, and are explored as ours are.

anyio keeps one loop as long as an async fixture lives that runs in it. So there is a loop that every run begins anew,
as for our own tests, and one of wider scope where fixtures ask for that.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest

from pytest_interleave.loop import _waits
from pytest_interleave.loop.controlled import ControlledLoop
from pytest_interleave.loop.cutting import Cutting
from pytest_interleave.plugin.exploring.loops import LoopPool
from pytest_interleave.plugin.items import PytestAsyncioFunction


def is_anyio_item(item: pytest.Function) -> bool:
    """Whether anyio runs this test on asyncio."""
    if "anyio_backend" not in item.fixturenames:
        return False
    # anyio runs whatever coroutine has that fixture; its auto mode sets no mark.
    if item.get_closest_marker("anyio") is None and isinstance(item, PytestAsyncioFunction):
        return False
    if not inspect.iscoroutinefunction(inspect.unwrap(item.function)):
        return False
    backend = _backend(item)
    return bool((backend[0] if isinstance(backend, tuple) else backend) == "asyncio")


def describe_own_loop(item: pytest.Function) -> str | None:
    """Say what makes the test's loop, if anyio was told to use another than asyncio's."""
    backend = _backend(item)
    options = backend[1] if is_anyio_item(item) and isinstance(backend, tuple) and len(backend) > 1 else {}
    if options.get("use_uvloop") or options.get("loop_factory"):
        return "its anyio_backend asks for another loop"
    return None


def _backend(item: pytest.Function) -> Any:
    callspec = getattr(item, "callspec", None)
    if callspec is not None and "anyio_backend" in callspec.params:
        return callspec.params["anyio_backend"]
    definitions = item._fixtureinfo.name2fixturedefs.get("anyio_backend")
    if not definitions:
        return "asyncio"
    try:
        return definitions[-1].func()  # it takes no arguments as a rule, and names the backend
    except Exception:
        return "asyncio"


@contextmanager
def controlled_anyio(item: pytest.Function, pool: LoopPool) -> Iterator[None]:
    """While it lasts, ``asyncio.Runner`` gives an anyio test the controlled loop."""
    if not is_anyio_item(item):
        yield
        return
    original = asyncio.events.new_event_loop
    scope = "module" if _has_wide_fixtures(item) else "function"

    def make() -> asyncio.AbstractEventLoop:
        if threading.current_thread() is not threading.main_thread() or pool.is_running():
            return original()
        loop = pool.make(scope)
        if scope != "function":
            pool.anyio_loop = loop
        return loop

    def look(loop: Any) -> None:
        if getattr(loop, "cutting", None) is not None:
            loop.cutting.look_at_what_is_left()

    try:
        with (
            mock.patch.object(asyncio.events, "new_event_loop", make),
            _waits.before_cancelling_all(look),
        ):
            yield
    finally:
        forget_broken_runner()


@contextmanager
def cut_softly(item: pytest.Function, cutting: Cutting) -> Iterator[None]:
    """While it lasts, an anyio test that is cancelled ends without its task, in which fixtures are torn down later."""
    if not is_anyio_item(item) or hasattr(item.obj, "hypothesis"):
        yield
        return
    original = item.obj

    @functools.wraps(original)
    async def test(*args: Any, **arguments: Any) -> Any:
        with cutting.ending_softly():
            return await original(*args, **arguments)

    item.obj = test
    try:
        yield
    finally:
        item.obj = original


def forget_broken_runner() -> None:
    """Let anyio make a new runner after one that could not be closed: it would give the closed one to every test."""
    plugin: Any = sys.modules.get("anyio.pytest_plugin")
    if getattr(plugin, "_current_runner", None) is not None and getattr(plugin, "_runner_leases", None) == 0:
        plugin._current_runner = plugin._runner_stack = None


def wide_loop(item: pytest.Function, pool: LoopPool) -> ControlledLoop | None:
    """Return the loop that anyio keeps, if it keeps one."""
    loop = pool.anyio_loop
    return loop if is_anyio_item(item) and loop is not None and not loop.is_closed() else None


def _has_wide_fixtures(item: pytest.Function) -> bool:
    return any(
        definitions[-1].scope != "function"
        and (inspect.iscoroutinefunction(definitions[-1].func) or inspect.isasyncgenfunction(definitions[-1].func))
        for definitions in item._fixtureinfo.name2fixturedefs.values()
        if definitions
    )
