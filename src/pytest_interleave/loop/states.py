"""What a thread or a process is doing, as the system calls it. Linux only: elsewhere nothing is known."""

from __future__ import annotations

import os
from contextlib import suppress

#: On a processor, or waiting for one: what is ready to run does not wait for anything else.
RUNNABLE = b"R"
_MOMENT_SECONDS = 0.005


def read_state(path: str) -> bytes:
    """Return the letter in a ``/proc/…/stat``, or nothing."""
    return b"".join(read_fields(path)[:1])


def read_fields(path: str) -> list[bytes]:
    """Return what stands behind the name in a ``/proc/…/stat``: the state first."""
    try:
        with open(path, "rb") as file:
            return file.read(512).rpartition(b")")[2].split()
    except OSError:
        return []


class RunQueue:
    """How long this thread was ready to run and had no processor: on a busy machine the most part of a short call."""

    def __init__(self) -> None:
        self._file = -1
        self._noted_at = self._noted = 0.0

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
            self._noted_at, self._noted = now, self._read()

    def seconds(self) -> float:
        """Return for how long it had to queue since it was noted."""
        return self._read() - self._noted

    def _read(self) -> float:
        # Nanoseconds of running, nanoseconds in the queue, time slices (Linux, Documentation/scheduler/sched-stats).
        return int(os.pread(self._file, 100, 0).split()[1]) / 1e9 if self._file >= 0 else 0.0
