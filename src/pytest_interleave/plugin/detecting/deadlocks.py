"""A plain run in which everybody waits for somebody else: it fails at once, and says who waits for what.

Only what is certain counts. While a socket, a thread, a process, a timer or a signal might bring something, nothing is
said. Connections whose two ends are in this process bring nothing when nothing has come for a while. Who holds a lock
is read from the tasks' own lines: only explored runs are watched so closely as to know it.
"""

from __future__ import annotations

import asyncio
import linecache
import sys
from itertools import groupby
from types import FrameType
from typing import Any

from pytest_interleave.errors import Deadlocked
from pytest_interleave.loop import _plain
from pytest_interleave.loop.frames import frames_of
from pytest_interleave.loop.host import Host, Interrupts
from pytest_interleave.origins import is_of_python, rank
from pytest_interleave.plugin.detecting.holders import holders_of
from pytest_interleave.plugin.detecting.takers import Takers, taker_of

#: After so long a silence it is looked at what the connections lead to; a server may be known to others, for longer.
SILENCE_SECONDS = 10.0
LISTENING_SECONDS = 60.0
_UNSEEN = "which nobody who waits here is seen to hold: perhaps its holder ended without release()"
_ENDED = "and has ended without release()"
_PRIMITIVES = (asyncio.Lock, asyncio.Event, asyncio.Condition, asyncio.Semaphore, asyncio.Queue)


