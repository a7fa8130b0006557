"""Whether anything outside this process may still send something to a watched descriptor.

A quiet socket whose two ends are both in this process owes nothing: whoever could write to it is a task of ours. That
lets a deadlock be seen although a server listens. A pipe to a subprocess, a process descriptor, or a socket to another
process may speak at any time, and only real time will tell. Processes that were started in this run may also knock at
our listening sockets.
"""

from __future__ import annotations

import os
import socket
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from pytest_interleave.loop import children

_MAPPED = "::ffff:"


class Outside:
    """Answers for one loop; remembers of each connection whether its other end is here."""

    def __init__(self) -> None:
        self._inside: set[tuple[int, int]] = set()
        self._old_children: frozenset[int] = frozenset()
        #: Whether the run has started a process.
        self.is_parent = False
        #: Whether bytes that the system held back may have been set free by the last question.
        self.has_pushed = False

    def reset(self) -> None:
        """Begin a run: children that live already belong to somebody else."""
        self._inside.clear()
        self.is_parent = False
        self._old_children = children.living()

    def has_children(self) -> bool:
        """Whether a process that was started in this run still lives."""
        return bool(children.living() - self._old_children)

    def are_children_at_work(self) -> bool:
        """Whether a process that was started in this run computes, so that it will soon answer or fall asleep."""
        return self.is_parent and children.are_at_work(children.living() - self._old_children)

    def computed_seconds(self) -> float:
        """Return how much of a processor they have had: on a busy machine it takes long to get some."""
        return children.computed_seconds(children.living() - self._old_children)

    def owes(self, fds: Iterable[int]) -> bool:
        """Whether one of these descriptors leads out of this process."""
        unknown = [fd for fd in fds if _identity(fd) not in self._inside]
        answers = [self._leads_outside(fd) for fd in unknown]  # of all, since the question has effects
        return any(answers)

    def _leads_outside(self, fd: int) -> bool:
        try:
            mode = os.fstat(fd).st_mode
            if stat.S_ISFIFO(mode):
                return self.has_children() or not _has_both_ends(fd)
            if not stat.S_ISSOCK(mode):
                return True
            with socket.socket(fileno=os.dup(fd)) as sock:
                return self._socket_leads_outside(fd, sock)
        except OSError:
            return False

    def _socket_leads_outside(self, fd: int, sock: socket.socket) -> bool:
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return self.has_children()
        if sock.family == getattr(socket, "AF_UNIX", None):
            return _pid_of_peer(sock) != os.getpid() or self.has_children()
        if sock.family not in (socket.AF_INET, socket.AF_INET6):
            return False
        try:
            peer = _plain_name(sock.getpeername())
        except OSError:  # not connected: one under way, or one that anybody may send to
            return sock.type == socket.SOCK_STREAM or self.has_children()
        other = _socket_named(peer)
        if other is None:
            return True
        self._inside.add(_identity(fd))
        if sock.type == socket.SOCK_STREAM:
            _push(fd)
            _push(other)
            self.has_pushed = True
        return False


def leads_outside(*fds: int) -> bool:
    """Whether one of these descriptors leads out of this process."""
    return Outside().owes(fds)


def lead_inside(fds: Iterable[int], *, may_listen: bool) -> frozenset[int]:
    """Return those that only lead to this very process, for certain: no other has to do with them.

    ``may_listen``: so do sockets at which only this machine could knock.
    """
    if children.living():
        return frozenset()  # it may have them, too
    names: set[Any] = set()
    for fd in _descriptors():
        with _opened(fd) as sock:
            if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
                names.add((_plain_name(sock.getsockname()), _peer_of(sock)))
    found = set()
    for fd in fds:
        with _opened(fd) as sock:
            if sock is not None and sock.type == socket.SOCK_STREAM and _leads_inside(sock, names, may_listen):
                found.add(fd)
    return frozenset(found)


def _leads_inside(sock: socket.socket, names: set[Any], may_listen: bool) -> bool:
    is_of_unix = sock.family == getattr(socket, "AF_UNIX", None)
    name = _plain_name(sock.getsockname())
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return may_listen and (is_of_unix or _is_of_this_machine(name))
    if is_of_unix:
        return hasattr(socket, "SO_PEERCRED") and _pid_of_peer(sock) == os.getpid()
    return (_peer_of(sock), name) in names


def _is_of_this_machine(name: Any) -> bool:
    return isinstance(name, tuple) and (name[0].startswith("127.") or name[0] == "::1")


def _peer_of(sock: socket.socket) -> Any:
    try:
        return _plain_name(sock.getpeername())
    except OSError:  # not connected
        return None


@contextmanager
def _opened(fd: int) -> Iterator[socket.socket | None]:
    """Give that descriptor as a socket, if it is one."""
    try:
        sock = socket.socket(fileno=os.dup(fd)) if stat.S_ISSOCK(os.fstat(fd).st_mode) else None
    except OSError:
        sock = None
    if sock is None:
        yield None
    else:
        with sock:
            yield sock


def _identity(fd: int) -> tuple[int, int]:
    try:
        status = os.fstat(fd)
    except OSError:
        return -1, fd
    return status.st_dev, status.st_ino


def _push(fd: int) -> None:
    """Let small writes out at once: the system may hold them back for 40 ms of real time (Nagle, delayed ACKs)."""
    try:
        with socket.socket(fileno=os.dup(fd)) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        pass


def _pid_of_peer(sock: socket.socket) -> int:
    if not hasattr(socket, "SO_PEERCRED"):
        return os.getpid()
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[:4], sys.byteorder)


def _has_both_ends(fd: int) -> bool:
    """Whether the other end of that pipe is held by this process, too."""
    status = os.fstat(fd)
    return sum(_identity(other) == (status.st_dev, status.st_ino) for other in _descriptors()) > 1


def _plain_name(name: Any) -> Any:
    if not isinstance(name, tuple):
        return name
    host = name[0]
    return host.removeprefix(_MAPPED), name[1]


def _socket_named(name: Any) -> int | None:
    """Return a socket of this process that has that name."""
    for fd in _descriptors():
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                with socket.socket(fileno=os.dup(fd)) as other:
                    if other.family in (socket.AF_INET, socket.AF_INET6) and _plain_name(other.getsockname()) == name:
                        return fd
        except OSError:
            continue
    return None


def _descriptors() -> list[int]:
    return [int(name) for name in os.listdir("/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd")]
