"""Proof of concurrency: how many operations of a block are in flight at once, and what held the others back.

An operation is in flight while its task waits for what comes from outside: a socket, a timer, a thread. A task that
waits for a lock, a semaphore, a queue or a free connection of a pool is held back by it; one that waits for other tasks
only gathers what they do. The loop is looked at whenever it is about to wait, so that all tasks of the block are
suspended. Those of a server in the same test do not count: they are not made by the block, but by the loop, for a
connection.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from contextlib import ExitStack, suppress
from contextvars import ContextVar, Token
from types import FrameType, TracebackType
from typing import Any, Self

from pytest_interleave.clock.real import perf_counter
from pytest_interleave.loop.controlled import ControlledLoop
from pytest_interleave.loop.idling import looking, noting_sleeps, noting_tasks
from pytest_interleave.loop.places import best, calling
from pytest_interleave.loop.states import RunQueue
from pytest_interleave.loop.virtual import clock_of
from pytest_interleave.origins import rank
from pytest_interleave.trace import Place
from pytest_interleave.traffic import made
from pytest_interleave.traffic.held import is_made_by_library, own_places, standing_of
from pytest_interleave.traffic.lanes import HELD_BACK, IN_FLIGHT, at, lanes
from pytest_interleave.traffic.result import seconds

_current: ContextVar[Concurrency | None] = ContextVar("pytest_interleave_concurrently", default=None)

#: A step of the loop that takes longer than this has kept all others from going on.
_BLOCKING_SECONDS = 0.05
_BLOCK = "the block itself"


class Concurrency:
    """What ``concurrently`` measured; complete when its block is left."""

    def __init__(self, at_least: int | None, at_most: int | None) -> None:
        self.at_least = at_least
        self.at_most = at_most
        #: How many operations were in flight at once, at most.
        self.most = 0
        #: How long the block took by the loop's clock.
        self.seconds = 0.0
        self.clock = "real"
        self._held: Counter[tuple[str, str]] = Counter()
        #: Real seconds for which the loop was kept from waiting, and by what; empty if that is not known.
        self._blocked: list[tuple[float, str]] = []
        self._told = 0
        self._tasks: list[asyncio.Task[Any]] = []
        self._names: list[str] = []
        #: Whose operation a task is a part of: a client's own tasks (to connect, say) are no operations beside it.
        self._part_of: list[int | None] = []
        self._own: asyncio.Task[Any] | None = None
        #: At each look: the time, and for each task that waits then, by number, how, and where.
        self._looks: list[tuple[float, dict[int, str]]] = []
        self._places: list[Place | None] = []
        #: Where the user's code made each task: of a library's coroutine, it is all that a reader knows.
        self._made_at: list[Place | None] = []
        self._waits = 0
        #: The user's lines, outermost first, of what was in flight last.
        self._last: list[Place] = []
        self._stack = ExitStack()
        self._queue = RunQueue()
        #: When it was looked at last, and how long the loop has waited since.
        self._woken = self._waited = 0.0
        self._loop: Any = None

    # -- the block -----------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            self._loop = loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError("concurrently() measures a running event loop: use it in an async test.") from None
        self._looks.append((loop.time(), {}))
        self.clock = clock_of(loop)
        # The order in which an exploration lets things happen is not the one that is asked about.
        self._is_explored = isinstance(loop, ControlledLoop) and loop.decider is not None
        token = _current.set(self)
        self._stack.callback(_forget, token)
        self._own = asyncio.current_task()
        if self._own is not None:
            self._take(self._own)
        self._stack.enter_context(noting_tasks(loop, self._note))
        self._stack.enter_context(looking(loop, self._look))
        self._stack.enter_context(noting_sleeps(loop, self._note_sleep))
        self._queue.open()
        self._stack.callback(self._queue.close)
        self._woken = perf_counter()
        self._queue.note(self._woken)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        self._count_step()
        self._stack.close()
        self.seconds = self._loop.time() - self._looks[0][0]
        self._looks.append((self._loop.time(), {}))
        self._tasks.clear()
        made.recent.append(self)
        if error is not None:
            return
        wrong = self._describe_wrong()
        if wrong:
            made.recent.remove(self)  # the error says it all
            raise AssertionError(f"{wrong}\n\n{self.describe()}")

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        self.__exit__(kind, error, traceback)

    # -- looking -------------------------------------------------------------------------------------------------

    def _note(self, task: asyncio.Task[Any]) -> None:
        if _current.get() is self:
            frame = sys._getframe(1)
            maker = asyncio.current_task() if is_made_by_library(frame) else None
            self._take(task, self._tasks.index(maker) if maker in self._tasks else None, calling(frame))

    def _take(self, task: asyncio.Task[Any], part_of: int | None = None, made_at: Place | None = None) -> None:
        self._part_of.append(part_of)
        self._made_at.append(made_at)
        coroutine = task.get_coro()
        name = getattr(coroutine, "__qualname__", type(coroutine).__name__)
        self._tasks.append(task)
        self._names.append(_BLOCK if task is self._own else name.rpartition("<locals>.")[2])
        self._places.append(None)

    def _look(self, waited: float | None) -> None:
        if waited is not None:
            self._waited += waited
            return
        self._count_step()
        states: dict[int, str] = {}
        for number, task in enumerate(self._tasks):
            if not task.done():
                state = self._state_of(number, task)
                if state:
                    states[number] = state
        for number in list(states):
            part_of = self._part_of[number]
            if part_of is not None and part_of in states:
                del states[number]
        self._looks.append((self._loop.time(), states))
        count = sum(state == IN_FLIGHT for state in states.values())
        self.most = max(self.most, count)
        self._woken, self._waited = perf_counter(), 0.0
        self._queue.note(self._woken)

    def _state_of(self, number: int, task: Any) -> str:
        """Return ``=`` for a task in flight, ``.`` for one that is held back, nothing for one that awaits others."""
        standing = standing_of(task)
        if standing.is_joining:
            return ""
        stack = standing.stack
        if standing.holder is not None:
            where = best(stack)
            known = where if where is not None and where.rank == 2 else self._made_at[number] or where
            self._held[standing.holder, at(known)] += 1
            return HELD_BACK
        own = own_places(stack)
        made_at = self._made_at[number]
        if made_at is not None and not any(line.rank == 2 for line in own):
            own = [made_at]
        elif own and self._names[number] != _BLOCK and rank(stack[0][0].f_code.co_filename) == 1:
            self._names[number] = own[0].function  # anyio's tasks begin in its own code
        self._places[number] = own[0] if own else self._places[number]
        self._last = own
        self._waits += 1
        return IN_FLIGHT

    def _count_step(self) -> None:
        """Note how long the loop was kept from waiting."""
        busy = perf_counter() - self._woken - self._waited - self._queue.seconds()
        busy -= sum(real for real, _ in self._blocked[self._told :])
        if busy > _BLOCKING_SECONDS:
            self._blocked.append((busy, ""))
        self._told = len(self._blocked)

    def _note_sleep(self, real: float, caller: FrameType) -> None:
        self._blocked.append((real, at(calling(caller)) or "time.sleep()"))

    # -- telling -------------------------------------------------------------------------------------------------

    def _describe_wrong(self) -> str:
        if self.at_least is not None and self.most < self.at_least and not self._is_explored:
            return f"At most {self.most} in flight at once, where {self.at_least} were expected."
        if self.at_most is not None and self.most > self.at_most:
            return f"{self.most} in flight at once, where at most {self.at_most} may be."
        return ""

    @property
    def title(self) -> str:
        """A few words for a heading."""
        return "concurrently"

    def __repr__(self) -> str:
        return f"<Concurrency: at most {self.most} in flight at once, in {seconds(self.seconds)} of {self.clock} time>"

    def describe(self) -> str:
        """Return what was in flight when, a line for each task, and why not more if that was too few."""
        lines = lanes(self._names, self._places, self._looks, self.clock)
        if self.at_least is not None and self.most < self.at_least:
            lines += self._reasons()
        return "\n".join(lines)

    def _reasons(self) -> list[str]:
        lines = [
            f"Held back by {what}{f' at {where}' if where else ''}" for (what, where), _ in self._held.most_common(3)
        ]
        blocked: dict[str, list[float]] = {}
        for real, where in self._blocked:
            if where or not self._held:  # a long step explains nothing where something else does
                blocked.setdefault(where, []).append(real)
        for where, times in sorted(blocked.items(), key=lambda entry: -sum(entry[1]))[:3]:
            total = f"{seconds(sum(times))} of real time" + (f", in {len(times)} goes" if len(times) > 1 else "")
            lines.append(f"Blocked for {total}: {where or 'something that computes, or waits without await'}")
        if not self._waits and not blocked:
            lines.append(
                "Nothing was in flight at all: what the block calls never waits, like a mock that answers at once."
            )
        elif self._waits and self._is_one_by_one():
            lines.append("One task does it all, one operation after the other:")
            lines += [f"  {at(where)}" for where in self._last[:4]]
            lines.append("Let them overlap: asyncio.gather(), or asyncio.TaskGroup.")
        return lines

    def _is_one_by_one(self) -> bool:
        """Whether nobody was ever in flight but the block itself, and what libraries make on its behalf."""
        waited = {number for _, states in self._looks for number in states}
        return all(self._names[number] == _BLOCK or self._part_of[number] == 0 for number in waited)


def concurrently(*, at_least: int | None = None, at_most: int | None = None) -> Concurrency:
    """Make sure that the operations of a ``with`` block overlap.

    Fails, when the block is left, unless at least so many of its operations were in flight at once (and at most so
    many). ``async with`` works as well. An exploration does not judge ``at_least``.
    """
    if at_least is None and at_most is None:
        raise ValueError("concurrently() needs at_least= or at_most=, a number of operations.")
    for name, value in (("at_least", at_least), ("at_most", at_most)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ValueError(f"{value!r} is not a valid {name}: it must be a whole number, 1 or more.")
    return Concurrency(at_least, at_most)


def _forget(token: Token[Concurrency | None]) -> None:
    with suppress(ValueError):  # dropped, and so left in another context than it was entered in
        _current.reset(token)
