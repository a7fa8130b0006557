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
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from os import listdir
from selectors import EVENT_WRITE, SelectorKey
from typing import Any, NamedTuple, TypeAlias

from pytest_interleave.loop import children, under_way
from pytest_interleave.loop.under_way import TcpEnd

_HAS_PROC = os.path.isdir("/proc/self/fd")
_MAPPED = "::ffff:"
_INTERNET = (socket.AF_INET, socket.AF_INET6)
#: What has come may set more free, and that again.
_MARKS_OF_TCP = 3
Identity: TypeAlias = tuple[int, int]


class OtherEnd(NamedTuple):
    """The other end of a connection, as it was when it was found."""

    fd: int
    identity: Identity
    #: It only listens: it has not accepted the connection yet, or what it has accepted is closed again.
    is_listener: bool


#: What is on its way: whose it is, and what the system knows of both ends.
Movement: TypeAlias = tuple[Identity, TcpEnd, TcpEnd | None]


class Outside:
    """Answers for one loop; remembers of each connection whether its other end is here."""

    def __init__(self) -> None:
        self._inside: dict[Identity, OtherEnd | None] = {}
        #: Those that lead outside only while there are children.
        self._passive: set[Identity] = set()
        #: Of the descriptors that were asked for last.
        self._identities: dict[int, Identity] = {}
        self._old_children: frozenset[int] = frozenset()
        #: Whether the run has started a process.
        self.is_parent = False
        #: Whether bytes that the system held back may have been set free by the last question.
        self.has_pushed = False
        #: How often something is to be sent behind what is on its way and the system does not tell of.
        self.marks = 0
        #: What did not come, for whatever reason.
        self._stuck: set[Movement] = set()

    def reset(self) -> None:
        """Begin a run: children that live already belong to somebody else."""
        self._inside.clear()
        self._passive.clear()
        self._stuck.clear()
        self.is_parent = False
        self.marks = 0
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
        if self._passive and self.has_children():
            self._passive.clear()
        inside, passive = self._inside, self._passive
        self._identities = identities = {fd: _identity(fd) for fd in fds}
        unknown = [fd for fd, identity in identities.items() if identity not in inside and identity not in passive]
        answers = [self._leads_outside(fd, identities[fd]) for fd in unknown]  # of all: the question has effects
        return any(answers)

    def _leads_outside(self, fd: int, identity: Identity) -> bool:
        if identity in self._inside:  # by now, as the other end of another
            return False
        try:
            mode = os.fstat(fd).st_mode
            if stat.S_ISFIFO(mode):
                return self.has_children() or not _has_both_ends(fd)
            if not stat.S_ISSOCK(mode):
                return True
            with socket.socket(fileno=os.dup(fd)) as sock:
                return self._socket_leads_outside(fd, identity, sock)
        except OSError:
            return False

    def _socket_leads_outside(self, fd: int, identity: Identity, sock: socket.socket) -> bool:
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return self._leads_to_children(identity)
        if sock.family == getattr(socket, "AF_UNIX", None):
            return _pid_of_peer(sock) != os.getpid() or self._leads_to_children(identity)
        if sock.family not in _INTERNET:
            return False
        is_tcp = sock.type == socket.SOCK_STREAM
        is_told = is_tcp and under_way.is_told_of(sock)
        if not is_told:
            self.marks = max(self.marks, _MARKS_OF_TCP if is_tcp else 1)
        try:
            peer = _plain_name(sock.getpeername())
        except OSError:  # not connected: one under way, or one that anybody may send to
            return is_tcp or self.has_children()
        other = _other_end(_plain_name(sock.getsockname()), peer, self._identities)
        if other is None:
            return True
        self._inside[identity] = other if is_told else None
        if is_told and not other.is_listener:
            self._inside[other.identity] = OtherEnd(fd, identity, is_listener=False)
        if is_tcp:
            _push(fd)
            _push(other.fd)
            self.has_pushed = True
        return False

    def _leads_to_children(self, identity: Identity) -> bool:
        if self.has_children():
            return True
        self._passive.add(identity)
        return False

    def under_way(self, watched: Mapping[int, SelectorKey]) -> frozenset[Movement]:
        """Return what the system has on its way from this process to this process.

        Of the descriptors that were asked for last, none of which led outside.
        """
        found: set[Movement] = set()
        identities = self._identities
        for fd, identity in identities.items():
            other = self._inside.get(identity)
            if other is None:
                continue
            watched_other = identities.get(other.fd)
            try:
                if other.is_listener or (watched_other or _identity(other.fd)) != other.identity:
                    found.update(self._lonely_movements(fd, identity))
                    continue
                if under_way.is_unacknowledged(fd):
                    key = watched.get(fd)
                    waits_to_send = key is not None and bool(key.events & EVENT_WRITE)
                    found.update(_movements(fd, identity, other.fd, waits_to_send=waits_to_send))
                if watched_other is None and under_way.is_unacknowledged(other.fd):  # a thread's, say
                    found.update(_movements(other.fd, other.identity, fd, waits_to_send=False))
            except OSError:  # a thread has just closed it
                continue
        return frozenset(found - self._stuck)

    def _lonely_movements(self, fd: int, identity: Identity) -> Iterator[Movement]:
        end = under_way.look_at(fd)
        if not under_way.is_end_to_come(end):
            return
        other = _other_end_of(fd)
        if other is None:
            yield identity, end, None
        elif other.is_listener:
            listener = under_way.look_at(other.fd)
            if under_way.is_accepting_to_come(end, listener):
                yield identity, end, listener
        else:  # accepted since
            self._inside[identity] = other
            _push(other.fd)
            yield from _movements(fd, identity, other.fd, waits_to_send=False)
            yield from _movements(other.fd, other.identity, fd, waits_to_send=False)

    def give_up(self, movements: frozenset[Movement]) -> None:
        """Wait no longer for these, unless anything of them changes."""
        self._stuck |= movements


