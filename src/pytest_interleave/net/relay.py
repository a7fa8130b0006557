"""The way between a client and a named host that has faults: two sockets, and what is held back between them.

A connection is two ``Link``s, one for each direction, on asyncio's own transports. A link is a queue of bytes with the
moment at which each is due; one timer serves its head, so that nothing is ever overtaken.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from typing import TYPE_CHECKING, Any

from pytest_interleave.net.faults import HEALTHY, Faults
from pytest_interleave.net.way import Fate
from pytest_interleave.net.wire import GAP_SECONDS, reset_when_closed

if TYPE_CHECKING:
    from pytest_interleave.net.endpoint import Endpoint

#: More than this is not taken from the sender before the receiver has had some.
_MOST_BYTES = 1 << 18


class Relay:
    """Accepts the connections of one endpoint that has, or had, faults."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        #: Of the connections that were made and not accepted yet, in order.
        self.fates: deque[Fate] = deque()
        self.connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._listener: socket.socket | None = None

    async def listen(self, listener: socket.socket) -> None:
        """Accept."""
        loop = asyncio.get_running_loop()
        self._listener = listener
        _pass_on(listener)
        self._server = await loop.create_server(lambda: ClientSide(self), sock=listener)

    def changed(self) -> None:
        """Look again at what is held back."""
        for connection in list(self.connections):
            connection.up.look()
            connection.down.look()

    async def close(self) -> None:
        """End all connections."""
        if self._server is not None and self._listener is not None:
            _stop_passing_on(self._listener)
            self._server.close()
        for connection in list(self.connections):
            connection.abort()
        await asyncio.sleep(0)


class Connection:
    """A client's connection to a host, through the relay."""

    def __init__(self, relay: Relay, client: asyncio.Transport, fate: Fate) -> None:
        self.relay = relay
        self.client = client
        self.server: asyncio.Transport | None = None
        #: Bytes and parts of the answers so far, and the directions that have ended.
        self.sent = 0
        self.parts = 0
        self.ended = 0
        self.fate = fate
        self.up = Link(self, is_answer=False)
        self.down = Link(self, is_answer=True)
        self.opening = asyncio.get_running_loop().create_task(
            self._open(), name=f"way to {relay.endpoint.host.name}", context=relay.endpoint.host.hosts.context
        )

    def tls_latency(self) -> float:
        """Return how much later that part of the answers comes by which TLS is agreed upon: the first one."""
        if self.parts != 1 or not self.relay.endpoint.tls:
            return 0.0
        way = self.fate.way
        return way.hosts.draw.seconds(self.fate.faults.tls_latency, way.subject, "takes {} longer to agree upon TLS")

    def end(self) -> None:
        """Note that one direction has ended; with both, so does the connection."""
        self.ended += 1
        if self.ended == 2:
            self.relay.connections.discard(self)
            for transport in (self.client, self.server):
                if transport is not None:
                    transport.close()

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        sock = socket.socket()
        sock.setblocking(False)
        _pass_on(sock)
        try:
            await loop.sock_connect(sock, self.relay.endpoint.address)
            await loop.create_connection(lambda: ServerSide(self), sock=sock)
        except BaseException as error:
            _stop_passing_on(sock)
            sock.close()
            if not isinstance(error, OSError):
                raise
            self.abort()
        else:
            self.up.look()

    def abort(self) -> None:
        """End it at once, both ways."""
        self.relay.connections.discard(self)
        self.opening.cancel()
        for transport in (self.client, self.server):
            if transport is not None:
                transport.abort()

    def reset(self) -> None:
        """Let the client see a reset."""
        reset_when_closed(self.client)
        self.abort()


