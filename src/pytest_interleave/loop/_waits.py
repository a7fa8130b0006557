"""asyncio's private names that tell what a suspended task waits for, and what a queued callback is for.

Read only, and only in the replay of a failure: asyncio's primitives are observed, never modelled.
"""

from __future__ import annotations

import asyncio
from asyncio import base_events, futures, runners, streams, tasks
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

from pytest_interleave.loop.frames import frames

_Waiting = tuple[str, Any, list[Any]]

#: asyncio's own coroutines in which a task waits: what for, and which of their variables it is.
_PRIMITIVES: dict[CodeType, tuple[str, str]] = {
    asyncio.Lock.acquire.__code__: ("Lock", "self"),
    asyncio.Semaphore.acquire.__code__: ("Semaphore", "self"),
    asyncio.Condition.wait.__code__: ("Condition", "self"),
    asyncio.Event.wait.__code__: ("Event", "self"),
    asyncio.Barrier.wait.__code__: ("Barrier", "self"),
    asyncio.Queue.get.__code__: ("Queue.get", "self"),
    asyncio.Queue.put.__code__: ("Queue.put", "self"),
    asyncio.Queue.join.__code__: ("Queue.join", "self"),
    asyncio.TaskGroup.__aexit__.__code__: ("TaskGroup", "self"),
    asyncio.StreamReader._wait_for_data.__code__: ("data", "self"),  # type: ignore[attr-defined]
    streams.FlowControlMixin._drain_helper.__code__: ("drain", "self"),  # type: ignore[attr-defined]
    base_events.Server.serve_forever.__code__: ("Server.serve_forever", "self"),
    base_events.Server.wait_closed.__code__: ("Server.wait_closed", "self"),
    asyncio.sleep.__code__: ("sleep", ""),
    tasks._wait.__code__: ("asyncio.wait", ""),  # type: ignore[attr-defined]
}
_WAIT = tasks._wait.__code__  # type: ignore[attr-defined]
_LOCK = asyncio.Lock.acquire.__code__


def awaited_future(task: asyncio.Task[Any]) -> Any:
    """Return the future whose end will wake the task; None if it is queued."""
    return getattr(task, "_fut_waiter", None)


def is_structured(task: asyncio.Task[Any]) -> bool:
    """Whether more than a waiting task is told when it ends: a task group, ``gather``, which cancel all or none."""
    callbacks = getattr(task, "_callbacks", None) or ()
    return any("wakeup" not in getattr(callback, "__qualname__", repr(callback)) for callback, _ in callbacks)


def shielded(future: Any) -> list[asyncio.Task[Any]]:
    """Return the tasks that live on by ``asyncio.shield`` if the future is cancelled."""
    found = []
    for child in getattr(future, "_children", ()):
        found += shielded(awaited_future(child) if isinstance(child, asyncio.Task) else child)
    for callback, _ in getattr(future, "_callbacks", None) or ():
        if getattr(callback, "__qualname__", "") == "shield.<locals>._outer_done_callback":
            found += [cell.cell_contents for cell in callback.__closure__ or ()]
    return [task for task in found if isinstance(task, asyncio.Task)]


def waited_for(task: asyncio.Task[Any]) -> tuple[Any, str] | None:
    """Return what the task waits for by ``asyncio.wait_for``, and the file that called it, until Python 3.11.

    There ``wait_for`` returns the result, if it comes together with a cancellation, and swallows that (gh-86296).
    """
    caller = ""
    for frame, _ in frames(task):
        future = frame.f_locals.get("fut") if frame.f_code is asyncio.wait_for.__code__ else None
        if isinstance(future, asyncio.Future) and "waiter" in frame.f_locals:
            return future, caller
        caller = frame.f_code.co_filename
    return None


def waiting(task: asyncio.Task[Any]) -> _Waiting:
    """Return what the task waits for in a word, the object, and the tasks whose end it waits for."""
    found: _Waiting | None = None
    frame: FrameType | None = None
    for frame, _ in frames(task):
        own = _of_frame(frame)
        if own is not None and (found is None or frame.f_code is _LOCK):
            # The outermost says it best (a barrier, not its condition), but locks have owners.
            found = own
    future = awaited_future(task)
    if found is not None:
        return found
    if future is None:
        return "its turn", None, []
    if frame is not None and frame.f_code is asyncio.wait_for.__code__:
        future = frame.f_locals.get("fut", future)  # until 3.11 it waits for a future of its own
    if isinstance(future, asyncio.Task):
        return "task", future, [future]
    children = getattr(future, "_children", None)
    if children is not None:
        return "gather", future, [child for child in children if not child.done()]
    return "future", future, []


