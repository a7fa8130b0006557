"""What a thread or a process is doing, as the system calls it. Linux only: elsewhere nothing is known.

Tests put others in the place of ``open`` and of functions of ``os``: doubles, or what forbids to block (blockbuster).
So what is asked from within a loop is asked of the system's own functions, taken when this is imported.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from io import FileIO
from os import listdir

#: On a processor, or waiting for one: what is ready to run does not wait for anything else.
RUNNABLE = b"R"
_MOMENT_SECONDS = 0.005


def read_state(path: str) -> bytes:
    """Return the letter in a ``/proc/…/stat``, or nothing."""
    return b"".join(read_fields(path)[:1])


def read_fields(path: str) -> list[bytes]:
    """Return what stands behind the name in a ``/proc/…/stat``: the state first."""
    try:
        with FileIO(path) as file:
            return file.read(512).rpartition(b")")[2].split()
    except OSError:
        return []


class RunQueue:
    """How long this thread was ready to run and had no processor: on a busy machine the most part of a short call.

    ``with_others`` adds the longest that another thread of ours had none: this one may have given it the interpreter's
    lock, and then it stands still until that one has run.
    """

    def __init__(self, *, with_others: bool = False) -> None:
        self._file = -1
        self._noted_at = self._noted = 0.0
        self._with_others = with_others
        self._others: dict[str, float] = {}

    def open(self) -> None:
        """Begin, in the thread that it is about."""
        with suppress(OSError):  # not Linux
            self._file = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """End."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def note(self, now: float) -> None:
        """Count from here, or from a moment ago: to read it costs as much as ten calls."""
        if now - self._noted_at > _MOMENT_SECONDS:
            self._noted_at, self._noted, self._others = now, self._read(), self._read_others()

    def seconds(self) -> float:
        """Return for how long it had to queue since it was noted."""
        others = [seconds - self._others.get(thread, 0.0) for thread, seconds in self._read_others().items()]
        return self._read() - self._noted + max(others, default=0.0)

    def _read(self) -> float:
        return _seconds_in_queue(os.pread(self._file, 100, 0)) if self._file >= 0 else 0.0

    def _read_others(self) -> dict[str, float]:
        found: dict[str, float] = {}
        if self._with_others and self._file >= 0:
            own = str(threading.get_native_id())
            for thread in listdir("/proc/self/task"):
                with suppress(OSError, IndexError):  # it has ended
                    if thread != own:
                        with FileIO(f"/proc/self/task/{thread}/schedstat") as file:
                            found[thread] = _seconds_in_queue(file.read())
        return found


def _seconds_in_queue(text: bytes) -> float:
    # Nanoseconds of running, nanoseconds in the queue, time slices (Linux, Documentation/scheduler/sched-stats).
    return int(text.split()[1]) / 1e9
