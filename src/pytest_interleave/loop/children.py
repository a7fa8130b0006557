"""The processes that this one has started, and what they are doing: computing, asleep, or over.

A child's answer takes real time, and a loop in virtual time takes none. While a child computes, its answer is about to
come, and whether that is before or after the next timer would be the machine's whim; one that sleeps may be waiting for
us, or for anything. The system tells which it is on Linux; elsewhere nothing is known, and children are only waited
for.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterable
from io import FileIO
from os import listdir

from pytest_interleave.loop.states import RUNNABLE, read_fields, read_state

#: As the system calls it: on a processor or waiting for one, waiting for the disk.
_AT_WORK = (RUNNABLE, b"D")
_OVER = (b"Z", b"X")
_NONE: frozenset[int] = frozenset()


def _choose_way() -> Callable[[], bool]:
    if sys.platform != "linux":
        return lambda: False
    waitid, options = ctypes.CDLL(None).waitid, os.WEXITED | os.WNOHANG | os.WNOWAIT
    return lambda: bool(waitid(os.P_ALL, 0, None, options) == 0)


#: Whether there are any. ``os.waitid`` raises where there are none: a hundredth of a small run, asked in each.
_exist = _choose_way()


def living() -> frozenset[int]:
    """Return the processes that this one has started and that live, or were not asked for their status yet."""
    return frozenset(_children_of("self")) if _exist() else _NONE


def are_at_work(pids: Iterable[int]) -> bool:
    """Whether one of them computes, or a process that it has started."""
    todo = list(pids)
    while todo:
        pid = todo.pop()
        if any(read_state(f"/proc/{pid}/task/{thread}/stat") in _AT_WORK for thread in _threads_of(pid)):
            return True
        todo += _children_of(pid)
    return False


def computed_seconds(pids: Iterable[int]) -> float:
    """Return how much of the processors' time they have had, and the processes that they have started."""
    todo, ticks = list(pids), 0
    while todo:
        pid = todo.pop()
        ticks += sum(map(int, read_fields(f"/proc/{pid}/stat")[11:13]))  # as a user, and in the system
        todo += _children_of(pid)
    return ticks / os.sysconf("SC_CLK_TCK")


def is_over(pid: int) -> bool:
    """Whether it has ended, though perhaps nobody was told yet."""
    return read_state(f"/proc/{pid}/stat") in (b"", *_OVER)


def _threads_of(pid: int | str) -> list[str]:
    try:
        return listdir(f"/proc/{pid}/task")
    except OSError:  # it is over, or this is not Linux
        return []


def _children_of(pid: int | str) -> set[int]:
    pids: set[int] = set()
    for thread in _threads_of(pid):
        try:
            with FileIO(f"/proc/{pid}/task/{thread}/children") as file:
                pids.update(map(int, file.read().split()))
        except OSError:
            continue
    return pids
