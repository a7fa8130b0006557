"""looptime: let it compress the time of our loops, as it does with those of pytest-asyncio.

It changes every loop that a fixture of pytest-asyncio gives, and asks the fixture ``event_loop_policy`` for the loop
that a test is about to run in. Our loops are no fixtures, so it is handed each when it is made, and shown the test's.
A loop in virtual time (explored, or marked so) jumps by itself: looptime leaves it alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from pytest_interleave.loop import _plain
from pytest_interleave.plugin.hosting import current_loop
from pytest_interleave.plugin.items import is_async_test
from pytest_interleave.plugin.policy import NAME as POLICY
from pytest_interleave.plugin.session import hosting_of

NAME = "looptime_plugin"
_MARK = "looptime"
#: What the mark says of the clock that a loop in virtual time does not do.
_OWN_CLOCK = ("start", "end")


class LooptimeLoops:
    """Shows looptime the loops of async tests."""

    def __init__(self, config: pytest.Config) -> None:
        hosting_of(config).prepare_loop = _make_ready

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> Iterator[None]:
        """Let the loop of the test be the current one, and its policy an argument, while looptime looks."""
        if not is_async_test(pyfuncitem):
            return (yield)
        hosting = hosting_of(pyfuncitem.config)
        open_host = hosting.host_for(pyfuncitem, hosting.loop_scope_of(pyfuncitem), may_be_legacy=True)
        arguments = pyfuncitem.funcargs
        is_asked_for = POLICY in arguments
        arguments.setdefault(POLICY, _plain.get_policy())
        try:
            with current_loop(open_host.host.loop):
                return (yield)
        finally:
            if not is_asked_for:
                del arguments[POLICY]


def _make_ready(loop: asyncio.AbstractEventLoop) -> None:
    if isinstance(loop, asyncio.BaseEventLoop):
        from looptime import patch_event_loop

        patch_event_loop(loop, _enabled=False)


def describe_clock(item: pytest.Item) -> str | None:
    """Say what the test's mark wants of the clock, if only looptime can give it; None otherwise."""
    if not item.config.pluginmanager.has_plugin(NAME):
        return None
    flag = item.config.getoption(_MARK, None)
    marks = list(item.iter_markers(_MARK))
    is_on = flag is not False and bool(flag or marks)
    wanted: dict[str, Any] = {}
    for mark in reversed(marks):
        wanted.update(mark.kwargs)
        if mark.args:
            is_on = bool(mark.args[0])
    names = [name for name in _OWN_CLOCK if wanted.get(name)]
    return f"mark.{_MARK} sets the {names[0]} of its clock" if names and is_on else None
