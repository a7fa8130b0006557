"""One port of a named host: who listens there, and who in its place where the way to it has faults."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from pytest_interleave.net import interception

if TYPE_CHECKING:
    from pytest_interleave.net.named_host import NamedHost
    from pytest_interleave.net.relay import Relay
    from pytest_interleave.net.way import Fate

_opening = threading.RLock()


class Endpoint:
    """One port of a host: its listening socket, from the first connection on."""

    def __init__(self, host: NamedHost, port: int, *, tls: bool) -> None:
        self.host = host
        self.port = port
        self.tls = tls
        self.loop: asyncio.AbstractEventLoop | None = None
        self.relay: Relay | None = None
        #: Why the server could not start.
        self.start_error: Exception | None = None
        self._listeners: list[socket.socket] = []
        self._impostor: socket.socket | None = None
        self._impostor_server: asyncio.Server | None = None
        self._starts: list[asyncio.Task[None]] = []

    @property
    def address(self) -> tuple[str, int]:
        """Where the server itself listens."""
        return socket_address(self._listeners[0])

    def open(self, fate: Fate | None = None) -> tuple[str, int]:
        """Return where a connection with that fate goes (None: it is drawn); begin to listen if this is the first."""
        with _opening:  # clients in threads may come at the same moment
            return self._open(fate)

    def _open(self, fate: Fate | None) -> tuple[str, int]:
        if self.loop is None:
            self.loop = self.host.hosts.find_loop()
            self._start(self._listen)
        self._check_loop()
        if self.start_error is not None:
            raise ConnectionRefusedError(
                errno.ECONNREFUSED,
                f"nobody listens at {self.host.name}:{self.port}: its server could not start "
                f"({type(self.start_error).__name__}: {self.start_error})",
            ) from self.start_error
        self.host.connections += 1
        way = self.host.way
        if not way.is_moody:
            return self.address
        if fate is None:
            fate = way.draw(tls=self.tls)
        if fate.faults.refuse:
            way.note_fault("was refused")
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"{self.host.name}:{self.port} refuses connections")
        if fate.faults.tls_failure and self.tls:
            way.note_fault("was shown a certificate that nobody trusts")
            if self._impostor is None:
                self._impostor = self._start(self._listen_as_impostor)
            return socket_address(self._impostor)
        if self.relay is None:
            from pytest_interleave.net.relay import Relay

            self.relay = Relay(self)
            self._relay_listener = self._start(self.relay.listen)
        self.relay.fates.append(fate)
        return socket_address(self._relay_listener)

    def _start(self, listen: Callable[[socket.socket], Coroutine[Any, Any, None]]) -> socket.socket:
        """Let a new socket be listened to."""
        listener = interception.make_listener()
        self._listeners.append(listener)
        loop = self.loop
        assert loop is not None

        def begin() -> None:
            self._starts.append(loop.create_task(listen(listener), name=f"{self.host.name}:{self.port}"))

        begin_apart = _in_context(begin, self.host.hosts.context)
        if loop is interception.running_loop():
            begin_apart()
        else:
            loop.call_soon_threadsafe(begin_apart)
        return listener

    def _check_loop(self) -> None:
        loop = self.loop
        if loop is not None and loop is not interception.running_loop() and not loop.is_running():
            raise RuntimeError(
                f"{self.host.name} is served in another event loop than this one, which does not run now: declare it "
                "in a fixture of the test's own loop scope"
            )

    async def _listen(self, listener: socket.socket) -> None:
        try:
            tls = None
            if self.tls:
                from pytest_interleave.net import certificates

                tls = certificates.server_context(self.host.name)
            async with self.host.starting:
                await self.host.served.listen(listener, tls)
        except Exception as error:
            self.start_error = error
            self.host.hosts.errors.append(error)
            listener.close()  # who has connected is thrown out
        except BaseException:
            listener.close()
            raise

    async def _listen_as_impostor(self, listener: socket.socket) -> None:
        from pytest_interleave.net import certificates

        tls = certificates.untrusted_context(self.host.name)
        self._impostor_server = await asyncio.get_running_loop().create_server(asyncio.Protocol, sock=listener, ssl=tls)

    async def close(self) -> None:
        """Wait until its servers have started, and end those that are not the host's."""
        await asyncio.gather(*self._starts, return_exceptions=True)
        if self._impostor_server is not None:
            self._impostor_server.close()
        if self.relay is not None:
            await self.relay.close()

    def drop(self) -> None:
        """Close the sockets, which servers that were started have done before."""
        for listener in self._listeners:
            listener.close()


def socket_address(sock: socket.socket) -> tuple[str, int]:
    """Return address and port of a socket."""
    name: tuple[str, int] = sock.getsockname()[:2]
    return name


def _in_context(function: Callable[[], None], context: contextvars.Context) -> Callable[[], None]:
    return lambda: context.copy().run(function)
