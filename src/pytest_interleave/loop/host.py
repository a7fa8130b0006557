"""The plain runner's loop: one long-lived task in which fixtures and tests run one after another.

``Host.run`` hands a coroutine (a *job*: a fixture's set-up, a test, a tear-down) to the host's task and drives the
loop until the job has ended. All jobs are one task, so a task group, a cancel scope or a timeout may be opened in a
fixture's set-up and closed in its tear-down, and what happens in it meanwhile reaches the test. Rules:

- between two jobs the loop stands still, and the task waits for a future of ours; asyncio does not list it then, for
  suites compare what it lists before and after a test;
- a cancellation that arrives then, in the very iteration in which a job ended, is kept for the next job that may be
  cancelled (a set-up or a test); tear-downs are never struck by it;
- whatever a job raises leaves ``run`` as it is; the loop stays usable, unless the job refuses to end.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Generator, Iterable
from contextvars import Context, copy_context
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pytest_interleave.errors import Deadlocked, InterleaveError, RunEnded
from pytest_interleave.loop import _plain
from pytest_interleave.loop.cancellation import Cancellation, Crash, Expired, Interrupt, Requested, find_cancellation

__all__ = [
    "Cancellation",
    "Crash",
    "Expired",
    "Host",
    "Interrupt",
    "Interrupts",
    "NestedLoopError",
    "Requested",
    "hosts",
]

if TYPE_CHECKING:
    from pytest_interleave.loop.swallowing import Cancelled as _Cancelled
    from pytest_interleave.loop.swallowing import Stand

_T = TypeVar("_T")
LEFT_RUNNING = "unhandled exception in a task that was left running"
_STOPPED = "Event loop stopped before Future completed."
#: ``Runner.close`` gives the loop as many iterations; a transport needs two of them to close its socket.
_LAST_ITERATIONS = 4
#: So long a task that waits for a thread may take to end by itself: closing a file takes a hundredth of it.
_GRACE_FOR_THREADS_SECONDS = 0.1
#: So long what is cancelled at the end may take, before anybody asks whether it heard of that.
_PATIENCE_SECONDS = 3.0
#: After so many times of that, who has long left the handler of its cancellation is not waited for.
_MOST_PATIENCE = 3


class NestedLoopError(InterleaveError, RuntimeError):
    """A job was to be run while a loop is running in this thread."""


class _HostTask(asyncio.Task[Any]):
    """The task of a host, which asks its host before it is cancelled."""

    host: Host | None  # None when it is not to be run any more

    def cancel(self, msg: Any | None = None) -> bool:
        host = self.host
        return False if host is None else host.cancel(msg, self, sys._getframe(1))

    def strike(self, msg: Any | None) -> bool:
        return super().cancel(msg)


class Watcher(Protocol):
    """Wants to know what is left behind."""

    def left_running(self, owner: Any, tasks: Iterable[asyncio.Task[Any]]) -> None:
        """Take tasks that are pending, before they are cancelled."""

    def left_open(self, owner: Any, generators: Iterable[Any]) -> None:
        """Take async generators that are suspended, before they are closed."""

    def swallowed(self, owner: Any, task: asyncio.Task[Any], *, is_own: bool, cancelled_at: Stand) -> None:
        """Take a task that was cancelled there and goes on; ``is_own``: it runs the test, or a fixture."""

    def left_unclosed(self, owner: Any, loop: asyncio.AbstractEventLoop) -> None:
        """Look at what was opened in the loop, which is about to end."""

    def left_connected(self, owner: Any, ends: Iterable[tuple[Any, Any]]) -> None:
        """Take transports and servers that are open when nothing runs any more, each with its protocol or factory."""


class _Hosts:
    """What changes with each host that opens or closes.

    Not attributes of the class of hosts: to set one is to change the class, and Python forgets how its attributes are
    found; for good once that has happened a thousand times (3.13).
    """

    __slots__ = ("ending", "open")

    def __init__(self) -> None:
        #: Open hosts whose task asyncio may list; with ``count_tasks``, tells whether there may be other tasks.
        self.open = 0
        #: The loop in which a host ends what was left: what goes wrong there is not what the tests do.
        self.ending: asyncio.AbstractEventLoop | None = None


hosts = _Hosts()


class Host:
    """One event loop and the one task in which its fixtures and tests run.

    Takes any loop. ``context`` is the context of the task; jobs that bring another one are stepped inside theirs.
    """

    #: Hosts that are running a job, innermost last: pytest in pytest runs one inside the other.
    running: list[Host] = []  # noqa: RUF012 - shared on purpose
    #: Told of what the host leaves behind when it closes; ``owner`` is whatever it wants to know the host by.
    watcher: Watcher | None = None
    owner: Any = None
    #: Tells whether nothing can wake a loop, timers that are set and threads included; None: nobody knows.
    is_dead: Callable[[asyncio.AbstractEventLoop], bool] | None = None
    #: Called with what somebody else raised past the job, before that is cancelled.
    on_foreign: Callable[[asyncio.AbstractEventLoop, BaseException], object] | None = None
    #: What was opened in hosts' loops that a loop does not know of, by its id. Who watches sees to it.
    opened: dict[int, Any] = {}  # noqa: RUF012 - shared on purpose

    def __init__(self, loop: asyncio.AbstractEventLoop, context: Context | None = None) -> None:
        self.loop = loop
        self.context = context if context is not None else copy_context()
        #: Reasons for which the current job was cancelled, oldest first.
        self.cancellations: list[Cancellation] = []
        #: Async generators that jobs left suspended, each by whatever it is of: fixtures between set-up and tear-down.
        self.suspended: dict[Any, Any] = {}
        self._task: _HostTask | None = None
        self._wake: asyncio.Future[None] | None = None
        self._job: Awaitable[Any] | None = None
        self._value: Any = None
        self._error: BaseException | None = None
        self._may_be_cancelled = False
        self._is_last = False
        self._is_started = False  # whether the task has begun with the job
        self._entry: Any = None  # of the task, in asyncio's list
        self._is_hidden = False  # whether it is taken out of there
        self._late: Cancellation | None = None
        hosts.open += 1

    def __repr__(self) -> str:
        state = "running" if self._job is not None else "closed" if self.loop.is_closed() else "idle"
        return f"<Host {state} {self.loop!r}>"

    @property
    def task(self) -> asyncio.Task[Any] | None:
        """The task that runs the jobs; None before the first one."""
        return self._task

    # -- jobs ----------------------------------------------------------------------------------------------------

    def run(
        self,
        job: Awaitable[_T],
        context: Context | None = None,
        *,
        may_be_cancelled: bool = False,
        is_last: bool = False,
    ) -> _T:
        """Run the job to its end in the host's task, and return its value or raise what it raised.

        ``may_be_cancelled`` says that a cancellation that came between two jobs is meant for this one. ``is_last`` says
        that no other is expected: the task ends with it, which is cheaper; should there be one, it gets a new task.
        """
        __tracebackhide__ = True
        if _plain.get_running_loop_or_none() is not None:
            _close(job)
            raise NestedLoopError("an event loop is running in this thread already")
        if context is not None and context is not self.context:
            job = InContext(job, context)
        self._job = job
        self._may_be_cancelled = may_be_cancelled
        self._is_last = is_last
        self._is_started = False
        self.cancellations.clear()
        task = self._prepare_task()
        if may_be_cancelled and self._late is not None:
            self.cancellations.append(self._late)
            self._late = None
        Host.running.append(self)
        try:
            self.loop.run_forever()
            if self._job is not None:  # somebody else called loop.stop()
                self._abandon_job()
                raise RuntimeError(_STOPPED)
        except RunEnded as ended:
            self._abandon_job()
            raise ended.with_traceback(None) from None  # the frames are the loop's, and say nothing of the test
        except BaseException as foreign:  # an alarm of somebody else's (pytest-timeout), or the loop's own error
            if self._job is not None:
                if Host.on_foreign is not None:
                    Host.on_foreign(self.loop, foreign)
                self._abandon_job(_PATIENCE_SECONDS)
            self._error = self._value = None
            raise
        finally:
            Host.running.pop()
            if not is_last:  # it ends with its last job
                self._hide_task()
        error = self._error
        if error is None:
            value = self._value
            self._value = None
            return value
        self._error = None
        try:
            if isinstance(error, asyncio.CancelledError) and self.was_interrupted:
                task.uncancel()
                raise KeyboardInterrupt from None
            raise error
        finally:
            del error  # its traceback holds this frame

    @property
    def was_interrupted(self) -> bool:
        """Whether Ctrl-C cancelled the current or last job."""
        return any(isinstance(reason, Interrupt) for reason in self.cancellations)

    def _prepare_task(self) -> _HostTask:
        task = self._task
        if task is None or task.done():
            # Not loop.create_task: a task factory of the user's is for the user's tasks, and an eager one would start
            # the job before the loop runs.
            task = _HostTask(self._serve(), loop=self.loop, name="pytest-interleave", context=self.context)
            task.host = self
            self._task = task
            self._entry = None
            self._note_listed()
            adopt = getattr(self.loop, "adopt", None)
            if adopt is not None:  # a controlled loop, which numbers its tasks
                adopt(task, "test")
        else:
            if self._is_hidden:
                _plain.show(self._entry)
                self._note_listed()
            if self._wake is not None and not self._wake.done():
                self._wake.set_result(None)
        return task

    def _hide_task(self) -> None:
        """Let asyncio not list the task while it waits for the next job."""
        task = self._task
        if task is not None and not task.done():
            if self._entry is None:
                self._entry = _plain.entry_of(task)
            _plain.hide(self._entry)
            self._is_hidden = True
            hosts.open -= 1

    def _note_listed(self) -> None:
        if self._is_hidden:
            self._is_hidden = False
            hosts.open += 1

    async def _serve(self) -> None:
        __tracebackhide__ = True
        loop = self.loop
        task = asyncio.current_task()
        assert isinstance(task, _HostTask)
        is_plain = not hasattr(loop, "adopt")
        while True:
            while (job := self._job) is None:
                self._wake = loop.create_future()
                try:
                    await self._wake
                except asyncio.CancelledError:
                    continue  # it was meant for the last job, which had ended
            self._is_started = True
            if self.cancellations and self._task is not None:
                self._task.strike(None)
            try:
                self._value = await job
            except GeneratorExit as error:
                if task.host is None or _plain.get_running_loop_or_none() is not loop:
                    raise  # the task is being dropped
                self._error = error
            except BaseException as error:
                self._error = error
            del job
            if self._task is not task:
                return  # abandoned meanwhile: another task serves
            if self._error is None and _plain.has_undelivered_cancel(task):
                # The job cancelled its own task and returned: for a task of its own that is a cancelled task.
                self._error = asyncio.CancelledError()
            self._job = None
            if is_plain and _plain.has_callbacks(loop):
                loop.call_soon(loop.stop)  # after what the job has asked for, as in asyncio.run
            else:
                loop.stop()
            if self._is_last:
                return

    def _abandon_job(self, seconds: float | None = None) -> None:
        """Cancel the current job and give it the chance to clean up, for so long if nothing else ends that."""
        assert self._task is not None
        relax = getattr(self.loop, "relax", None)
        if relax is not None:
            relax()
        cancelled = _cancelled(asyncio.all_tasks(self.loop)) if self.watcher is not None else None
        self._task.strike(None)
        timer = self.loop.call_later(seconds, self.loop.stop) if seconds is not None else None
        try:
            self.loop.run_forever()
            if self._job is not None and cancelled is not None:
                self._abandon_stuck(cancelled, is_late=True)
        except RunEnded as ended:  # it does not end; the run has ended all the same
            if cancelled is not None:
                cancelled.forget_unreached()
                self._abandon_stuck(cancelled, is_dead=isinstance(ended, Deadlocked))
        finally:
            if timer is not None:
                timer.cancel()
            if self._job is not None:  # stuck: close() cancels its task again, the next job gets a new one
                if not self._is_started:
                    _close(self._job)
                self._task = None
                self._job = None
            self._error = self._value = None

    # -- cancellation --------------------------------------------------------------------------------------------

    def cancel(self, message: Any, task: _HostTask, frame: FrameType | None) -> bool:
        """Cancel the current job, or keep the cancellation for the next one; remember the reason."""
        if task.done():
            return False
        if task is not self._task:  # the task of an abandoned job
            return task.strike(message)
        reason = find_cancellation(frame, message)
        if self._job is None or not (self._is_started or self._may_be_cancelled):
            self._late = reason
            return True
        self.cancellations.append(reason)
        return task.strike(message) if self._is_started else True

    def interrupt(self) -> bool:
        """Cancel the current job because of Ctrl-C; return whether this was the first time."""
        if self._job is None or self._task is None or self.was_interrupted:
            return False
        self.cancellations.append(Interrupt())
        if self._is_started:
            self._task.strike(None)
        self.loop.call_soon_threadsafe(_do_nothing)  # the selector may be asleep
        return True

    def forget_cancellations(self, count: int = 0) -> None:
        """Bring ``cancelling()`` of the host's task back to ``count``: what a test asked for ends with the test."""
        if self._task is not None:
            while self._task.cancelling() > count:
                self._task.uncancel()

    # -- the end -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Cancel what was left running, shut down what was used, close the loop; as ``asyncio.Runner`` does."""
        loop = self.loop
        try:
            self._finish_task()
            if loop.is_closed():
                raise RuntimeError("Event loop is closed")
            hosts.ending = loop
            self.finish_leftovers()
        finally:
            hosts.ending = None
            loop.close()

    def release(self) -> None:
        """End the host's task and leave the loop to its owner."""
        self._finish_task()
        if not self.loop.is_closed():
            self._cancel_tasks()

    def finish_leftovers(self) -> None:
        """Leave nothing to run in the loop, and close nothing but what the loop itself opened."""
        loop = self.loop
        if isinstance(loop, _plain.SpareLoop):
            self._cancel_tasks()
            if loop.has_nothing_to_finish():
                if Host.opened and self.watcher is not None:
                    self.watcher.left_unclosed(self.owner, loop)
                return
        clear = getattr(loop, "clear", None)
        if clear is not None:  # a controlled loop: bounded, whatever its tasks do
            if self.watcher is not None:
                self._tell_while_ending(self.watcher)
            if clear() and self.watcher is None:
                return
        self._cancel_tasks()
        if _plain.needs_shutdown_of_async_generators(loop):
            if self.watcher is not None:
                self.watcher.left_open(self.owner, _plain.async_generators(loop))
            loop.run_until_complete(loop.shutdown_asyncgens())
        if not getattr(loop, "keeps_executor", False) and _plain.needs_shutdown_of_executor(loop):
            loop.run_until_complete(loop.shutdown_default_executor())
        self._iterate_at_most(_LAST_ITERATIONS)
        if self.watcher is not None:
            self._tell_of_connections(self.watcher)

    def _tell_of_connections(self, watcher: Watcher) -> None:
        """Tell of what is open still."""
        if Host.opened:
            watcher.left_unclosed(self.owner, self.loop)
        if _plain.has_files(self.loop):
            self._iterate()  # the other side may have closed; let it be read, and answered
            self._iterate_at_most(_LAST_ITERATIONS)
            watcher.left_connected(self.owner, _plain.open_ends(self.loop))

    def _tell_while_ending(self, watcher: Watcher) -> None:
        """End what was left in a controlled loop, and tell of each thing before it is ended."""
        loop: Any = self.loop
        loop.relax()
        try:
            watcher.left_running(self.owner, self.pending_after_grace(self.tasks()))
            loop.end_tasks()
            watcher.left_open(self.owner, _plain.async_generators(loop))
            loop.end_async_generators()
            self._tell_of_connections(watcher)
        except RunEnded:
            pass  # it does not end; clear() sees to that

    def _iterate_at_most(self, count: int) -> None:
        for _ in range(count):
            if not _plain.has_callbacks(self.loop):
                break
            self._iterate()

    def _iterate(self) -> None:
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()

    def pending_after_grace(self, tasks: Iterable[asyncio.Task[Any]]) -> list[asyncio.Task[Any]]:
        """Return those of the tasks which do not end in a few iterations of the loop, nor soon in a thread."""
        pending = [task for task in tasks if not task.done()]
        for _ in range(_LAST_ITERATIONS):
            if not pending or self.loop.is_closed():
                break
            if not _plain.has_callbacks(self.loop) and not _plain.has_files(self.loop):
                break  # what a connection brings would come in the next iterations
            self._iterate()
            pending = [task for task in pending if not task.done()]
        in_threads = [task for task in pending if _plain.waits_for_thread(task)]
        if in_threads and not self.loop.is_closed():
            self._wait_for(asyncio.gather(*in_threads, return_exceptions=True), _GRACE_FOR_THREADS_SECONDS)
            pending = [task for task in pending if not task.done()]
        return pending

    def _finish_task(self) -> None:
        # No reference cycle may stay: one in each test makes the garbage collector run often.
        task, self._task = self._task, None
        wake, self._wake = self._wake, None
        if not self._is_hidden:
            hosts.open -= 1
        if task is not None:
            task.host = None
            if not task.done():
                _plain.drop_task(task, wake)

    def tasks(self) -> list[asyncio.Task[Any]]:
        """Return the tasks of the loop that are not done, but for the host's own."""
        tasks = asyncio.all_tasks(self.loop)
        return [task for task in tasks if task is not self._task and getattr(task, "host", self) is not None]

    def _cancel_tasks(self) -> None:
        if 0 <= _plain.count_tasks() <= hosts.open:
            return
        tasks = self.tasks()
        if tasks and self.watcher is not None:
            tasks = self.pending_after_grace(tasks)
            self.watcher.left_running(self.owner, tasks)
        if not tasks:
            return
        self._cancel_and_wait(tasks)
        for task in tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                self.loop.call_exception_handler({"message": LEFT_RUNNING, "exception": error, "task": task})

    def _cancel_and_wait(self, tasks: list[asyncio.Task[Any]]) -> None:
        """Cancel the tasks and wait until they have ended, but not for those that go on all the same."""
        cancelled = _cancelled(tasks)
        for task in tasks:
            task.cancel()
        ending = asyncio.gather(*tasks, return_exceptions=True)
        abandoned: list[asyncio.Task[Any]] = []
        rounds = 0
        try:
            while not all(task.done() or task in abandoned for task in tasks):
                self._wait_for(ending, _PATIENCE_SECONDS)
                rounds += 1
                if not ending.done():
                    is_dead = Host.is_dead is not None and Host.is_dead(self.loop)
                    abandoned += self._abandon_stuck(cancelled, is_late=rounds >= _MOST_PATIENCE, is_dead=is_dead)
        except RunEnded:  # its time limit; it would wait for them in the next tear-down again
            self._abandon_stuck(cancelled)
            raise

    def _wait_for(self, ending: asyncio.Future[Any], seconds: float) -> None:
        """Run the loop until the future is done, but no longer than that."""
        moment = self.loop.create_future()

        def end(_: object) -> None:
            if not moment.done():
                moment.set_result(None)

        timer = self.loop.call_later(seconds, end, None)
        ending.add_done_callback(end)
        try:
            self.loop.run_until_complete(moment)
        finally:
            timer.cancel()
            ending.remove_done_callback(end)

    def _abandon_stuck(
        self, cancelled: _Cancelled, *, is_late: bool = False, is_dead: bool = False
    ) -> list[asyncio.Task[Any]]:
        """Tell of tasks that swallow their cancellation; wait no longer for them, nor for who waits for them."""
        swallowers, stuck = cancelled.stuck(is_late=is_late, is_dead=is_dead)
        if self.watcher is not None:
            for task in swallowers:
                self.watcher.swallowed(
                    self.owner, task, is_own=isinstance(task, _HostTask), cancelled_at=cancelled.stand_of(task)
                )
        for task in stuck:
            if isinstance(task, _HostTask):
                task.host = None
                if task is self._task:
                    self._task = None
            _plain.abandon_task(task)
        return stuck


