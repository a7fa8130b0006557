"""The private names of asyncio that the plain runner needs.

They live beside the layers of the controlled loop and not in them, because a plain run has no use for those and should
not pay for importing them. Every function answers for foreign loops (uvloop) too, on the safe side.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import selectors
import signal
import sys
import threading
from asyncio import events
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import Context
from operator import attrgetter
from os import listdir  # here, not os.listdir: tests replace that one
from types import CodeType, FrameType, NoneType
from typing import Any
from weakref import WeakSet, WeakValueDictionary, ref

from pytest_interleave.clock.real import monotonic
from pytest_interleave.loop import own

try:
    # signal.getsignal wraps this in an enum look-up: 1.7 µs against 0.1 µs, and it is asked before every job.
    from _signal import getsignal as _getsignal  # type: ignore[import-not-found]
except ImportError:  # pragma: no cover - not CPython
    _getsignal = signal.getsignal

get_running_loop_or_none = asyncio._get_running_loop
_STOCK_LOOPS: tuple[type, ...] = tuple(
    getattr(asyncio, name) for name in ("SelectorEventLoop", "ProactorEventLoop") if hasattr(asyncio, name)
)
#: The callbacks of a future that stands for one of ``concurrent.futures``, as ``run_in_executor`` makes.
_OF_EXECUTORS = tuple(
    constant for constant in asyncio.futures._chain_future.__code__.co_consts if isinstance(constant, CodeType)
)
_get_policy = getattr(events, "_get_event_loop_policy", None) or asyncio.get_event_loop_policy
#: asyncio's own policy where loops are as in Unix; it wants to know of a loop only for its watcher of children.
_STOCK_POLICY = getattr(asyncio.unix_events, "_UnixDefaultEventLoopPolicy", None) if os.name == "posix" else None
_set_policy = getattr(events, "_set_event_loop_policy", None) or asyncio.set_event_loop_policy


def get_policy() -> Any:
    """Return the event loop policy, without the deprecation warning of 3.14."""
    return _get_policy()


def set_policy(policy: Any) -> None:
    """Set the event loop policy, without the deprecation warning of 3.14."""
    _set_policy(policy)


def get_current_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that ``asyncio.set_event_loop`` set in this thread, or None; never make one."""
    local = getattr(_get_policy(), "_local", None)
    loop: asyncio.AbstractEventLoop | None = getattr(local, "_loop", None)
    return loop


def set_current_loop(loop: asyncio.AbstractEventLoop | None) -> None:
    """Set the loop of this thread as ``asyncio.set_event_loop`` does, in one call in place of five."""
    policy = _get_policy()
    if type(policy) is _STOCK_POLICY and getattr(policy, "_watcher", None) is None:
        policy._local._loop, policy._local._set_called = loop, True
    else:
        asyncio.set_event_loop(loop)


def is_default_interrupt_handler_installed() -> bool:
    """Whether Ctrl-C still raises KeyboardInterrupt wherever the program happens to be."""
    return _getsignal(signal.SIGINT) is signal.default_int_handler


