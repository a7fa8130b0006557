"""Whether anything outside this process may still send something to a watched descriptor.

A quiet socket whose two ends are both in this process owes nothing: whoever could write to it is a task of ours. That
lets a deadlock be seen although a server listens. A pipe to a subprocess, a process descriptor, or a socket to another
process may speak at any time, and only real time will tell.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterable, Mapping
from typing import Any


def owes(watches: Mapping[tuple[int, str], Any], registered: Mapping[Any, Any]) -> bool:
    """Whether one of the registered descriptors that are watched leads out of this process."""
    fds = {fd for fd, _ in watches if fd in registered}
    return any(_leads_outside(fd) for fd in fds)


def _leads_outside(fd: int) -> bool:
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            return True
        with socket.socket(fileno=os.dup(fd)) as sock:
            return _socket_leads_outside(sock)
    except OSError:
        return False


def _socket_leads_outside(sock: socket.socket) -> bool:
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return False
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    try:
        peer = sock.getpeername()
    except OSError:
        return sock.type == socket.SOCK_STREAM  # a connection under way
    return not any(name == peer for name in _names_in_this_process(sock.family))


def _names_in_this_process(family: int) -> Iterable[Any]:
    for name in os.listdir("/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"):
        try:
            fd = int(name)
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                with socket.socket(fileno=os.dup(fd)) as other:
                    if other.family == family:
                        yield other.getsockname()
        except (OSError, ValueError):
            continue
