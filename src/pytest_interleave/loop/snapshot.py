"""Every task that has not ended, what it waits for and who has that, as values."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Sequence
from types import FrameType
from typing import Any

from pytest_interleave.loop import _waits
from pytest_interleave.loop.frames import frames
from pytest_interleave.loop.names import Scope, name_objects
from pytest_interleave.loop.ownership import Ownership
from pytest_interleave.loop.places import standing
from pytest_interleave.loop.reachability import unreachable
from pytest_interleave.origins import rank
from pytest_interleave.trace import BlockedTask, Holder, Snapshot, Wait


def take(
    loop: Any, ownership: Ownership, *, when: float, ignore: Sequence[Any] = (), look_for_wakers: bool = False
) -> Snapshot:
    """Look at all tasks of the loop. ``when`` is the time since the run began.

    ``look_for_wakers`` walks the heap to see whether anything alive leads to what a task waits for; ``ignore`` names
    objects that are no way there.
    """
    tasks = sorted((task for task in asyncio.all_tasks(loop) if not task.done()), key=_number)
    waits = {task: _waits.waiting(task) for task in tasks}
    names = name_objects([thing for _, thing, _ in waits.values() if thing is not None], _scopes(tasks))
    lost = unreachable(loop, waits, ignore=(ownership, *ignore)) if look_for_wakers else frozenset()
    return Snapshot(
        when=when,
        steps=loop.steps,
        blocked=tuple(
            BlockedTask(
                _number(task),
                standing(task),
                _wait(*waits[task], names, ownership),
                is_unreachable=task in lost,
                was_cancelled=task.cancelling() > 0,
            )
            for task in tasks
        ),
    )


def _number(task: Any) -> int:
    return int(getattr(task, "number", 0))


def _wait(what: str, thing: Any, tasks: list[Any], names: dict[int, str], ownership: Ownership) -> Wait:
    holders = []
    if what in ("Lock", "Semaphore"):
        for task, place in ownership.holders(thing):
            if task is not None:
                holders.append(Holder(_number(task), place, task.done(), was_cancelled=task.cancelled()))
    signalled = ownership.lost_signal(thing) if what in ("Event", "Condition") else None
    name = names.get(id(thing), "") if thing is not None else ""
    return Wait(what, name, tuple(holders), tuple(_number(task) for task in tasks), signalled)


def _scopes(tasks: Sequence[asyncio.Task[Any]]) -> list[Scope]:
    """Return the variables that the tasks' own frames see, the test's first."""
    found: list[Scope] = []
    modules: dict[int, Any] = {}
    for task in tasks:
        for frame, _ in frames(task):
            if not rank(frame.f_code.co_filename):
                continue
            distance = 0 if _number(task) <= 1 and not found else 1
            found.append(Scope(_variables(frame), distance))
            modules.setdefault(id(frame.f_globals), frame.f_globals)
    return found + [Scope(dict(m), 0) for m in modules.values()]


def _variables(frame: FrameType) -> dict[str, Any]:
    return {name: value for name, value in frame.f_locals.items() if not inspect.ismodule(value)}
