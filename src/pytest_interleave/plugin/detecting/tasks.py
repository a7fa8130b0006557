"""Who awaits what, for a person: printed by ``print_tasks`` from anywhere, and after Ctrl-C."""

from __future__ import annotations

import asyncio
import gc
import sys
from types import FrameType
from typing import Any, TextIO

from pytest_interleave.loop import _plain
from pytest_interleave.loop.host import Host
from pytest_interleave.plugin.detecting.deadlocks import describe_waits


def print_tasks(file: TextIO | None = None) -> None:
    """Print who waits for what in each running loop of the process, to standard error or ``file``.

    It may be called from a task, from a thread (a ``threading.Timer`` before something that hangs) or a debugger.
    """
    print(describe_tasks(), file=sys.stderr if file is None else file, flush=True)


def describe_tasks(interrupted: FrameType | None = None) -> str:
    """Return who waits for what; ``interrupted`` is where a signal came in, if that is why somebody asks."""
    loops = _running_loops()
    lines: list[str] = []
    for number, loop in enumerate(loops, 1):
        if len(loops) > 1:
            lines.append(f"Loop {number} of {len(loops)}: {loop!r}")
        try:
            lines += describe_waits(loop, None if interrupted is None else _frame_in(loop, interrupted))
            lines += _call_graph(loop)
        except RuntimeError:  # the tasks of another thread come and go
            lines.append("  its tasks change too fast to be listed")
    return "\n".join(lines or ["No event loop is running in this process, so there are no tasks that wait."])


def _call_graph(loop: asyncio.AbstractEventLoop) -> list[str]:
    """Return who awaits whom as asyncio tells it, from Python 3.14 on: it also knows who waits for a future."""
    format_call_graph: Any = getattr(asyncio, "format_call_graph", None)
    if format_call_graph is None:
        return []
    graphs = [format_call_graph(task) for task in sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name())]
    return ["asyncio's own call graph:", *(f"  {line}" for graph in graphs for line in graph.splitlines())]


def _frame_in(loop: asyncio.AbstractEventLoop, interrupted: FrameType) -> FrameType | None:
    return interrupted if _plain.get_running_loop_or_none() is loop else None


def _running_loops() -> list[asyncio.AbstractEventLoop]:
    """Return the loops that run now, this thread's own first."""
    own = _plain.get_running_loop_or_none()
    # By its type: isinstance would ask objects that answer for others, and some do work then.
    loops = {each for each in gc.get_objects() if issubclass(type(each), asyncio.AbstractEventLoop)}
    loops.update(host.loop for host in Host.running)  # one from before the first test is hidden: plugin/garbage.py
    return sorted((loop for loop in loops if loop.is_running()), key=lambda loop: loop is not own)