def leads_outside(*fds: int) -> bool:
    """Whether one of these descriptors leads out of this process."""
    return Outside().owes(fds)


def may_hear(fd: int) -> bool:
    """Whether something may come to that descriptor though nobody here sends anything."""
    outside = Outside()
    return outside.owes([fd]) or bool(outside.under_way({}))


def lead_inside(fds: Iterable[int], *, may_listen: bool) -> frozenset[int]:
    """Return those that only lead to this very process, for certain: no other has to do with them.

    ``may_listen``: so do sockets at which only this machine could knock.
    """
    if children.living():
        return frozenset()  # it may have them, too
    names: set[Any] = set()
    for fd in _descriptors():
        with _opened(fd) as sock:
            if sock is not None and sock.family in _INTERNET:
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


def _movements(sender: int, identity: Identity, receiver: int, *, waits_to_send: bool) -> Iterator[Movement]:
    ends = under_way.look_at(sender), under_way.look_at(receiver)
    if under_way.is_to_come(*ends, under_way.has_unread(receiver), waits_to_send=waits_to_send):
        yield identity, *ends


def _identity(fd: int) -> Identity:
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


def _other_end_of(fd: int) -> OtherEnd | None:
    with _opened(fd) as sock:
        return None if sock is None else _other_end(_plain_name(sock.getsockname()), _peer_of(sock))


def _other_end(name: Any, peer: Any, near: Iterable[int] = ()) -> OtherEnd | None:
    """Return the socket of this process that the one with these two names leads to; ``near`` is where to look first."""
    listener = None
    for fd in chain(near, _descriptors()):
        with _opened(fd) as sock:
            if sock is None or sock.family not in _INTERNET or _plain_name(sock.getsockname()) != peer:
                continue
            back = _peer_of(sock)
            if back == name or sock.type != socket.SOCK_STREAM:
                return OtherEnd(fd, _identity(fd), is_listener=False)
            if back is None:
                listener = listener or OtherEnd(fd, _identity(fd), is_listener=True)
    return listener


def _descriptors() -> Iterator[int]:
    yield from map(int, listdir("/proc/self/fd" if _HAS_PROC else "/dev/fd"))
