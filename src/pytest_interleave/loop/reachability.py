"""Which blocked tasks nothing can wake: no way leads from what is alive to what they wait for.

The idea is GOLF's (Saioc et al., "Dynamic partial deadlock detection and recovery via garbage collection", ASPLOS
2025): whatever runs, fires or is watched is a root; a blocked task becomes one when its future is reached. Exact up to
references that C code hides. It walks the heap, so it is for the end of one run, not for every schedule.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

from pytest_interleave.loop import _waits

_MOST_OBJECTS = 2_000_000


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
        stack.extend(gc.get_referents(thing))
    return frozenset(blocked[key] for key in asleep)
