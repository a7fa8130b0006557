"""Plain runs in virtual time: ``@pytest.mark.virtual_time``, and the ini key for all async tests.

The test runs once, by pytest's own protocol, on a loop of its own that jumps where asyncio's would wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from pytest_interleave.errors import ClocksUnavailable
from pytest_interleave.loop.threads import running_threads
from pytest_interleave.loop.virtual import VirtualLoop
from pytest_interleave.plugin.clock_options import clocks_of
from pytest_interleave.plugin.detecting import deadlocks
from pytest_interleave.plugin.exploring.own_loops import describe_own_loop
from pytest_interleave.plugin.items import AsyncGenerator, PytestAsyncioFunction
from pytest_interleave.plugin.misuse import RefusedTest, refuse
from pytest_interleave.plugin.recording import is_recording
from pytest_interleave.plugin.session import hosting_of
from pytest_interleave.plugin.virtual_clocks import virtual_clocks_of
from pytest_interleave.plugin.virtual_options import DAY_SECONDS, MARK, read_mark

if TYPE_CHECKING:
    from pytest_interleave.clock.virtual import Clocks


class VirtualTime:
    """Gives the tests that ask for it a loop in virtual time."""

    def __init__(self, session: pytest.Session, *, is_for_all: bool) -> None:
        self._is_for_all = is_for_all
        self._resting_threads = running_threads()
        self._wide: list[VirtualLoop] = []
        self._limit_seconds = DAY_SECONDS
        # Always the same object: loops that another factory made do not fit, and are closed.
        self._factory = self._make
        self._clocks = virtual_clocks_of(session.config)
        self._current: Clocks | None = None
        for item in session.items:
            self._check(item)

    def _check(self, item: pytest.Item) -> None:
        """Refuse a test that asks for virtual time and cannot have it."""
        own = next((mark for mark in item.own_markers if mark.name == MARK), None)
        mark = own or item.get_closest_marker(MARK)
        if mark is None or not isinstance(item, pytest.Function):
            return
        try:
            limit_seconds = read_mark(mark)
            clocks_of(item)
        except ValueError as wrong:
            refuse(item, str(wrong))
            return
        if own is None or limit_seconds is None:
            return
        if not isinstance(item, PytestAsyncioFunction):
            refuse(item, f"mark.{MARK} is for async tests that pytest-interleave runs; this is none of them.")
            return
        reason = describe_own_loop(item)
        if reason is not None:
            refuse(item, f"mark.{MARK} gives the test a loop in virtual time, but {reason}.")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Run the test in virtual time, if it asks for that. Where it is explored, it has that anyway."""
        limit_seconds = self._limit_of(item)
        if limit_seconds is None:
            return (yield)
        self._limit_seconds = limit_seconds
        self._wide = [loop for loop in self._wide if not loop.is_closed()]
        for loop in self._wide:
            loop.limit(limit_seconds)
        with ExitStack() as stack:
            self._follow(item, stack)
            stack.enter_context(hosting_of(item.config).use_factory(self._factory, is_explored=False))
            try:
                return (yield)
            finally:
                self._current = None

    def _follow(self, item: pytest.Item, stack: ExitStack) -> None:
        """Let Python's clocks follow the loop, if the test asks for that."""
        assert isinstance(item, pytest.Function)
        try:
            clocks = self._clocks.following(clocks_of(item), self._resting_threads)
            self._current = stack.enter_context(clocks)
        except (ValueError, ClocksUnavailable) as wrong:
            if not isinstance(item, RefusedTest):
                refuse(item, str(wrong))
            return
        if self._current is not None:
            is_in_wider_loop = getattr(item, "_loop_scope", "function") != "function"
            passed = max((loop.time() for loop in self._wide), default=0.0) if is_in_wider_loop else 0.0
            self._current.begin(passed, *self._wide)

    def _limit_of(self, item: pytest.Item) -> float | None:
        mark = item.get_closest_marker(MARK)
        if mark is None and not self._is_for_all:
            return None
        if is_recording(item.config) and "hosts" in getattr(item, "fixturenames", ()):
            return None  # virtual time does not wait for real hosts
        if not isinstance(item, PytestAsyncioFunction) or isinstance(item, AsyncGenerator):
            return None
        try:
            limit_seconds = read_mark(mark) if mark is not None else DAY_SECONDS
        except ValueError:
            return None  # it was refused
        return limit_seconds if describe_own_loop(item) is None else None

    def _make(self, scope: str) -> VirtualLoop:
        """Return a loop for a host of that scope."""
        loop = VirtualLoop(describe=_describe, resting_threads=self._resting_threads)
        loop.limit(self._limit_seconds)
        if scope != "function":
            self._wide.append(loop)
        if self._current is not None:
            self._current.follow(loop)
        return loop


def _describe(loop: Any, limit_seconds: float | None) -> str:
    if limit_seconds is None:
        return deadlocks.describe(loop)
    lines = [f"Still running after {limit_seconds:g} s of virtual time, the limit of a test."]
    lines += deadlocks.describe_waits(loop)
    lines.append("If what it waits for is only far away, give it more: @pytest.mark.virtual_time(limit=seconds).")
    return "\n".join(lines)
