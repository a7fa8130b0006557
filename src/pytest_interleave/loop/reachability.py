"""Which blocked tasks nothing can wake: no way leads from what is alive to what they wait for.

The idea is GOLF's (Saioc et al., "Dynamic partial deadlock detection and recovery via garbage collection", ASPLOS
2025): whatever runs, fires or is watched is a root; a blocked task becomes one when its future is reached. Exact up to
references that C code hides. It walks the heap, so it is for the end of one run, not for every schedule.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Iterable, Mapping
from types import (
    AsyncGeneratorType,
    CodeType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    MethodType,
    ModuleType,
)
from typing import Any

from pytest_interleave.loop import _waits

_MOST_OBJECTS = 2_000_000
_MOST_KEPT = 10_000
#: What these refer to is not theirs to end.
_NO_KEEPERS = (
    type,
    ModuleType,
    FunctionType,
    MethodType,
    CodeType,
    FrameType,
    CoroutineType,
    GeneratorType,
    AsyncGeneratorType,
    asyncio.Future,
    asyncio.AbstractEventLoop,
)


def unreachable(loop: Any, waits: Mapping[Any, Any], ignore: Iterable[Any] = ()) -> frozenset[Any]:
    """Return the tasks among the keys of ``waits`` that cannot be woken; none at all if the heap is too large."""
    blocked = {id(task): task for task in waits if _waits.awaited_future(task) is not None}
    if not blocked:
        return frozenset()
    wakers = {id(_waits.awaited_future(task)): task for task in blocked.values()}
    asleep = set(blocked)
    seen = {id(waits), id(blocked), id(wakers), id(asleep), *map(id, ignore)}
    seen.add(id(seen))
    # The loop itself stands for its queue, its timers and its watched descriptors.
    stack: list[Any] = [
        loop,
        *(module.__dict__ for module in list(sys.modules.values()) if isinstance(module, ModuleType)),
    ]
    frame = sys._getframe(1).f_back  # neither this function's variables nor the caller's
    while frame is not None:
        stack.append(frame)
        frame = frame.f_back
    seen.add(id(stack))
    while stack:
        thing = stack.pop()
        key = id(thing)
        if key in seen:
            continue
        if key in asleep:
            continue  # it may still be reached as somebody who can be woken
        seen.add(key)
        if len(seen) > _MOST_OBJECTS:
            return frozenset()
        task = wakers.get(key)
        if task is not None and id(task) in asleep:
            asleep.discard(id(task))
            stack.append(task)
        stack.extend(_referents(thing))
    return frozenset(blocked[key] for key in asleep)


def _referents(thing: Any) -> list[Any]:
    if isinstance(thing, ModuleType):
        # Not what its C code holds: in CPython 3.12 `_asyncio` shows objects that are freed, and to look at them kills.
        return [thing.__dict__]
    found = gc.get_referents(thing)
    if isinstance(thing, weakref.ref):
        # Somebody who is alive may go this way as long as the blocked task keeps the object: a StreamReader's protocol.
        found.append(thing())
    return found


def keeps(owners: Iterable[Any], tasks: Iterable[Any]) -> list[Any]:
    """Return those of the tasks that the objects keep: in attributes and collections, not by way of code that runs."""
    wanted = {id(task): task for task in tasks}
    stack = list(owners)
    seen: set[int] = set()
    found: list[Any] = []
    while stack and len(seen) < _MOST_KEPT:
        thing = stack.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if id(thing) in wanted:
            found.append(thing)
        elif not isinstance(thing, _NO_KEEPERS):
            stack.extend(gc.get_referents(thing))
    return found
