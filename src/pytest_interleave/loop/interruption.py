"""An operation that may be cancelled at any of its suspensions, as a choice of the run.

Between two steps the loop tells an ``Interruption`` whose step it was. Where the operation, or a task that it made or
waits for, has just suspended, the run's decider is asked whether to cancel the operation. What strikes then is
``Task.cancel``, at a moment at which a callback of asyncio's could call it as well: right behind the step that
suspended, or right behind the one that woke it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextvars import Context, copy_context
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Generic, TypeAlias, TypeVar

from pytest_interleave.loop import _waits
from pytest_interleave.loop.controlled import ControlledLoop
from pytest_interleave.loop.places import standing
from pytest_interleave.schedule import AGAIN, CANCEL, WAITING, WOKEN
from pytest_interleave.trace import Place

T = TypeVar("T")
#: A suspension at which something may be cancelled, in the run's trace: kind, number of the task, ordinal.
Entry: TypeAlias = tuple[str, int, int]

#: An operation is cancelled once, and once more while it cleans up.
_MOST_STRIKES = 2


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """How an operation under ``interrupt`` ended. Its exceptions are raised, as by ``await``."""

    #: What it returned; None if it was cancelled.
    result: T | None = None
    #: It ended with the cancellation.
    cancelled: bool = False
    #: ``file:line`` of the ``await`` at which it was cancelled first; empty if it was left alone.
    place: str = ""

    @property
    def done(self) -> bool:
        """Whether it returned: because nothing struck, or in spite of it."""
        return not self.cancelled


@dataclass(frozen=True, slots=True)
class Strike:
    """One cancellation: of what, at which line, and whether its wake-up was queued."""

    subject: str
    place: Place | None
    is_late: bool


async def interrupt(operation: Awaitable[T]) -> Outcome[T]:
    """Await the operation, which may be cancelled at any of its suspensions, and say how it ended.

    A plain run just awaits it. An exploration runs it as a task of its own and tries to cancel it at each suspension
    of it, and of the tasks that it made or waits for: while it waits, when what it waits for has just come, and once
    more while it cleans up. The caller goes on in each case, to check what must hold all the same.
    """
    loop = asyncio.get_running_loop()
    if not isinstance(loop, ControlledLoop) or loop.decider is None:
        return Outcome(await operation)
    caller = asyncio.current_task()
    requests = caller.cancelling() if caller is not None else 0
    context = copy_context()
    name = name_of(operation)
    interruption = Interruption(loop, name)
    task: asyncio.Task[T] = loop.create_task(_run(operation), name=name, context=context)
    interruption.begin(task)
    try:
        result = await task
    except asyncio.CancelledError:
        is_for_caller = caller is not None and caller.cancelling() > requests
        if not interruption.strikes or is_for_caller or not task.cancelled():
            raise
        return Outcome(cancelled=True, place=interruption.place)
    finally:
        interruption.end()
        _take_over(context)
    return Outcome(result, place=interruption.place)


class Interruption:
    """One operation that may be cancelled, while it runs."""

    def __init__(self, loop: Any, name: str) -> None:
        self.loop = loop
        self.name = name
        self.task: asyncio.Task[Any] | None = None
        self.strikes: list[Strike] = []
        #: To strike when this is done: the task that waits for it, its future, and the entry.
        self._armed: tuple[Any, Any, Entry] | None = None
        #: Whose suspension was struck: until it has gone on, the first cancellation is still on its way.
        self._struck: Any = None
        #: For each task that was asked about, by number: whether the operation made it.
        self._family: dict[int, bool] = {}

    @property
    def place(self) -> str:
        """Return ``file:line`` of the first strike."""
        place = self.strikes[0].place if self.strikes else None
        return f"{PurePath(place.file).name}:{place.line}" if place is not None else ""

    def begin(self, task: asyncio.Task[Any]) -> None:
        """Watch the task."""
        self.task = task
        self.loop.interruptions.append(self)
        self.loop.after_step = teller(self.loop)
        if not task.done() and _waits.awaited_future(task) is not None:
            self.after_step(task)  # it began eagerly

    def end(self) -> None:
        """Watch no longer."""
        self.loop.interruptions.remove(self)
        self.loop.after_step = teller(self.loop)

    def after_step(self, owner: Any) -> None:
        """Hear whose step it was; perhaps cancel. Most steps are nobody's here: this is what a run under it costs."""
        is_task = isinstance(owner, asyncio.Task)
        if self._armed is None and not is_task:
            return
        task = self.task
        if task is None or task.done() or self.loop.decider is None:
            return
        if owner is self._struck:
            self._struck = None
        if self._armed is not None:
            waiter, future, entry = self._armed
            if owner is waiter or future.cancelled():
                self._armed = None  # it went on without a wake-up of this future
            elif future.done():
                self._armed = None
                self._strike(waiter, entry, WOKEN)
                return
        if is_task and self._belongs(owner) and not owner.done() and len(self.strikes) < _MOST_STRIKES:
            self._ask(owner)

    def _belongs(self, owner: Any) -> bool:
        """Whether it is the operation, a task that it made, or one that it waits for."""
        operation: Any = self.task
        if owner is operation:
            return True
        number = getattr(owner, "number", None)
        if number is None:  # the loop did not make it
            return False
        family = self._family
        if number not in family:
            parents = self.loop.parents
            above = number
            while above > operation.number:
                above = parents[above]
            family[number] = above == operation.number
        return family[number] or (
            isinstance(_waits.awaited_future(operation), asyncio.Task) and owner in _awaited_tasks(operation)
        )

    def _ask(self, owner: Any) -> None:
        if self._struck is not None or self._armed is not None:
            return
        future = _waits.awaited_future(owner)
        entry = note_suspension(self.loop, owner, AGAIN if self.strikes else CANCEL)
        way = ask(self.loop, entry, future)
        if way == WAITING:
            self._strike(owner, entry, way)
        elif way == WOKEN:
            self._armed = owner, future, entry

    def _strike(self, owner: Any, entry: Entry, way: int) -> None:
        # A server of the same test that suspends is a moment like any other, but no place of the operation's.
        is_child = owner is self.task or self.loop.is_of_this_run(owner)
        place = standing(owner if is_child else self.task)
        again = " again" if self.strikes else ""
        strike = Strike(f"`{self.name}` is cancelled{again}", place, is_late=way == WOKEN and is_child)
        self.strikes.append(strike)
        self._struck = owner
        assert self.task is not None
        perform(self.loop, strike, entry, self.task.cancel)