class Link:
    """One direction of a connection."""

    def __init__(self, connection: Connection, *, is_answer: bool) -> None:
        self._connection = connection
        self._is_answer = is_answer
        #: When, what (None: the end), and whether it is an event of its own, though its time may have come.
        self._queue: deque[tuple[float, bytes | None, bool]] = deque()
        self._waiting = 0
        self._last = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._is_silent = False

    @property
    def _ends(self) -> tuple[asyncio.Transport | None, asyncio.Transport | None]:
        connection = self._connection
        pair = connection.client, connection.server
        return (pair[1], pair[0]) if self._is_answer else pair

    def feed(self, data: bytes | None) -> None:
        """Take what the sender sent; None: it has said all."""
        if self._is_silent:
            return
        connection = self._connection
        faults = connection.fate.faults
        if data is not None and self._is_answer:
            data, strike = self._cut(data, faults)
        else:
            strike = ""
        arrival = asyncio.get_running_loop().time() + connection.fate.latency
        if self._is_answer:
            arrival += connection.tls_latency()
        for piece in faults.slice(data) if data else [data]:
            size = len(piece) if piece else 0
            due = max(self._last + (GAP_SECONDS if faults.is_sliced else 0), arrival)
            if faults.bandwidth:
                due = max(self._last, arrival) + size / faults.bandwidth
            self._last = due
            self._waiting += size
            if piece != b"":
                self._queue.append((due, piece, faults.is_sliced))
        if strike:
            self._strike(strike)
        sender = self._ends[0]
        if self._waiting > _MOST_BYTES and sender is not None:
            with contextlib.suppress(RuntimeError):
                sender.pause_reading()
        self.look()

    def _cut(self, data: bytes, faults: Faults) -> tuple[bytes, str]:
        """Return what of it still comes through, and what strikes behind that, if anything does."""
        connection = self._connection
        kept, strike = faults.cut(data, connection.sent, connection.parts)
        connection.sent += len(kept)
        connection.parts += 1
        return kept, strike

    def _strike(self, strike: str) -> None:
        """Let nothing come through any more, and end the connection as it is to be ended."""
        self._is_silent = True
        connection = self._connection
        connection.fate.way.note_fault(f"{strike} after {connection.sent} bytes of its answers")
        moment = self._last + GAP_SECONDS
        if strike == "was reset":
            asyncio.get_running_loop().call_at(moment, connection.reset)
        elif strike == "was closed":
            self._queue.append((moment, None, True))

    def look(self) -> None:
        """Hand on what is due; set the timer for what is not."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = asyncio.get_running_loop()
        schedule = self._connection.fate.way.schedule
        is_first = True
        while self._queue:
            receiver = self._ends[1]
            if receiver is None:
                return
            due, data, is_apart = self._queue[0]
            if schedule.faults_now().partition:
                healed = schedule.next_change()
                if healed is not None:
                    self._timer = loop.call_at(healed, self.look)
                return
            if due > loop.time() or (is_apart and not is_first):
                self._timer = loop.call_at(due, self.look)
                return
            is_first = False
            self._queue.popleft()
            self._hand_on(receiver, data)

    def _hand_on(self, receiver: asyncio.Transport, data: bytes | None) -> None:
        if receiver.is_closing():
            return
        if data is None:
            if receiver.can_write_eof():
                with contextlib.suppress(OSError):
                    receiver.write_eof()
            self._connection.end()
            return
        receiver.write(data)
        self._waiting -= len(data)
        sender = self._ends[0]
        if self._waiting <= _MOST_BYTES and sender is not None and not sender.is_closing():
            with contextlib.suppress(RuntimeError):
                sender.resume_reading()


class ClientSide(asyncio.Protocol):
    """Takes the client's bytes."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._connection: Connection | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin a connection, with the faults that were drawn when the client made it."""
        _pass_on(transport.get_extra_info("socket"))
        relay = self._relay
        fate = relay.fates.popleft() if relay.fates else Fate(relay.endpoint.host.way, HEALTHY)
        self._connection = Connection(relay, transport, fate)
        relay.connections.add(self._connection)

    def data_received(self, data: bytes) -> None:
        """Send it on."""
        assert self._connection is not None
        self._connection.up.feed(data)

    def eof_received(self) -> bool:
        """Tell the host; it may still answer."""
        assert self._connection is not None
        self._connection.up.feed(None)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """End the other side."""
        assert self._connection is not None
        _stop_passing_on(self._connection.client.get_extra_info("socket"))
        self._connection.abort()


class ServerSide(asyncio.Protocol):
    """Takes the host's bytes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def connection_made(self, transport: Any) -> None:
        """Join the connection."""
        self._connection.server = transport

    def data_received(self, data: bytes) -> None:
        """Send it on."""
        self._connection.down.feed(data)

    def eof_received(self) -> bool:
        """Tell the client."""
        self._connection.down.feed(None)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Let the client see how it ended."""
        if self._connection.server is not None:
            _stop_passing_on(self._connection.server.get_extra_info("socket"))
        if isinstance(exc, ConnectionResetError):
            self._connection.reset()


def _pass_on(sock: Any) -> None:
    """Tell a controlled loop that nothing happens at this socket but on the way from a client to its host."""
    _passing_on().add(sock.fileno())


def _stop_passing_on(sock: Any) -> None:
    _passing_on().discard(sock.fileno())


def _passing_on() -> set[int]:
    passing_on: set[int] = getattr(asyncio.get_running_loop(), "passing_on", set())
    return passing_on
