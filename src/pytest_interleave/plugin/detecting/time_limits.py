"""Ends a test that takes longer than it may, alone, and says who waits for what.

The clock is the process's alarm (``SIGALRM``): its handler runs wherever the main thread happens to be, in a selector
that waits, in a busy loop, in a ``time.sleep``, and raises there. Should the test swallow that, it is raised again
every second. Elsewhere than in the main thread of a Unix process there is no such clock, and no limit.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

from pytest_interleave.errors import TimedOut
from pytest_interleave.loop import _plain, own
from pytest_interleave.loop.frames import DEBUGGERS, is_frame_of
from pytest_interleave.loop.host import Host, hosts
from pytest_interleave.origins import rank
from pytest_interleave.plugin.detecting.deadlocks import describe_waits
from pytest_interleave.plugin.exploring.options import MARK, limit_of_mark

NAME = "interleave-time-limits"
#: The mark of pytest-timeout, which does its own work where it is installed.
THEIR_MARK = "timeout"
_AGAIN = 1.0
#: The alarm takes no more, and infinity is a number, too.
_LONGEST_SECONDS = 1e9


class TimeLimits:
    """Sets the alarm for each phase of a test that has a limit."""

    def __init__(self, config: pytest.Config, seconds: float | None) -> None:
        self._seconds = seconds
        self._takes_their_mark = not config.pluginmanager.has_plugin("timeout")
        self._limit = 0.0
        self._item: pytest.Item | None = None
        self._text = ""
        #: Whether the phase is over: an alarm that rings all the same is too late.
        self._has_ended = True

    @pytest.hookimpl(wrapper=True, trylast=True)  # a wrong mark fails it; other plugins have begun by then
    def pytest_runtest_setup(self, item: pytest.Item) -> Iterator[None]:
        """Limit the set-up of the fixtures."""
        __tracebackhide__ = True
        return (yield from self._limited(item))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        """Limit the test."""
        __tracebackhide__ = True
        return (yield from self._limited(item))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Iterator[None]:
        """Limit the tear-down."""
        __tracebackhide__ = True
        return (yield from self._limited(item))

    def _limited(self, item: pytest.Item) -> Iterator[None]:
        __tracebackhide__ = True
        if item is not self._item:
            self._item, self._limit = item, 0.0
            self._limit = self._seconds_of(item) or 0.0
        seconds = self._limit
        if not seconds or threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
            return (yield)
        previous = signal.signal(signal.SIGALRM, self._ring)
        own.handlers.append(self._ring)
        self._text = ""
        left, _ = signal.setitimer(signal.ITIMER_REAL, min(seconds, _LONGEST_SECONDS), _AGAIN)
        try:
            self._has_ended = False
            try:
                result = yield
            finally:
                self._has_ended = True  # the alarm may ring now, too: it must not keep us from what follows
        finally:
            self._has_ended = True  # it rang just before
            signal.setitimer(signal.ITIMER_REAL, left)
            if signal.getsignal(signal.SIGALRM) == self._ring:  # else the test has set its own
                signal.signal(signal.SIGALRM, previous)
            own.handlers.remove(self._ring)
        if self._text:  # it was swallowed
            raise TimedOut(self._text)
        return result

    def _seconds_of(self, item: pytest.Item) -> float | None:
        mark = item.get_closest_marker(MARK)
        try:
            seconds = limit_of_mark(mark) if mark is not None else None
        except ValueError as error:
            reason = str(error)
        else:
            reason = ""
        if reason:
            pytest.fail(reason, pytrace=False)
        if seconds is None and self._takes_their_mark:
            theirs = item.get_closest_marker(THEIR_MARK)
            seconds = _seconds_of_theirs(theirs) if theirs is not None else None
        return self._seconds if seconds is None else seconds

    def _ring(self, number: int, frame: FrameType | None) -> None:
        __tracebackhide__ = True  # --pdb shows where the test was
        if self._has_ended:
            return
        inner = frame
        while inner is not None:
            if is_frame_of(inner, DEBUGGERS):  # somebody is looking at it in a debugger
                return
            inner = inner.f_back
        self._text = self._describe(frame)
        raise TimedOut(self._text)

    def _describe(self, frame: FrameType | None) -> str:
        lines = [f"Hang: this took longer than its limit of {self._limit:g} s."]
        loop = Host.running[-1].loop if Host.running else hosts.ending
        if loop is not None and _plain.get_running_loop_or_none() is loop:
            lines += describe_waits(loop, frame)
        else:
            lines += _stack(frame)
        lines.append("The limit is interleave_timeout, or the timeout of the test's mark.")
        return "\n".join(lines)


def _stack(frame: FrameType | None) -> list[str]:
    lines = []
    while frame is not None:
        path = frame.f_code.co_filename
        if rank(path) == 2:
            lines.append(f"    at {path}:{frame.f_lineno} in {frame.f_code.co_name}")
        frame = frame.f_back
    return lines[::-1]


def _seconds_of_theirs(mark: pytest.Mark) -> float | None:
    value = mark.args[0] if mark.args else mark.kwargs.get("timeout")
    return float(value) if isinstance(value, int | float) and value > 0 else None
