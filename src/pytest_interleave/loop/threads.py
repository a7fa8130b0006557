"""Which threads are at work, and which only wait to be given some.

A loop in virtual time must not jump over the answer of a thread (aiosqlite's worker, an executor's job), and must not
wait for one that has nothing to do. Python does not tell, so this looks at the call each thread is in.
"""

from __future__ import annotations

import concurrent.futures.thread
import io
import linecache
import re
import select
import socket
import sys
import threading
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any, cast

from pytest_interleave.loop import children, outside
from pytest_interleave.loop.states import read_state

#: Calls in which a thread waits for others. ``time.sleep`` is not among them: its answer is still to come.
_RESTS_IN = re.compile(r"\.(get|wait|acquire|result|recv|recv_into|recvfrom|accept|read|readline|select|poll|join)\(")
#: Of these, the ones that rest only if whoever they listen to is in this process.
_TALKS = {"recv", "recv_into", "recvfrom", "accept", "read", "readline"}
_JOINS = {("threading", "join"), ("threading", "_wait_for_tstate_lock")}
#: Their threads listen to their processes all day long; what they were asked for is a job of the loop's.
_POOLS = ("concurrent.futures.process", "multiprocessing.pool")
#: Where asyncio waits for the end of a process, in a thread each, if the system has no descriptors for processes.
_WAITS_FOR_CHILD = ("asyncio.unix_events", "_do_waitpid")
#: What such a thread runs.
_WORKER = concurrent.futures.thread._worker.__code__
_calls: dict[tuple[CodeType, int], str] = {}


#: ``threading.active_count()`` takes a lock to count these, in each turn of the loop.
active: dict[int, threading.Thread] = threading._active  # type: ignore[attr-defined]


def running_threads() -> frozenset[int]:
    """Return the threads that are there now: before the first test, those that never owe its loop an answer."""
    return frozenset(thread.ident for thread in threading.enumerate() if thread.ident is not None)


def are_there(resting: AbstractSet[int]) -> bool:
    """Whether there is any thread but this one and those named."""
    if len(active) == 1:
        return False
    me = threading.get_ident()
    return any(thread.ident != me and thread.ident not in resting for thread in threading.enumerate())


def are_busy(resting: AbstractSet[int], awaited: AbstractSet[int], horizon: float) -> bool:
    """Whether any thread but this one and those named is at work.

    A thread of those ``awaited`` (native numbers) that waits with a timeout shorter than ``horizon`` is at work, too:
    it will go on by itself. Others wait like that all day long, for work or for the end.
    """
    if threading.active_count() == 1:
        return False
    frames = _frames_of_others()
    others = [thread for thread in threading.enumerate() if thread.ident in frames and thread.ident not in resting]
    return any(
        not _rests(frames[cast(int, thread.ident)], thread.native_id in awaited, horizon) for thread in others
    ) or any(_is_runnable(thread.native_id) for thread in others)


def are_waiting_for_children() -> bool:
    """Whether a thread will tell a loop of the end of a process."""
    if len(active) == 1:
        return False
    frames = _frames_of_others().values()
    return any((frame.f_globals.get("__name__"), frame.f_code.co_name) == _WAITS_FOR_CHILD for frame in frames)


def idle_workers() -> frozenset[str]:
    """Return the system's numbers of the threads of executors that wait for work, and have none, for certain."""
    frames = _frames_of_others()
    found = []
    for thread in threading.enumerate():
        frame = frames.get(thread.ident or 0)
        if frame is not None and frame.f_code is _WORKER:
            variables = frame.f_locals
            queue = variables.get("work_queue")
            if variables.get("work_item") is None and queue is not None and queue.empty():
                found.append(str(thread.native_id))
    return frozenset(found)


def _frames_of_others() -> dict[int, FrameType]:
    """Return where the other threads are.

    The frame of this one would hold itself by what is returned, and with it all that called it, until garbage is
    collected: a host's task, too, which a run would then have left behind.
    """
    frames = sys._current_frames()
    del frames[threading.get_ident()]
    return frames


def _is_runnable(native_id: int | None) -> bool:
    """Whether the system has woken that thread, though it may not have got a processor yet."""
    return read_state(f"/proc/self/task/{native_id}/stat") not in (b"", b"S", b"t", b"T")


