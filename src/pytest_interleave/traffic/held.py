"""What a task waits for, by its stack: for what comes from outside, for something that holds it back, or for tasks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import pairwise
from types import FrameType
from typing import Any

from pytest_interleave.loop import _waits
from pytest_interleave.loop.frames import frames
from pytest_interleave.loop.host import InContext
from pytest_interleave.loop.places import best, place
from pytest_interleave.origins import rank
from pytest_interleave.trace import Place

#: Waiting for these is waiting for other tasks of the same program.
_HOLDS = ("Lock", "Semaphore", "Condition", "Barrier", "Queue.get", "Queue.put", "Queue.join")
_JOINS = ("TaskGroup", "task", "gather", "asyncio.wait")
#: Where a client waits for a free connection: module, function, and the option that says how many there are.
_POOLS = {
    ("aiohttp.connector", "_wait_for_available_connection"): "aiohttp's TCPConnector(limit=, limit_per_host=)",
    ("httpcore._async.connection_pool", "wait_for_connection"): "httpx's Limits(max_connections=)",
    ("httpcore2._async.connection_pool", "wait_for_connection"): "httpx2's Limits(max_connections=)",
}
#: Make tasks for whoever calls them.
_MAKERS = ("asyncio", "anyio", "pytest_interleave")

Stack = list[tuple[FrameType, int]]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a task stands."""

    stack: Stack
    #: What holds it back; None if it waits for what comes from outside.
    holder: str | None
    #: It only waits for what other tasks do.
    is_joining: bool = False


def standing_of(task: Any) -> Standing:
    """Read off where a suspended task stands."""
    stack = list(frames(task))
    inner = _Inner.of(task, stack)
    if inner is not None:
        task, stack = inner, list(frames(inner))  # type: ignore[arg-type]
    holder = _pool_of(stack)
    if holder is None:
        what, thing, _ = _waits.waiting(task)
        if what in _JOINS or _is_in_task_group_of_anyio(stack):
            return Standing(stack, None, is_joining=True)
        if what in _HOLDS or (what == "Event" and _is_called_by_user(stack, asyncio.Event.wait.__code__)):
            holder = what if thing is None else type(thing).__name__
    return Standing(stack, holder)


def is_made_by_library(frame: FrameType | None) -> bool:
    """Whether a task that is being made there is a library's own, and not one that the user asks anyio to make."""
    while frame is not None:
        is_maker = frame.f_globals.get("__name__", "").partition(".")[0] in _MAKERS
        if not is_maker and rank(frame.f_code.co_filename):
            return rank(frame.f_code.co_filename) == 1
        frame = frame.f_back
    return False


def own_places(stack: Stack) -> list[Place]:
    """Return the user's lines, outermost first: the first ones say best what is done one by one."""
    own = [entry for entry in stack if rank(entry[0].f_code.co_filename) == 2]
    if own:
        return [place(frame.f_code, line, frame.f_lasti) for frame, line in own]
    found = best(stack)
    return [found] if found is not None else []


class _Inner:
    """What a host's task runs in a context of its own, which hides it from whoever follows the awaits."""

    def __init__(self, task: Any, awaitable: Any) -> None:
        self._awaitable = awaitable
        self._fut_waiter = _waits.awaited_future(task)

    def get_coro(self) -> Any:
        """Return the coroutine inside, as a task does."""
        return self._awaitable

    @classmethod
    def of(cls, task: Any, stack: Stack) -> _Inner | None:
        """Return what stands for the task, if it is such a one."""
        owner = stack[-1][0].f_locals.get("self") if stack else None
        return cls(task, owner.awaitable) if isinstance(owner, InContext) else None


def _pool_of(stack: Stack) -> str | None:
    for frame, _ in reversed(stack):
        key = frame.f_globals.get("__name__", ""), frame.f_code.co_name
        if key in _POOLS:
            return _POOLS[key]
    if stack:
        frame = stack[-1][0]
        if frame.f_globals.get("__name__") == "aiohttp.connector" and frame.f_code.co_name == "connect":
            return _POOLS["aiohttp.connector", "_wait_for_available_connection"]  # aiohttp before 3.11
    return None


def _is_in_task_group_of_anyio(stack: Stack) -> bool:
    """Whether the user's own code waits for the tasks of a group; a client that does so is a part of an operation."""
    for (caller, _), (frame, _) in pairwise(stack):
        if frame.f_code.co_name == "__aexit__" and frame.f_globals.get("__name__", "").startswith("anyio."):
            return rank(caller.f_code.co_filename) == 2
    return False


def _is_called_by_user(stack: Stack, code: Any) -> bool:
    for (caller, _), (frame, _) in pairwise(stack):
        if frame.f_code is code:
            return rank(caller.f_code.co_filename) == 2
    return False