class InContext:
    """Steps an awaitable inside a context that is not the task's own."""

    __slots__ = ("awaitable", "context")

    def __init__(self, awaitable: Any, context: Context) -> None:
        self.awaitable = awaitable
        self.context = context

    def __await__(self) -> Generator[Any, Any, Any]:
        __tracebackhide__ = True
        run = self.context.run
        # Coroutines and the awaitables of async generators are iterators of this kind already.
        steps = self.awaitable if hasattr(self.awaitable, "send") else self.awaitable.__await__()
        step: Any = steps.send
        argument: Any = None
        while True:
            try:
                future = run(step, argument)
            except StopIteration as stop:
                return stop.value
            try:
                argument = yield future
            except GeneratorExit:
                run(steps.close)
                raise
            except BaseException as error:
                step, argument = steps.throw, error
            else:
                step = steps.send


class Interrupts:
    """Turns the first Ctrl-C during a job into its cancellation, as ``asyncio.run`` does; the second one is instant.

    asyncio installs and removes its handler in each run, 15 µs; this one stays until ``restore``.
    """

    #: Called with where the program stands at the first Ctrl-C during a job, before the job is cancelled.
    on_interrupt: Callable[[Host, FrameType | None], object] | None = None

    def __init__(self) -> None:
        self._is_installed = False
        self._is_main_thread = threading.current_thread() is threading.main_thread()

    def install(self) -> None:
        """Install the handler, unless somebody else's is there. Cheap when it is installed."""
        if self._is_main_thread and _plain.is_default_interrupt_handler_installed():
            signal.signal(signal.SIGINT, self._handle)
            self._is_installed = True

    def restore(self) -> None:
        """Put Python's own handler back, if ours is in place."""
        if self._is_installed and signal.getsignal(signal.SIGINT) == self._handle:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self._is_installed = False

    @staticmethod
    def has_usual_handler() -> bool:
        """Whether Ctrl-C does what it does everywhere; a handler of the user's may do anything, as wake a loop."""
        handler = signal.getsignal(signal.SIGINT)
        return not callable(handler) or (
            handler is signal.default_int_handler or getattr(handler, "__func__", None) is Interrupts._handle
        )

    def _handle(self, number: int, frame: FrameType | None) -> None:
        host = Host.running[-1] if Host.running else None
        if host is not None and Interrupts.on_interrupt is not None and not host.was_interrupted:
            Interrupts.on_interrupt(host, frame)
        if host is None or not host.interrupt():
            raise KeyboardInterrupt


def _cancelled(tasks: Iterable[asyncio.Task[Any]]) -> _Cancelled:
    from pytest_interleave.loop.swallowing import Cancelled  # clean suites have no use for it

    return Cancelled(tasks)


def _close(job: Any) -> None:
    close = getattr(job.awaitable if isinstance(job, InContext) else job, "close", None)
    if close is not None:
        close()


def _do_nothing() -> None:
    """Wake the selector."""