class DeadlockWatch:
    """Looks at a loop that is about to wait without a time limit."""

    def __init__(self) -> None:
        # Threads that were there before the first test (xdist's) know nothing of its loops.
        self._resting_threads = _plain.list_threads()
        self._takers = Takers()

    def install(self) -> None:
        """Look at the loops of this session."""
        _plain.IdleSelector.on_idle = self._look
        Host.is_dead = self._is_dead
        Host.on_foreign = add_waits
        self._takers.install()

    def uninstall(self) -> None:
        """Look no longer."""
        self._takers.uninstall()
        if _plain.IdleSelector.on_idle == self._look:
            _plain.IdleSelector.on_idle = None
            Host.is_dead = None
            Host.on_foreign = None

    def _look(self, loop: asyncio.AbstractEventLoop, silent_seconds: float) -> float | None:
        """Raise if nothing can wake the loop, which has waited for so long; else say when to look again."""
        if not Host.running or Host.running[-1].loop is not loop:
            return None
        if self._is_dead(loop) if not silent_seconds else self._is_dead_for_long(loop, silent_seconds):
            raise Deadlocked(describe(loop, silent_seconds))
        return SILENCE_SECONDS

    def _is_dead(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether nothing can wake the loop."""
        return (
            isinstance(loop, _plain.SpareLoop)
            and not _plain.has_timers(loop)
            and not _plain.can_be_woken(loop, self._resting_threads, Interrupts.has_usual_handler())
        )

    def _is_dead_for_long(self, loop: asyncio.AbstractEventLoop, silent_seconds: float) -> bool:
        """Whether what might wake the loop only leads to this process, in which everybody waits."""
        from pytest_interleave.loop import outside, threads  # few have use for it

        if not isinstance(loop, _plain.SpareLoop) or _plain.has_timers(loop):
            return False
        # Who gave the test a time of its own, may know of somebody who connects late.
        may_listen = silent_seconds >= LISTENING_SECONDS and not _plain.has_alarm()
        quiet = outside.lead_inside(_plain.files(loop), may_listen=may_listen)
        resting = self._resting_threads | threads.idle_workers()
        return not _plain.can_be_woken(loop, resting, Interrupts.has_usual_handler(), quiet)


def describe(loop: asyncio.AbstractEventLoop, silent_seconds: float = 0.0) -> str:
    """Return that nothing can go on, and why."""
    first = "Deadlock: everybody waits, and nothing can come from outside."
    if silent_seconds:
        first = f"Deadlock: everybody waits. Nothing has come for {silent_seconds:g} s, and whoever could send is here."
    lines = [first, *describe_waits(loop, is_dead=True)]
    if any(line.endswith(_UNSEEN) for line in lines):
        lines.append("With --interleave the report also says who took it, and where.")
    return "\n".join(lines)


def add_waits(loop: asyncio.AbstractEventLoop, error: BaseException) -> None:
    """Let an error that ends a test while its loop waits say who waits for what."""
    error.add_note("\n".join(describe_waits(loop)))


def missed_wake_up(task: asyncio.Task[Any]) -> object | None:
    """Return what the task waits for, though it is free, if that is seen."""
    future = _plain.awaited_by(task)
    primitive = _innermost_primitive(frames_of(task.get_coro())) if future is not None and not future.done() else None
    return primitive if _is_free(primitive) else None


def describe_waits(
    loop: asyncio.AbstractEventLoop, interrupted: FrameType | None = None, *, is_dead: bool = False
) -> list[str]:
    """Return who waits for what, a paragraph a task, the test first and those in which no line is the user's last.

    ``interrupted`` is where the loop's thread stands, if known.
    """
    host = next((host for host in reversed(Host.running) if host.loop is loop), None)
    own = host.task if host is not None else None
    current = asyncio.current_task(loop)
    tasks = sorted(
        asyncio.all_tasks(loop),
        key=lambda task: (task is not own, task is not current and not _has_user_lines(task), task.get_name()),
    )
    lines = []
    for task in tasks:
        name = "the test" if task is own else f"task {task.get_name()!r}"
        if task is current:
            lines.append(f"  {name} runs")
            frames = _running_frames(loop, interrupted)
        else:
            lines.append(f"  {name} waits for {_describe_wait(task, own, is_dead=is_dead)}")
            frames = frames_of(task.get_coro())
            lines += _describe_holders(frames, [other for other in tasks if other is not current], own, is_dead=is_dead)
        if task.cancelling():
            lines.append("    was cancelled, and has not ended")
        lines += _describe_frames(frames)
    return lines


def _has_user_lines(task: asyncio.Task[Any]) -> bool:
    return any(rank(frame.f_code.co_filename) == 2 for frame in frames_of(task.get_coro()))


def _describe_frames(frames: list[FrameType]) -> list[str]:
    """Return the user's lines, and the innermost, a line each; of libraries in between, how many there are."""
    shown = [frame for frame in frames if rank(frame.f_code.co_filename)]
    lines: list[str] = []
    for is_own, group in groupby(shown, key=lambda frame: rank(frame.f_code.co_filename) == 2):
        part = list(group)
        last = [part.pop()] if part[-1] is shown[-1] else []
        if is_own or len(part) < 2:
            lines += map(_describe_frame, part)
        else:
            packages = dict.fromkeys(str(frame.f_globals.get("__name__")).partition(".")[0] for frame in part)
            lines.append(f"    … {len(part)} lines of {', '.join(packages)} …")
        lines += map(_describe_frame, last)
    return lines


def _describe_frame(frame: FrameType) -> str:
    path = frame.f_code.co_filename
    text = linecache.getline(path, frame.f_lineno).strip()
    return f"    at {path}:{frame.f_lineno} in {frame.f_code.co_name}: {text}"


def _describe_holders(
    frames: list[FrameType], tasks: list[asyncio.Task[Any]], own: asyncio.Task[Any] | None, *, is_dead: bool
) -> list[str]:
    """Return who holds what the task waits for, if that is seen."""
    primitive = _innermost_primitive(frames)
    if is_dead and _is_free(primitive):
        return ["    which is there to be had: its wake-up was lost"]
    if not isinstance(primitive, asyncio.Lock | asyncio.Semaphore) or not primitive.locked():
        return []
    lines = []
    for holder in holders_of(primitive, tasks, lambda task: _innermost_primitive(frames_of(task.get_coro()))):
        name = "the test" if holder.task is own else f"task {holder.task.get_name()!r}"
        lines.append(f"    which {name} holds since {holder.path}:{holder.line}: {holder.text}")
    return lines or _describe_taker(primitive, tasks, own, is_dead=is_dead)


def _describe_taker(
    lock: object, tasks: list[asyncio.Task[Any]], own: asyncio.Task[Any] | None, *, is_dead: bool
) -> list[str]:
    """Return who took the lock last, which is who holds it, if one task at a time can."""
    taker = taker_of(lock)
    if taker is None:
        return [f"    {_UNSEEN}"] if is_dead else []
    where = f"{taker.path}:{taker.line}: {taker.text}"
    task = next((task for task in tasks if task.get_name() == taker.name), None)
    if task is not None:
        name = "the test" if task is own else f"task {taker.name!r}"
        return [f"    which {name} {'holds since' if isinstance(lock, asyncio.Lock) else 'took last at'} {where}"]
    return [f"    which task {taker.name!r} took at {where}", f"    {_ENDED}"]


def _is_free(primitive: object) -> bool:
    if isinstance(primitive, asyncio.Lock):
        return not primitive.locked()
    return isinstance(primitive, asyncio.Event) and primitive.is_set()


def _innermost_primitive(frames: list[FrameType]) -> object | None:
    return next(filter(None, map(_primitive_of, reversed(frames))), None)


def _running_frames(loop: asyncio.AbstractEventLoop, interrupted: FrameType | None) -> list[FrameType]:
    """Return what runs in the loop's current step, outermost first."""
    frame = interrupted or sys._current_frames().get(getattr(loop, "_thread_id", None) or 0)
    frames: list[FrameType] = []
    while frame is not None and frame.f_code is not _plain.RUN_CALLBACK and frame.f_code not in _plain.turns:
        frames.append(frame)
        frame = frame.f_back
    return frames[::-1]


def _describe_wait(task: asyncio.Task[Any], own: asyncio.Task[Any] | None, *, is_dead: bool) -> str:
    future = getattr(task, "_fut_waiter", None)
    if future is None and not is_dead:
        return "its turn"
    if isinstance(future, asyncio.Task):
        return "the test" if future is own else f"task {future.get_name()!r}"
    children = getattr(future, "_children", ())  # of gather
    frames = frames_of(task.get_coro())
    for frame in reversed(frames):
        if children:
            break
        primitive = _primitive_of(frame)
        if primitive is not None:
            return repr(primitive)
        if frame.f_code is asyncio.sleep.__code__:  # in virtual time, or where nobody speaks of a deadlock
            return "a timer"
        if frame.f_code is asyncio.TaskGroup.__aexit__.__code__:
            children = getattr(frame.f_locals["self"], "_tasks", ())
    if children:
        names = sorted(repr(child.get_name()) for child in children if not child.done() and hasattr(child, "get_name"))
        return f"the tasks {', '.join(names)}"
    if is_dead:
        return "a future that nobody completes" if future is not None else "something unknown"
    innermost = frames[-1].f_code if frames else None
    if innermost is not None and is_of_python(innermost.co_filename):
        return f"a future, in {innermost.co_qualname}"
    return "a future"


def _primitive_of(frame: FrameType) -> object | None:
    owner = frame.f_locals.get("self") if is_of_python(frame.f_code.co_filename) else None
    return owner if isinstance(owner, _PRIMITIVES) else None
