"""What another thread queues in a loop that waits, without waking it: it runs when something else wakes the loop.

``event.set()``, ``future.set_result()``, ``queue.put_nowait()``, ``loop.call_soon()`` and ``create_task()`` come to
this. Only a loop that waits is looked at, and that costs it nothing: one that runs goes on in any case.
"""

from __future__ import annotations

import asyncio
import linecache
import threading
from types import FrameType

import pytest

from pytest_interleave.detectors.findings import Finding
from pytest_interleave.loop import _plain
from pytest_interleave.loop.host import Host
from pytest_interleave.origins import rank
from pytest_interleave.plugin.detecting.blocking import call_at
from pytest_interleave.plugin.detecting.hooks import DetectingHooks

_ADVICE = (
    "Its loop sleeps on until something else comes, and nothing of asyncio may be used from two threads: "
    "loop.call_soon_threadsafe(...), or asyncio.run_coroutine_threadsafe(..., loop)."
)


class WrongThreads:
    """Listens to the loops of a session."""

    def __init__(self, findings: DetectingHooks) -> None:
        self._findings = findings
        self._outer = _plain.SpareLoop.on_wrong_thread

    def install(self) -> None:
        """Listen."""
        _plain.SpareLoop.on_wrong_thread = self._note

    def uninstall(self) -> None:
        """Listen no longer."""
        _plain.SpareLoop.on_wrong_thread = self._outer

    def _note(self, loop: asyncio.AbstractEventLoop, frame: FrameType) -> None:
        # In that thread: what is said of it waits for the test's report.
        item = self._findings.item
        if not any(host.loop is loop for host in list(Host.running)):
            return
        finding = _wrong_thread(frame, threading.current_thread().name)
        self._findings.sightings.append(lambda: self._tell(item, finding))

    def _tell(self, item: pytest.Item | None, finding: Finding) -> None:
        if not self._findings.has_taken(item, finding):
            self._findings.take(item, finding)


def _wrong_thread(frame: FrameType, thread: str) -> Finding:
    """Return the finding, at the innermost line that is the user's, or else a package's."""
    stack: list[FrameType] = []
    outer: FrameType | None = frame
    while outer is not None:
        stack.append(outer)
        outer = outer.f_back
    own = max(range(len(stack)), key=lambda index: (rank(stack[index].f_code.co_filename), -index))
    code, line = stack[own].f_code, stack[own].f_lineno
    text = linecache.getline(code.co_filename, line).strip()
    if not rank(code.co_filename):  # no line of anybody's: what a Timer or an executor was given is asyncio's own
        given = stack[0].f_code.co_qualname
        return Finding("wrong-thread", f"{given} in thread {thread!r} wakes a task, but not its loop", advice=_ADVICE)
    call = call_at((code, stack[own].f_lasti)) or text
    return Finding(
        "wrong-thread",
        f"{call} in thread {thread!r} wakes a task, but not its loop",
        f"{code.co_filename}:{line}",
        tuple(filter(None, ("" if call == text else text, f"in {code.co_qualname}"))),
        _ADVICE,
    )
