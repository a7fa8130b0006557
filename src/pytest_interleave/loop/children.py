"""The processes that this one has started, and what they are doing: computing, asleep, or over.

A child's answer takes real time, and a loop in virtual time takes none. While a child computes, its answer is about to
come, and whether that is before or after the next timer would be the machine's whim; one that sleeps may be waiting for
us, or for anything. The system tells which it is on Linux; elsewhere nothing is known, and children are only waited
for.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterable
from glob import glob

from pytest_interleave.loop.states import RUNNABLE, read_fields, read_state

#: As the system calls it: on a processor or waiting for one, waiting for the disk.
_AT_WORK = (RUNNABLE, b"D")
_OVER = (b"Z", b"X")


_NONE: frozenset[int] = frozenset()


def _choose_way() -> Callable[[], bool]:
    if not hasattr(os, "waitid"):
        return lambda: False
    # Asked before each run, most often in vain: the exception of Python's own function would be half of its cost.
    waitid = ctypes.PyDLL(None).waitid
    kind, options = os.P_ALL, os.WEXITED | os.WNOHANG | os.WNOWAIT
    found = ctypes.create_string_buffer(256)  # a siginfo_t, of 128 bytes at most
    return lambda: bool(waitid(kind, 0, found, options) == 0)


#: Whether there is a child that lives, or was not asked for its status yet.
_is_parent = _choose_way()


def living() -> frozenset[int]:
    """Return the processes that this one has started and that live, or were not asked for their status yet."""
    return frozenset(_children_of("self")) if _is_parent() else _NONE


def are_at_work(pids: Iterable[int]) -> bool:
    """Whether one of them computes, or a process that it has started."""
    todo = list(pids)
    while todo:
        pid = todo.pop()
        if any(read_state(path) in _AT_WORK for path in glob(f"/proc/{pid}/task/*/stat")):
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


def _children_of(pid: int | str) -> set[int]:
    pids: set[int] = set()
    for path in glob(f"/proc/{pid}/task/*/children"):
        try:
            with open(path) as file:
                pids.update(map(int, file.read().split()))
        except OSError:
            continue
    return pids