def has_callbacks(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether callbacks are queued that would run in the next iteration."""
    return bool(getattr(loop, "_ready", True))


def needs_shutdown_of_async_generators(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether ``shutdown_asyncgens`` has anything to do, or was replaced by the user."""
    return bool(getattr(loop, "_asyncgens", True)) or _is_replaced(loop, "shutdown_asyncgens")


def async_generators(loop: asyncio.AbstractEventLoop) -> list[Any]:
    """Return the async generators that were begun in the loop and have not ended."""
    return list(getattr(loop, "_asyncgens", ()))


def has_files(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether anything but its own pipe is registered in the loop's selector; False if it has none."""
    selector = getattr(loop, "_selector", None)
    return isinstance(selector, selectors.BaseSelector) and len(selector.get_map() or ()) > 1


def open_ends(loop: asyncio.AbstractEventLoop) -> list[tuple[Any, Any]]:
    """Return the transports and the servers that are registered in the loop's selector and are not being closed.

    With each server comes its protocol factory, with each transport its protocol.
    """
    found: dict[int, tuple[Any, Any]] = {}
    for key in list(loop._selector.get_map().values()):
        for handle in key.data if isinstance(key.data, tuple) else ():
            callback = getattr(handle, "_callback", None)
            owner = getattr(callback, "__self__", None)
            if isinstance(owner, asyncio.BaseTransport):
                if not owner.is_closing():
                    found[id(owner)] = owner, owner.get_protocol()
            elif (server := server_of(handle)) is not None:
                found[id(server)] = server, handle._args[0]
    return list(found.values())


def server_of(handle: Any) -> Any:
    """Return the server whose connections that callback of a selector accepts; None if it is another callback."""
    is_accepting = getattr(getattr(handle, "_callback", None), "__name__", "") == "_accept_connection"
    return handle._args[3] if is_accepting else None


def is_accepted(transport: Any) -> bool:
    """Whether a server of this loop made the transport, for a connection that came in."""
    return getattr(transport, "_server", None) is not None


def subprocess_of(protocol: Any) -> Any:
    """Return the transport of the subprocess whose pipe has this protocol, if it is one and the process runs."""
    transport = getattr(protocol, "proc", None)
    if isinstance(transport, asyncio.SubprocessTransport) and transport.get_returncode() is None:
        return transport
    return None


def waits_for_thread(task: asyncio.Task[Any]) -> bool:
    """Whether the task waits for what a thread of an executor does."""
    callbacks = getattr(getattr(task, "_fut_waiter", None), "_callbacks", None) or ()
    return any(getattr(callback, "__code__", None) in _OF_EXECUTORS for callback, _ in callbacks)


def needs_shutdown_of_executor(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether ``shutdown_default_executor`` has anything to do, or was replaced by the user."""
    return getattr(loop, "_default_executor", loop) is not None or _is_replaced(loop, "shutdown_default_executor")


def _is_replaced(loop: asyncio.AbstractEventLoop, name: str) -> bool:
    if name in getattr(loop, "__dict__", ()):
        return True
    kind = type(loop)
    return kind not in _STOCK_LOOPS and getattr(kind, name, None) is not getattr(asyncio.BaseEventLoop, name)


#: Whether a task was cancelled in its last step, so that the cancellation waits for its next suspension.
has_undelivered_cancel: Callable[[asyncio.Task[Any]], bool] = attrgetter("_must_cancel")


def drop_task(task: asyncio.Task[Any], waited_for: asyncio.Future[Any] | None) -> None:
    """Forget a task that will never be run again, without "Task was destroyed but it is pending"."""
    if waited_for is not None:
        for callback, _ in waited_for._callbacks or ():
            waited_for.remove_done_callback(callback)  # the task's, which would hold it
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    asyncio.tasks._unregister_task(task)  # something in a reference cycle may hold it, as a cancel scope of anyio's
    coroutine = task.get_coro()
    if coroutine is not None:
        coroutine.close()


def take_out(task: asyncio.Task[Any]) -> None:
    """Let asyncio forget a task that will not end: no complaint when it is collected, and nothing that wakes it."""
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    asyncio.tasks._unregister_task(task)
    waited_for = task._fut_waiter  # type: ignore[attr-defined]
    for callback, _ in getattr(waited_for, "_callbacks", None) or ():
        if getattr(callback, "__self__", None) is task:
            waited_for.remove_done_callback(callback)


def abandon_task(task: asyncio.Task[Any]) -> None:
    """Forget a task that will not end, without throwing anything into its coroutine again."""
    take_out(task)
    if not _abandoned:
        atexit.register(_close_abandoned)
    _abandoned.append(task)


#: Dropping the coroutine of such a task would run its clean-up now, and what goes wrong there would be some test's.
_abandoned: list[asyncio.Task[Any]] = []


def _close_abandoned() -> None:
    for task in _abandoned:
        with contextlib.suppress(BaseException):
            task.get_coro().close()  # type: ignore[union-attr]


def awaited_by(task: asyncio.Task[Any]) -> Any:
    """Return the future for which the task waits, if it waits."""
    return getattr(task, "_fut_waiter", None)


def joined_by(future: Any, frames: Iterable[FrameType]) -> list[Any]:
    """Return the tasks whose end somebody waits for who waits for that future, and stands in those frames."""
    if isinstance(future, asyncio.Task):
        return [future]
    found = list(getattr(future, "_children", ()))  # of gather
    for frame in frames:
        if frame.f_code is asyncio.TaskGroup.__aexit__.__code__:
            found += getattr(frame.f_locals["self"], "_tasks", ())
        elif frame.f_code is _WAIT:
            found += frame.f_locals["fs"]
    return found


_WAIT = asyncio.tasks._wait.__code__


def take_lost_exception(future: asyncio.Future[Any]) -> BaseException | None:
    """Return the exception that nobody has asked the future for; it is asked for now."""
    if not getattr(future, "_log_traceback", False):
        return None
    return future.exception()


def is_left(timeout: asyncio.Timeout) -> bool:
    """Whether the ``async with`` of that timeout, which has expired, is over."""
    return timeout._state.value != "expiring"  # type: ignore[attr-defined,no-any-return]


def count_tasks() -> int:
    """Return an upper bound of the number of living tasks in all loops, cheaply; -1 if it is not known.

    ``asyncio.all_tasks`` costs 4.6 µs (3.11), a tenth of a loop's life; this costs 0.3 µs.
    """
    return -1 if _registry is None else len(_registry.data) + len(_eager)


def list_tasks() -> list[asyncio.Task[Any]]:
    """Return all tasks that are alive, done ones too; none where asyncio does not tell (3.14)."""
    if _registry is None:
        return []
    while True:
        try:
            return [*_registry, *_eager]
        except RuntimeError:  # a loop in another thread has made a task meanwhile; asyncio.all_tasks tries again, too
            continue


def entry_of(task: asyncio.Task[Any]) -> Any:
    """Return what stands for the task in asyncio's list of all tasks, for ``hide`` and ``show``."""
    if _registry is None:
        return task
    entry = ref(task, _registry._remove)
    hash(entry)  # it is kept, and cannot be asked for the first time when the task is gone
    return entry


def hide(entry: Any) -> None:
    """Let asyncio not list that task, until it is shown again. asyncio's own function costs eight times as much."""
    if _registry is None:
        asyncio.tasks._unregister_task(entry)
    else:
        _registry.data.discard(entry)


def show(entry: Any) -> None:
    """Let asyncio list that task again."""
    if _registry is None:
        asyncio.tasks._register_task(entry)
    else:
        _registry.data.add(entry)


def _find_registry() -> tuple[Any, Any]:
    if sys.version_info >= (3, 14):
        return None, ()
    name = "_scheduled_tasks" if sys.version_info >= (3, 12) else "_all_tasks"
    return getattr(asyncio.tasks, name, None), getattr(asyncio.tasks, "_eager_tasks", ())


_registry, _eager = _find_registry()


#: When the current turn of a loop of ours began.
beat = [0.0]
#: The code that calls a callback; its frame is another one for each.
RUN_CALLBACK = events.Handle._run.__code__
#: The code of a controlled loop's turn, which calls callbacks itself; its ``step`` is the current one.
turns: set[CodeType] = set()


#: Whether a loop of ours waits: what is queued in it now, another thread queues. May be so for too long, in doubt.
_waiting = False


class IdleSelector(selectors.DefaultSelector):
    """A selector that says so before it would wait without a time limit, and while it does."""

    #: Called with the loop that is about to wait for ever, if nothing wakes it from outside, and the seconds for which
    #: it has waited already; returns in how many it wants to be called again, or None.
    on_idle: Callable[[asyncio.AbstractEventLoop, float], float | None] | None = None

    def select(self, timeout: float | None = None) -> Any:
        global _waiting
        if timeout is None and IdleSelector.on_idle is not None:
            loop = get_running_loop_or_none()
            if isinstance(loop, SpareLoop) and loop._selector is self:
                return self._wait(loop, IdleSelector.on_idle)
        if timeout == 0:
            ready = super().select(timeout)
        else:
            _waiting = True
            ready = super().select(timeout)
            _waiting = False
        beat[0] = monotonic()
        return ready

    def _wait(
        self, loop: asyncio.AbstractEventLoop, on_idle: Callable[[asyncio.AbstractEventLoop, float], float | None]
    ) -> Any:
        global _waiting
        silent = 0.0
        ready: list[Any] = []
        while not ready:
            seconds = on_idle(loop, silent)
            _waiting = True
            ready = super().select(seconds)
            _waiting = False
            if seconds is None or has_callbacks(loop):
                break
            silent += seconds
        beat[0] = monotonic()
        return ready


def can_be_woken(
    loop: SpareLoop,
    resting_threads: frozenset[str],
    has_usual_interrupt_handler: bool,
    quiet_files: frozenset[int] = frozenset(),
) -> bool:
    """Whether anything outside the loop might wake it, as far as can be known; True in doubt.

    Nothing can where only the loop's own pipe is registered and ``quiet_files``, no signal has a handler of the user's,
    no alarm is set, and all threads of the process but this one are ``resting_threads``; the system counts them,
    because those of C libraries call back too.
    """
    if len(loop._selector.get_map().keys() - quiet_files) != 1 or loop._signal_handlers:  # type: ignore[attr-defined]
        return True
    handlers = [handler for number in _SIGNALS if callable(handler := _getsignal(number))]
    others = [handler for handler in handlers if handler not in own.handlers]
    if others or (signal.getitimer(signal.ITIMER_REAL)[0] and not callable(_getsignal(signal.SIGALRM))):
        return True
    if not has_usual_interrupt_handler:
        return True
    threads = list_threads()
    if not threads or not threads <= resting_threads | own.threads | {str(threading.get_native_id())}:
        return True
    # A thread that has just ended may have left something first, as one that waited for a subprocess: so look last.
    return has_callbacks(loop)


def files(loop: asyncio.AbstractEventLoop) -> frozenset[int]:
    """Return what is registered in the loop's selector, but for its own pipe."""
    selector: Any = loop._selector  # type: ignore[attr-defined]
    return frozenset(selector.get_map().keys() - {loop._ssock.fileno()})  # type: ignore[attr-defined]


def has_timers(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a timer is set that nobody has cancelled."""
    return any(not timer.cancelled() for timer in getattr(loop, "_scheduled", ()))


def has_alarm() -> bool:
    """Whether the process's alarm is set."""
    return hasattr(signal, "getitimer") and signal.getitimer(signal.ITIMER_REAL)[0] > 0


def list_threads() -> frozenset[str]:
    """Return the system's numbers of all threads of the process; none where it does not tell."""
    try:
        return frozenset(listdir("/proc/self/task"))
    except OSError:  # not Linux
        return frozenset()


#: Signals that somebody may handle and send: all but Ctrl-C, which is not one that a test waits for.
_SIGNALS = tuple(signal.valid_signals() - {signal.SIGINT})


def turn_until_stopped(loop: Any, turn: Callable[[], object]) -> bool:
    """Do what ``run_forever`` of asyncio does, less the calls that do nothing outside of debug mode.

    Return whether it is done: not in debug mode, and not where asyncio would refuse.
    """
    if loop._debug or loop._closed or loop._thread_id is not None or get_running_loop_or_none() is not None:
        return False
    hooks = sys.get_asyncgen_hooks()
    try:
        loop._thread_id = threading.get_ident()
        sys.set_asyncgen_hooks(firstiter=loop._asyncgen_firstiter_hook, finalizer=loop._asyncgen_finalizer_hook)
        asyncio._set_running_loop(loop)
        while True:
            turn()
            if loop._stopping:
                return True
    finally:
        loop._stopping = False
        loop._thread_id = None
        asyncio._set_running_loop(None)
        if loop._coroutine_origin_tracking_enabled:  # debug mode was turned on meanwhile
            loop._set_coroutine_origin_tracking(False)
        sys.set_asyncgen_hooks(*hooks)


class _Wake(asyncio.Handle):
    """What a selector calls when its loop is woken through the pipe; goes from loop to loop with the pipe."""

    __slots__ = ()

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(_do_nothing, (), loop, Context())

    def serve(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
        """Wake that loop."""
        self._loop, self._callback = loop, callback

    def rest(self) -> None:
        """Hold no loop."""
        self._loop, self._callback = None, _do_nothing  # type: ignore[assignment]


def _do_nothing() -> None:
    """Be called by no loop."""


class SpareLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop, which leaves its selector and its self-pipe to the next one when it is closed.

    They are 30 of the 45 µs that a new loop costs between two tests (3.11, eight system calls). A selector in which
    anything else is still registered is closed, as ever. Its two weak containers go with them if they are empty.
    """

    #: What closed loops left: the attributes that the next one takes over, as they are.
    _spares: list[dict[str, Any]] = []  # noqa: RUF012 - shared
    #: What a new loop begins with, and what makes the containers among it; None: not known, or no copy will do.
    _template: tuple[dict[str, Any], tuple[tuple[str, Callable[[], Any]], ...]] | None = None
    #: Whether a child process forgets what there is to take over.
    _is_fork_seen = False

    #: Called with a loop that waits, and with the frame that has just queued something in it from another thread.
    on_wrong_thread: Callable[[asyncio.AbstractEventLoop, FrameType], object] | None = None

    _wake: _Wake | None = None
    #: What it took over, to be left to the next loop; None: nothing.
    _spare: dict[str, Any] | None = None

    def __init__(self) -> None:
        template = SpareLoop._template
        if template is None or not SpareLoop._spares or _is_debug_mode():
            super().__init__(IdleSelector())
            if template is None and not self.get_debug():
                SpareLoop._template = _as_template(self)
            return
        spare = SpareLoop._spares.pop()
        attributes = self.__dict__
        attributes.update(template[0])
        attributes.update(spare)
        for name, make in template[1]:
            attributes[name] = make()
        self._spare = spare
        spare["_wake"].serve(self, self._read_from_self)  # type: ignore[attr-defined]

    def run_forever(self) -> None:
        """Run until ``stop`` is called: as asyncio does it, less what is not needed."""
        if not turn_until_stopped(self, self._turn):
            super().run_forever()

    def _turn(self) -> None:
        # Of a fixture or a test that waits for nothing, one callback is ready, and nothing is waited for that
        # could make another one so. To ask the system all the same is a third of what a turn costs. (Timers,
        # signals or files may make callbacks ready, and debug mode wants to see each turn.)
        loop: Any = self
        is_in_need = loop._scheduled or loop._signal_handlers or loop._debug
        if len(loop._ready) != 1 or is_in_need or len(loop._selector._fd_to_key) != 1:
            loop._run_once()
        else:
            beat[0] = monotonic()
            handle = loop._ready.popleft()
            if not handle._cancelled:
                handle._run()

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> asyncio.Handle:
        """Call the callback in the next turn: as asyncio does it, in one call in place of four."""
        loop: Any = self
        if loop._closed or loop._debug:
            return super().call_soon(callback, *args, context=context)
        if _waiting:
            self._look_at_thread(sys._getframe(1))
        handle = asyncio.Handle(callback, args, self, context)
        loop._ready.append(handle)
        return handle

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call the callback at that time, which a loop that waits does not hear of if another thread says so."""
        loop: Any = self
        if _waiting and not (loop._closed or loop._debug):
            self._look_at_thread(sys._getframe(1))
        timer: Any = super().call_at(when, callback, *args, context=context)
        if timer._source_traceback:
            del timer._source_traceback[-1]
        return timer  # type: ignore[no-any-return]

    def _look_at_thread(self, frame: FrameType) -> None:
        loop: Any = self
        if loop._thread_id not in (None, threading.get_ident()) and SpareLoop.on_wrong_thread is not None:
            SpareLoop.on_wrong_thread(self, frame)

    def has_nothing_to_finish(self) -> bool:
        """Whether the loop runs nothing that a host would have to end before it closes it, nor would tell of."""
        loop: Any = self
        return not (
            loop._ready
            or loop._asyncgens.data
            or loop._default_executor is not None
            or loop._closed
            or not self._has_pipe_alone()
            or "shutdown_asyncgens" in self.__dict__
            or "shutdown_default_executor" in self.__dict__
        )

    def _has_pipe_alone(self) -> bool:
        """Whether nothing but the loop's own pipe is registered in its selector."""
        selector: Any = self._selector
        return len(selector._fd_to_key) == 1

    def close(self) -> None:
        """Close the loop: as asyncio does it, in one call where there is nothing to be closed."""
        loop: Any = self
        is_used = loop._signal_handlers or loop._debug or loop._default_executor is not None or loop._closed
        if is_used or self._wake is None or loop._thread_id is not None or not self._can_leave_pipe():
            super().close()
            return
        loop._closed = True
        loop._ready.clear()
        loop._scheduled.clear()
        loop._executor_shutdown_called = True
        self._leave_pipe()

    def __del__(self) -> None:
        if not self._closed:  # type: ignore[attr-defined]
            super().__del__()  # type: ignore[misc]

    def _close_self_pipe(self) -> None:
        if self._can_leave_pipe():
            self._leave_pipe()
        else:
            super()._close_self_pipe()  # type: ignore[misc]

    def _can_leave_pipe(self) -> bool:
        # What somebody put in place of the selector's methods is meant for this loop alone.
        is_as_new = self._selector is not None and "select" not in vars(self._selector)
        return is_as_new and self._has_pipe_alone() and not SpareLoop._spares

    def _leave_pipe(self) -> None:
        loop: Any = self
        spare = self._spare
        if spare is None:
            reader, _ = loop._selector.get_key(loop._ssock).data
            reader.cancel()  # it holds the loop
            wake = _Wake(self)
            loop._selector.modify(loop._ssock, selectors.EVENT_READ, (wake, None))
            spare = {"_selector": loop._selector, "_ssock": loop._ssock, "_csock": loop._csock, "_wake": wake}
            spare.update(_asyncgens=WeakSet(), _transports=WeakValueDictionary())
        elif loop._asyncgens.data or loop._transports.data:
            spare.update(_asyncgens=WeakSet(), _transports=WeakValueDictionary())
        spare["_wake"].rest()
        self.__dict__.update(_WITHOUT_PIPE)
        SpareLoop._spares.append(spare)
        if not SpareLoop._is_fork_seen and hasattr(os, "register_at_fork"):
            # A child process shares the parent's: it must not change what is registered there.
            SpareLoop._is_fork_seen = True
            os.register_at_fork(after_in_child=SpareLoop.close_spares)

    @classmethod
    def close_spares(cls) -> None:
        """Close what the last loop left."""
        while cls._spares:
            spare = cls._spares.pop()
            for name in ("_selector", "_ssock", "_csock"):
                spare[name].close()


def _as_template(loop: SpareLoop) -> Any:
    """Return with what a new loop begins, to be copied in place of asyncio's five constructors, a third of its cost."""
    values: dict[str, Any] = {}
    makers: list[tuple[str, Callable[[], Any]]] = []
    for name, value in vars(loop).items():
        if name in _WITHOUT_PIPE:
            continue  # it comes with the pipe
        if isinstance(value, (bool, int, float, NoneType)):
            values[name] = value
        elif type(value) in _CONTAINERS and not len(value):
            makers.append((name, type(value)))
        else:
            return None  # of a Python to come
    values["_internal_fds"] = 1
    return values, tuple(makers)


_CONTAINERS = (deque, list, dict)
#: What a loop has when it has left its pipe. (Weak containers cost three times as much as all others.)
_WITHOUT_PIPE: dict[str, Any] = {
    "_selector": None,
    "_ssock": None,
    "_csock": None,
    "_wake": None,
    "_spare": None,
    "_asyncgens": WeakSet(),
    "_transports": WeakValueDictionary(),
    "_internal_fds": 0,
}
_DEBUG = getattr(os.environ, "encodekey", str)("PYTHONASYNCIODEBUG")


def _is_debug_mode() -> bool:
    """Whether a new loop is in debug mode; asyncio asks ``os.environ``, which encodes and decodes."""
    environment = getattr(os.environ, "_data", None)
    if environment is None or _DEBUG in environment:
        return bool(asyncio.coroutines._is_debug_mode())
    return sys.flags.dev_mode


def new_loop() -> asyncio.AbstractEventLoop:
    """Return a loop as ``asyncio.new_event_loop`` does, cheaper where that is asyncio's own selector loop."""
    policy = _get_policy()
    if type(policy).__module__ == "asyncio.unix_events" and policy._loop_factory is asyncio.SelectorEventLoop:
        return SpareLoop()
    return asyncio.new_event_loop()
