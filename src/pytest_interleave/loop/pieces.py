"""What is sent at once over a connection may be read in pieces: a stream has no messages."""

from __future__ import annotations

import array
import asyncio
from typing import Any

from pytest_interleave.schedule import FIRST_BYTE, MIDDLE, SMALL

try:
    import fcntl
    import termios
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

#: Small pieces are single bytes, but not for what would come in more of them than this.
_MOST_PIECES = 64


def waiting(transport: Any, fd: int) -> int:
    """Return how many bytes could be read now by what is called then; 0 if it cannot be told to read less.

    A protocol with a buffer of its own is left alone: TLS, whose records come through whole or not at all.
    """
    if fcntl is None or not isinstance(transport, asyncio.ReadTransport) or not hasattr(transport, "max_size"):
        return 0  # a connection that is to be accepted, say
    if hasattr(transport, "sendto") or isinstance(transport.get_protocol(), asyncio.BufferedProtocol):
        return 0
    size = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, size)
    return min(size[0], int(transport.max_size))


def size_of_first(way: int, size: int) -> int:
    """Return how much of that many bytes, two at least, comes in first."""
    if way == SMALL:
        return -(-size // _MOST_PIECES)
    if way == MIDDLE:
        return size // 2
    return 1 if way == FIRST_BYTE else size - 1