def _of_frame(frame: FrameType) -> _Waiting | None:
    known = _PRIMITIVES.get(frame.f_code)
    if known is None:
        holder = frame.f_locals.get("self") if frame.f_code.co_name == "acquire" else None
        # anyio's Lock, and others that know their owner.
        return ("Lock", holder, []) if hasattr(holder, "_owner_task") else None
    what, variable = known
    thing = frame.f_locals.get(variable)
    if what == "TaskGroup":
        return what, thing, [task for task in thing._tasks if not task.done()] if thing is not None else []
    if frame.f_code is _WAIT:
        return what, None, [task for task in frame.f_locals.get("fs", ()) if not task.done()]
    return what, thing, []


def owner(lock: Any) -> Any:
    """Return the task that holds the lock, for locks that know."""
    return getattr(lock, "_owner_task", None)


def is_same_lock(condition: Any, lock: Any) -> bool:
    """Whether that is a condition which took this lock for its own."""
    return isinstance(condition, asyncio.Condition) and condition._lock is lock  # type: ignore[attr-defined]


def has_waiters(primitive: Any) -> bool:
    """Whether a task waits at this event or condition now."""
    return any(not future.done() for future in primitive._waiters)


def error_of(task: asyncio.Task[Any]) -> BaseException | None:
    """Return the exception of a task that has ended, without marking it as seen."""
    error: BaseException | None = getattr(task, "_exception", None)
    return error


def callbacks(handles: Any) -> list[Any]:
    """Return what is queued, oldest first."""
    return [handle._callback for handle in handles]


def purpose(callback: Any) -> str:
    """Return what a callback of a timer, a descriptor or a thread is for."""
    if callback is futures._set_result_unless_cancelled:  # type: ignore[attr-defined]
        return "sleep"
    function = getattr(callback, "func", callback)  # of a partial
    short = str(getattr(function, "__qualname__", "")).rpartition(".")[2]
    if short in ("_on_timeout", "_release_waiter", "_handle_timeout", "_timeout"):
        return "timeout"
    if short in ("_accept_connection", "_sock_accept", "_sock_connect_cb"):
        return "connection"
    return short


def protocol_of(callback: Any) -> Any:
    """Return the protocol that takes what a callback of a selector reads; None if it is no transport's."""
    transport = getattr(callback, "__self__", None)
    return transport.get_protocol() if isinstance(transport, asyncio.Transport) else None


def is_accepting(coroutine: Any) -> bool:
    """Whether a server's task does no more than make a transport of a connection that has come in."""
    return str(getattr(coroutine, "__qualname__", "")).endswith("SelectorEventLoop._accept_connection2")


def queue(loop: Any) -> list[Any]:
    """Return the callbacks that are queued in the controlled loop, oldest first."""
    return callbacks(loop._ready)


@contextmanager
def before_cancelling_all(look: Callable[[Any], object]) -> Iterator[None]:
    """Call ``look`` with the loop before an ``asyncio.Runner`` cancels what is left in it."""
    cancel_all = runners._cancel_all_tasks  # type: ignore[attr-defined]

    def look_and_cancel_all(loop: Any) -> None:
        look(loop)
        cancel_all(loop)

    runners._cancel_all_tasks = look_and_cancel_all  # type: ignore[attr-defined]
    try:
        yield
    finally:
        runners._cancel_all_tasks = cancel_all  # type: ignore[attr-defined]


def timers(loop: Any) -> list[Any]:
    """Return the controlled loop's timers that are still to fire."""
    return [timer for timer in loop._timers if not timer._cancelled]


def transport_of(loop: Any, sock: Any) -> Any:
    """Return the transport that reads from the socket, under TLS the one below it; None if there is none."""
    return loop._transports.get(sock.fileno())


def callback_of(handle: Any) -> Any:
    """Return what a timer will call."""
    return handle._callback
