"""What the ways to a named host (``relay.py``) and back from a route (``pacing.py``) have in common."""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import Any

#: Between two pieces: long enough to be two events, too short to be seen in any figure.
GAP_SECONDS = 1e-6
_NO_LINGER = struct.pack("ii", 1, 0)


def reset_when_closed(transport: Any) -> None:
    """Let the other side see a reset (RST in place of FIN) when the transport is closed."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
