"""What asyncio's loops tell when something is wrong: exceptions that nobody saw, tasks and generators left behind."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from types import FrameType
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import pytest

from pytest_interleave.detectors.findings import Finding
from pytest_interleave.loop.frames import frames_of
from pytest_interleave.loop.host import LEFT_RUNNING, Host, Interrupts, hosts
from pytest_interleave.origins import rank
from pytest_interleave.plugin.detecting.blocking import BlockedLoops
from pytest_interleave.plugin.detecting.deadlocks import DeadlockWatch, describe_waits, missed_wake_up
from pytest_interleave.plugin.detecting.hooks import DetectingHooks
from pytest_interleave.plugin.detecting.long_waits import LongWaits
from pytest_interleave.plugin.detecting.lost import is_farewell, lost_exception
from pytest_interleave.plugin.detecting.on_signal import NAME as ON_SIGNAL
from pytest_interleave.plugin.detecting.on_signal import OnSignal
from pytest_interleave.plugin.detecting.open_ends import open_end
from pytest_interleave.plugin.detecting.openings import Openings, left_unclosed, opening_of
from pytest_interleave.plugin.detecting.results import unawaited_result
from pytest_interleave.plugin.detecting.swallowed import swallowed_cancellation
from pytest_interleave.plugin.detecting.takers import forget_locks_of
from pytest_interleave.plugin.detecting.wrong_threads import WrongThreads

if TYPE_CHECKING:
    from pytest_interleave.loop.swallowing import Stand

#: So many calls of libraries in a row are shown one by one.
_MOST_OF_LIBRARIES = 2
_ADVICE = "Await it, or cancel it and await it; a task group does both."
_ADVICE_FOR_HANDLER = (
    "It handles a connection: close the client, then the server, and await both ('await ….wait_closed()')."
)


class LoopFindings:
    """Turns what the loops of the hosts tell into findings."""

    def __init__(self, findings: DetectingHooks) -> None:
        self._findings = findings
        self._told: WeakSet[asyncio.Task[Any]] = WeakSet()
        self._is_closed = False
        self._blocked = BlockedLoops(findings, self, LongWaits(self._tell_at_once).look)
        self._deadlocks = DeadlockWatch()
        self._deadlocks.install()
        self._wrong_threads = WrongThreads(findings)
        self._wrong_threads.install()
        self._openings = Openings()
        self._openings.install()
        self._outer_on_interrupt = Interrupts.on_interrupt
        Interrupts.on_interrupt = self._note_tasks

    def close(self) -> None:
        """Listen no longer."""
        self._deadlocks.uninstall()
        self._wrong_threads.uninstall()
        self._openings.uninstall()
        Interrupts.on_interrupt = self._outer_on_interrupt
        self._is_closed = True
        self._blocked.close()

    def watch(self, host: Host, item: pytest.Item | None) -> None:
        """Listen to a host's loop: the loop of one test, or (None) of all that run in it."""
        host.loop.set_exception_handler(functools.partial(self._handle, item))
        host.watcher = self
        host.owner = item
        is_controlled = hasattr(host.loop, "is_watched")
        if is_controlled:
            host.loop.is_watched = True  # type: ignore[attr-defined]
        self._blocked.watch(item, has_collected=is_controlled)

    def note_kinds(self) -> None:
        """Note what is opened of the classes that were imported since."""
        self._openings.note_kinds()

    def resume(self) -> None:
        """Go on in a loop that outlives its tests, before the next of them."""
        self._blocked.resume()

    def look_again_at(self, host: Host, tasks: list[asyncio.Task[Any]]) -> None:
        """Remember tasks that a test started in a loop that outlives it: its fixtures may yet end them.

        Only those whose coroutine was made in the test's own file: others may belong to what a wider fixture has set
        up, as the tasks of a server's connections do. If they last as long as the loop, they are told when it ends.
        """
        item = self._findings.item
        own = [task for task in tasks if item is not None and _made_in(task) == str(item.path)]
        if own:
            self._findings.suspects.append(lambda: self.left_running(item, host.pending_after_grace(own)))

    def look_again(self) -> None:
        """Look at such tasks now, for their loop ends."""
        self._findings.look_again()

    def _tell_at_once(self, text: str) -> None:
        on_signal: OnSignal | None = self._findings.config.pluginmanager.get_plugin(ON_SIGNAL)
        if on_signal is not None:
            on_signal.tell(text)

    def _note_tasks(self, host: Host, frame: FrameType | None) -> None:
        if host.watcher is self:
            with contextlib.suppress(Exception):  # as of a user's __repr__: Ctrl-C must do its work
                self._findings.interrupted = describe_waits(host.loop, frame)

    def _handle(self, item: pytest.Item | None, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        loop.default_exception_handler(context)
        if self._is_closed:  # the session is over, and perhaps Python
            return
        if self._findings.is_collecting and getattr(loop, "is_for_all", False):
            return  # it may be of a test that had the loop before
        owner = item if item is not None else self._findings.item
        message = str(context.get("message") or "unhandled exception")
        error = context.get("exception")
        if error is not None:
            is_ending = hosts.ending is loop or loop.is_closed()
            if is_ending and isinstance(error, (asyncio.CancelledError, OSError)) and "task" not in context:
                return  # a stream whose loop ends, and whose handler we cancel, tells of it in a callback and a future
            if is_farewell(error, context):
                return
            finding = lost_exception(message, error, context)
            # What was left behind may fail while we end it; nobody else has asked for that.
            if message == LEFT_RUNNING:
                finding = replace(finding, detector="leaked-task")
            elif "asyncgen" in context:
                finding = replace(finding, detector="left-open")
            elif "caplog" in getattr(owner, "fixturenames", ()):
                return  # the test reads what asyncio logs, which is just this
            self._take_if_unseen(owner, finding, error)
        elif message.startswith("Task was destroyed"):
            self._findings.take(owner, _leaked_task(context["task"], "was destroyed while it was pending"))
        elif message.startswith("Unclosed"):
            made = next((value for key, value in context.items() if key != "message"), "")
            opening = opening_of(made)
            finding = Finding("left-open", f"{message}: {made!r}", advice="Close it where it was opened.")
            self._findings.take(owner, opening.left_open() if opening is not None else finding)
        elif "caplog" not in getattr(owner, "fixturenames", ()):
            self._findings.take(owner, _told_to_handler(message, context))

    def _take_if_unseen(self, owner: pytest.Item | None, finding: Finding, error: BaseException) -> None:
        """Take the finding when the test has ended, unless the exception was raised once more: somebody got it then."""
        told_at = error.__traceback__

        def look() -> None:
            if error.__traceback__ is told_at:
                self._findings.take(owner, finding)

        if owner is not None and owner is self._findings.item:
            self._findings.sightings.append(look)
        else:
            look()

    def returned(self, item: pytest.Function, value: object) -> None:
        """Tell of what a test returned: an assertion that was meant, or something that nobody awaits."""
        if self._findings.take(item, unawaited_result(item, value)) and inspect.iscoroutine(value):
            value.close()  # or it would be told once more, as never awaited

    def left_running(self, owner: pytest.Item | None, tasks: Iterable[asyncio.Task[Any]]) -> None:
        """Tell of tasks that outlived their test."""
        when = "the test had ended" if owner is not None else "its loop was closed"
        tasks = list(tasks)
        forget_locks_of(tasks)
        for task in tasks:
            if task in self._told:
                continue
            self._told.add(task)
            self._findings.take(owner or self._findings.item, _leaked_task(task, f"was still running when {when}"))

    def swallowed(
        self, owner: pytest.Item | None, task: asyncio.Task[Any], *, is_own: bool, cancelled_at: Stand
    ) -> None:
        """Tell of a task that was cancelled and goes on."""
        self._told.add(task)
        owner = owner or self._findings.item
        self._findings.take(owner, swallowed_cancellation(task, is_own=is_own, cancelled_at=cancelled_at))

    def left_open(self, owner: pytest.Item | None, generators: Iterable[Any]) -> None:
        """Tell of async generators that were begun and not finished.

        Not of a library's: who drops one has it closed, so what is left is held by the library itself (httpcore, of a
        response that was not read to its end).
        """
        owner = owner or self._findings.item
        for generator in generators:
            frame = generator.ag_frame
            if frame is None or rank(frame.f_code.co_filename) != 2:
                continue
            finding = Finding(
                "left-open",
                f"async generator '{generator.__qualname__}' was begun and not finished",
                f"{frame.f_code.co_filename}:{frame.f_lineno}",
                advice="Iterate it to its end, or use it in 'async with contextlib.aclosing(...)'.",
            )
            self._findings.take(owner, finding)

    def left_unclosed(self, owner: pytest.Item | None, loop: asyncio.AbstractEventLoop) -> None:
        """Tell of executors and client sessions that nobody closed, and of locks that nobody gave back."""
        owner = owner or self._findings.item
        for finding in left_unclosed(loop, "" if owner is None else str(owner.path)):
            self._findings.take(owner, finding)

    def left_connected(self, owner: pytest.Item | None, ends: Iterable[tuple[Any, Any]]) -> None:
        """Tell of servers, connections, pipes and subprocesses that nobody closed."""
        for end, made_by in ends:
            finding = open_end(end, made_by)
            if finding is not None:
                self._findings.take(owner, finding)


def _told_to_handler(message: str, context: dict[str, Any]) -> Finding:
    rest = tuple(f"{key}: {value!r}" for key, value in context.items() if key not in ("message", "source_traceback"))
    advice = "This was told to the loop's exception handler, and to nobody else: handle it where it arises."
    return Finding("lost-exception", message, None, rest, advice)


def _made_in(task: asyncio.Task[Any]) -> str | None:
    """Return the file in which the task's coroutine was made."""
    origin = getattr(task.get_coro(), "cr_origin", None)
    return origin[0][0] if origin else None


def _describe_frames(frames: list[FrameType]) -> Iterator[str]:
    """Yield where a task waits, outermost first: each line of the user's, and of libraries' the last in a row."""
    for is_own, group in groupby(frames, lambda frame: rank(frame.f_code.co_filename) == 2):
        row = list(group)
        if not is_own and len(row) > _MOST_OF_LIBRARIES:
            names = dict.fromkeys(frame.f_globals.get("__name__", "?").partition(".")[0] for frame in row[:-1])
            yield f"through {', '.join(names)}: {len(row) - 1} calls"
            row = row[-1:]
        for frame in row:
            yield f"waits at {frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"


def _leaked_task(task: asyncio.Task[Any], what: str) -> Finding:
    coroutine: Any = task.get_coro()
    name = getattr(coroutine, "__qualname__", repr(coroutine))
    frames = frames_of(coroutine)
    own = [frame for frame in frames if rank(frame.f_code.co_filename)]
    # The user's own line, if there is one: whoever reads it can change that, and not where a server's code waits.
    innermost = next(
        (frame for frame in reversed(own) if rank(frame.f_code.co_filename) == 2), own[-1] if own else None
    )
    place = f"{innermost.f_code.co_filename}:{innermost.f_lineno}" if innermost is not None else ""
    lines = list(_describe_frames(own))
    missed = missed_wake_up(task)
    if missed is not None:
        lines.append(f"for {missed!r}, which is there to be had: its wake-up was lost")
    origin = getattr(coroutine, "cr_origin", None)
    if origin:
        made = f"{origin[0][0]}:{origin[0][1]}"
        if place:
            lines.append(f"its coroutine was made at {made} in {origin[0][2]}")
        else:
            place = made
    return Finding(
        "leaked-task",
        f"task {task.get_name()!r} ({name}) {what}",
        place or None,
        tuple(lines),
        _ADVICE_FOR_HANDLER if origin and origin[0][2] == "connection_made" else _ADVICE,
    )