def note_suspension(loop: Any, owner: Any, kind: str) -> Entry:
    """Return what the run knows this suspension of the task by: one more of its kind."""
    key = owner.number, kind
    ordinal = loop.suspensions[key] = loop.suspensions.get(key, 0) + 1
    return kind, owner.number, ordinal


def ask(loop: Any, entry: Entry, future: Any) -> int:
    """Ask the run's decider whether to cancel at a suspension on that future: 0 (not), ``WAITING`` or ``WOKEN``."""
    # A task that only gave way (`sleep(0)`) is woken already.
    way: int = loop.decider.cancel(*entry, WAITING + 1 if future is None else WOKEN + 1)
    return way


def perform(loop: Any, strike: Strike, entry: Entry, act: Callable[[], object]) -> None:
    """Do what strikes, and let the run know."""
    index = len(loop.trace)
    loop.trace.append(entry)
    loop.strikes[index] = strike
    queued = len(_waits.queue(loop))
    act()
    if loop.observer is not None:
        loop.observer.struck(index, queued)


def teller(loop: Any) -> Callable[[Any], None] | None:
    """Return what tells all that watch the loop's steps now whose step it was; None if nobody does."""
    watching = loop.interruptions
    if len(watching) < 2:
        return watching[0].after_step if watching else None

    def tell(owner: Any) -> None:
        for one in list(watching):
            one.after_step(owner)

    return tell


async def _run(operation: Awaitable[T]) -> T:
    return await operation


def name_of(operation: Any) -> str:
    """Return the operation's own name: that of its function or its class."""
    name = getattr(operation, "__qualname__", None) or type(operation).__qualname__
    return str(name).rpartition("<locals>.")[2]


def _awaited_tasks(task: asyncio.Task[Any]) -> Iterator[Any]:
    """Yield the tasks that the task waits for, each for the next."""
    future = _waits.awaited_future(task)
    while isinstance(future, asyncio.Task):
        yield future
        future = _waits.awaited_future(future)


def _take_over(context: Context) -> None:
    """Let the caller see the context variables as the operation left them, as it would by ``await``."""
    for variable, value in context.items():
        try:
            is_old = variable.get() is value
        except LookupError:
            is_old = False
        if not is_old:
            variable.set(value)


__all__ = ["Interruption", "Outcome", "Strike", "interrupt"]