def _rests(frame: FrameType, is_awaited: bool, horizon: float) -> bool:
    code = frame.f_code
    function = frame.f_globals.get("__name__"), code.co_name
    if function == ("threading", "wait") and "waiter" in code.co_varnames:
        # Condition.wait: whoever notified it has taken it off the list, though it may still be asleep.
        condition, waiter = frame.f_locals.get("self"), frame.f_locals.get("waiter")
        timeout = frame.f_locals.get("timeout")
        if is_awaited and timeout is not None and timeout < horizon:
            return False
        return waiter is not None and waiter in getattr(condition, "_waiters", (waiter,))
    if function == ("selectors", "select"):
        return _selector_rests(frame, is_awaited, horizon)
    if function == _WAITS_FOR_CHILD:
        return not children.is_over(frame.f_locals["expected_pid"])
    if function in _JOINS:
        joined = frame.f_locals.get("self")
        return joined is None or joined.ident in sys._current_frames()
    key = code, frame.f_lasti
    call = _calls.get(key)
    if call is None:
        call = _calls[key] = _source_of_call(code, frame.f_lasti)
    match = _RESTS_IN.search(call)
    return match is not None and _call_rests(match[1], _evaluate(call[: match.start()], frame), frame)


def _call_rests(name: str, of: Any, frame: FrameType) -> bool:
    """Whether the method of that name really waits: what it waits for may be here, and the thread only be asleep."""
    if name == "get":
        # A queue in C. It is emptied only once its reader runs again.
        is_empty = getattr(of, "empty", None)
        return is_empty is None or bool(is_empty())
    if name == "acquire":
        is_locked = getattr(of, "locked", None)
        return is_locked is None or bool(is_locked())
    if name in _TALKS:
        return not any(map(_may_speak, (of, frame.f_locals.get("self"))))
    return True


def _selector_rests(frame: FrameType, is_awaited: bool, horizon: float) -> bool:
    module = _module_of(frame.f_back)
    if module == "subprocess":
        return False  # communicate()
    if module == "multiprocessing.connection":  # for a child to end, or to send something
        caller = frame.f_back.f_back if frame.f_back is not None else None
        return _module_of(caller) in _POOLS or not _leads_outside(frame)
    if not module.startswith(("asyncio.", "pytest_interleave.")):
        return True
    timeout = frame.f_locals.get("timeout")
    if timeout is not None and 0 <= timeout < horizon:
        return False  # a loop with a timer
    return not is_awaited or not _leads_outside(frame)


def _module_of(frame: FrameType | None) -> str:
    return frame.f_globals.get("__name__", "") if frame is not None else ""


def _leads_outside(frame: FrameType) -> bool:
    """Whether another process may speak to one of those to which this call of ``select`` listens."""
    selector = frame.f_locals.get("self")
    return selector is not None and outside.leads_outside(*(key.fd for key in selector.get_map().values()))


def _may_speak(channel: Any) -> bool:
    """Whether there is something to be read, or it is on its way, or another process may send it."""
    if not isinstance(channel, (socket.socket, io.IOBase)):
        return False
    try:
        return bool(select.select([channel], [], [], 0)[0]) or outside.may_hear(channel.fileno())
    except (OSError, ValueError):
        return False


def _evaluate(names: str, frame: FrameType) -> Any:
    """Return what a dotted name stands for in that frame; None if it is not that simple."""
    first, *rest = names.strip().split(".")
    first = first.rpartition(" ")[2].rpartition("(")[2]
    value = frame.f_locals.get(first, frame.f_globals.get(first))
    for name in rest:
        value = getattr(value, name, None)
    return value


def _source_of_call(code: CodeType, offset: int) -> str:
    """Return the text of the expression that is being evaluated at that offset."""
    positions = list(code.co_positions())
    first, last, start, end = positions[offset // 2] if offset // 2 < len(positions) else (None, None, None, None)
    if first is None:
        return ""
    lines = [linecache.getline(code.co_filename, number) for number in range(first, (last or first) + 1)]
    if len(lines) == 1 and start is not None and end is not None:
        # Columns count bytes of UTF-8.
        return lines[0].encode()[start:end].decode(errors="replace")
    return "".join(lines)


@contextmanager
def ending_with_the_process() -> Iterator[None]:
    """Make every thread that is started meanwhile a daemon.

    A run that was cut short may leave a thread behind that waits for orders for ever (a database connection's); the
    interpreter would wait for it at its end.
    """
    start = threading.Thread.start

    def start_as_daemon(thread: threading.Thread) -> None:
        if thread.ident is None:
            thread.daemon = True
        start(thread)

    threading.Thread.start = start_as_daemon  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        threading.Thread.start = start  # type: ignore[method-assign]
