"""What the system has on its way from one socket of this process to another.

It usually hands bytes over in the call that sends them, and virtual time relies on that: what is quiet then owes
nothing. While others use the network of this machine heavily, it does so a little later. Linux tells what each end of a
TCP connection has sent and received. Datagrams tell nothing, nor does TCP on other systems, but what is sent behind
them does not overtake them.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from selectors import EVENT_READ, DefaultSelector
from typing import NamedTuple

if sys.platform == "linux":
    import fcntl
    import termios

#: Where Linux says what here: ``struct tcp_info`` in ``linux/tcp.h``. The last came with 6.2.
_FIELDS = struct.Struct("=B23xI100xQ8xI52xQQ12xII")
_NONE = bytes(4)
#: States of TCP.
_LISTENS = 10
_MAY_BE_ENDED = frozenset((1, 4, 5))  # its other end has not ended yet, as far as it knows
_HAS_ENDED = frozenset((4, 9, 11))  # and the other end may not know yet
#: So long a datagram is waited for that this process sends to itself: it may be lost.
_MARK_SECONDS = 0.1


class TcpEnd(NamedTuple):
    """What the system knows of one end of a connection, and the end of it here."""

    state: int
    #: Segments, or where it listens, connections that were not accepted yet.
    unacknowledged: int
    received: int
    unsent: int
    sent: int
    #: How much the other end lets it send, as far as it knows, and how much it has let the other end send.
    may_send: int
    lets_send: int

    @property
    def has_all_acknowledged(self) -> bool:
        """Whether nothing that it has sent, or is to send, may be on its way."""
        return not (self.unacknowledged or self.unsent)


def is_told_of(sock: socket.socket) -> bool:
    """Whether the system tells what that socket of a stream has sent and received."""
    if sys.platform != "linux":
        return False
    try:
        return len(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _FIELDS.size)) == _FIELDS.size
    except OSError:  # not TCP
        return False


def look_at(fd: int) -> TcpEnd:
    """Return what the system knows of that socket of TCP."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, os.dup(fd)) as sock:
        found = _FIELDS.unpack(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _FIELDS.size))
    state, unacknowledged, received, unsent, sent, sent_again, may_send, lets_send = found
    return TcpEnd(state, unacknowledged, received, unsent, sent - sent_again, may_send, lets_send)


def is_unacknowledged(fd: int) -> bool:
    """Whether that socket has sent, or is to send, what it does not know to have come. Asked often, and cheap."""
    return fcntl.ioctl(fd, termios.TIOCOUTQ, _NONE) != _NONE


def has_unread(fd: int) -> bool:
    """Whether something has come to that socket that nobody has read."""
    return fcntl.ioctl(fd, termios.FIONREAD, _NONE) != _NONE


def is_to_come(sender: TcpEnd, receiver: TcpEnd, is_unread: bool, *, waits_to_send: bool) -> bool:
    """Whether something that one end has sent will come to life at either end, though nobody does anything.

    ``is_unread``: the receiver has something that nobody has read; ``waits_to_send``: somebody waits until the sender
    has room.
    """
    if sender.has_all_acknowledged:
        return False
    has_sent_end = sender.state in _HAS_ENDED and not sender.unsent
    if receiver.received < sender.sent + has_sent_end:  # the end counts as one byte that was received
        return True
    if sender.unsent:
        # Stopped by the receiver, which has room only when it reads; unless it has just said that it has.
        return not is_unread or sender.may_send != receiver.lets_send
    # All is there, and an acknowledgement may take its time: some 40 ms, if there is nothing to be sent with it.
    return waits_to_send and not is_unread


def is_end_to_come(left: TcpEnd) -> bool:
    """Whether this end will hear of the other's end, which is no more."""
    return left.state in _MAY_BE_ENDED or not left.has_all_acknowledged


def is_accepting_to_come(connected: TcpEnd, listener: TcpEnd) -> bool:
    """Whether the listener will hear of a connection that nobody has accepted yet."""
    return connected.state in _MAY_BE_ENDED and listener.state == _LISTENS and not listener.unacknowledged


def follow() -> bool:
    """Send something behind all that is on its way, and wait until it is there; return whether it is."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)  # what forbids to block within a loop (blockbuster) forbids it here too
            sock.connect(sock.getsockname())
            sock.send(b"")
            with DefaultSelector() as selector:
                selector.register(sock, EVENT_READ)
                return bool(selector.select(_MARK_SECONDS))
    except OSError:  # there is no such address
        return False
