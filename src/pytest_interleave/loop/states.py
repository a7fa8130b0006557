"""What a thread or a process is doing, as the system calls it. Linux only: elsewhere nothing is known."""

from __future__ import annotations

#: On a processor, or waiting for one: what is ready to run does not wait for anything else.
RUNNABLE = b"R"


def read_state(path: str) -> bytes:
    """Return the letter in a ``/proc/…/stat``, or nothing."""
    try:
        with open(path, "rb") as file:
            return file.read(512).rpartition(b")")[2].split()[0]
    except (OSError, IndexError):
        return b""
